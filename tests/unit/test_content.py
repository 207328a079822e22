"""What stands behind a token that is more than its id: prefix sharing and the log-prob cache tell such tokens apart."""

import subprocess
import sys

import pytest
import torch

import tiny
from scalpel.batch import DEMONSTRATION, Batch, Row, content_id, pack
from scalpel.data.tokenizer import Tokens
from scalpel.engine import Engine
from scalpel.training.logprob_cache import LogprobCache, keys_of

CAT, DOG = content_id(b"a picture of a cat"), content_id(b"a picture of a dog")


def pictures(*contents: int) -> Batch:
    """Sequences with equal ids, of which the third token is a placeholder for a picture."""
    ids = [11, 12, 9, 13, 14, 15, 16, 17]
    rows = [Row(ids, [False] * 6 + [True] * 2, [DEMONSTRATION] * 8, content=[0, 0, c, 0, 0, 0, 0, 0]) for c in contents]
    return pack(rows)


def test_content_ids_are_alike_in_every_process_and_never_nothing() -> None:
    code = "from scalpel.batch import content_id; print(content_id(b'a picture of a cat'))"
    assert int(subprocess.check_output([sys.executable, "-c", code], text=True)) == CAT
    assert CAT != DOG and 0 < CAT < 2**63
    assert torch.tensor([CAT]).dtype == torch.long


def test_a_prefix_is_shared_up_to_the_first_other_picture() -> None:
    engine = Engine(tiny.model("llama"), Tokens(tiny.tokenizer()))
    assert engine.layout(pictures(CAT, CAT)).M == 7
    assert engine.layout(pictures(CAT, DOG)).M == 2 + 2 * 5


def test_log_probs_of_one_picture_are_not_given_for_another() -> None:
    cat, dog, none = keys_of(pictures(CAT, DOG, 0))
    assert len({cat, dog, none}) == 3 and keys_of(pictures(DOG))[0] == dog
    cache, asked = LogprobCache(), []
    for content in (CAT, DOG, CAT):
        cache.logps(pictures(content), lambda new: asked.append(new.S) or torch.zeros(new.N))
    assert asked == [1, 1]


def test_ids_alone_keep_the_keys_that_they_have_without_content() -> None:
    plain = pack([Row([11, 12, 13], [False, True, True], [DEMONSTRATION] * 3)])
    assert plain.content_N is None and plain.shown_N is not None and plain.shown_N.tolist() == [11, 12, 13]


def test_content_follows_its_sequence() -> None:
    picked = pictures(CAT, DOG, 0).pick(torch.tensor([2, 1]))
    assert picked.content_N is not None and picked.content_N.view(2, 8)[:, 2].tolist() == [0, DOG]


def test_an_engine_without_an_embedding_for_it_refuses_content() -> None:
    engine = Engine(tiny.model("llama"), Tokens(tiny.tokenizer()))
    with pytest.raises(ValueError, match=r"2 tokens of the batch have content other than their ids \(content_N\)"):
        engine.score(pictures(CAT, DOG, 0))
