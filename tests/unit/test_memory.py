"""Memory by counting, the advice where it would not do, and the words of an allocator that gave up."""

import math

import pytest
import torch

from scalpel.training.memory import (
    MemoryEstimate,
    bytes_of,
    free_bytes,
    ran_out,
    size,
)


def memory(free: float, **parts: float) -> MemoryEstimate:
    known = dict(weights=100, others=0, gradients=100, states=200, copies=0, activations=100, trainables=1.0) | parts
    return MemoryEstimate(free=free, **known)


def test_what_fits_needs_no_advice():
    assert memory(free=1000).advice == [] and "but only" not in memory(free=1000).words


def test_a_margin_is_kept_for_what_is_not_counted():
    assert memory(free=480).fits and not memory(free=479).fits  # 1.2 · (100 + 200 + 100)


def test_the_first_advice_is_for_what_takes_most():
    assert "micro_tokens from 16384 to 4096" in memory(free=1, activations=10_000).advice[0]
    assert "scope" in memory(free=1, states=10_000).advice[0]
    assert "bfloat16" in memory(free=1, weights=10_000).advice[0]


def test_where_little_moves_already_less_is_no_advice():
    assert not any("scope" in way for way in memory(free=1, trainables=0.01).advice)


def test_the_words_say_what_is_missing():
    words = memory(free=2e9, activations=8e9).words
    assert "activations 8 GB" in words and "only 2 GB is free" in words and "lower micro_tokens" in words


def test_sizes_read_well():
    assert [size(x) for x in (0, 999, 1500, 2.5e9, 3e12)] == ["0 B", "999 B", "1.5 kB", "2.5 GB", "3 TB"]


def test_bytes_follow_the_type():
    assert bytes_of([torch.zeros(3), torch.zeros(2, 2, dtype=torch.bfloat16)]) == 20.0


def test_there_is_some_memory_on_this_machine():
    assert 1e6 < free_bytes(torch.device("cpu")) < math.inf


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), True),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            True,
        ),
        (MemoryError(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_running_out_of_memory_is_told_from_other_errors(error, expected):
    assert ran_out(error) is expected
