"""A pair is read lazily, refuses what is no pair, and mixes exactly at both ends."""

import json

import pytest
import torch
from safetensors.torch import save_file

from scalpel.pair import Pair, interpolate


def state(seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return {
        "a.weight": torch.randn(4, 3, generator=generator).to(dtype),
        "b.bias": torch.randn(5, generator=generator).to(dtype),
    }


def folder(path, tensors, shards=False):
    path.mkdir()
    if not shards:
        save_file(tensors, path / "model.safetensors")
        return path
    where = {}
    for index, (name, tensor) in enumerate(tensors.items()):
        where[name] = f"model-{index}.safetensors"
        save_file({name: tensor}, path / where[name])
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    return path


def test_folders_shards_and_states_read_alike(tmp_path):
    base, tuned = state(0), state(1)
    pair = Pair(folder(tmp_path / "base", base), folder(tmp_path / "tuned", tuned, shards=True))
    found = {name: (one, other) for name, one, other in pair}
    assert set(found) == set(base)
    for name, (one, other) in found.items():
        assert torch.equal(one, base[name]) and torch.equal(other, tuned[name])
    assert [name for name, _, _ in Pair(base, tuned)] == list(base)


def test_a_tied_head_may_be_missing_on_one_side():
    assert Pair({**state(), "lm_head.weight": torch.ones(2)}, state()).names == ["a.weight", "b.bias"]


def test_weights_that_are_tied_are_told_once():
    base, tuned = state(0), state(1)
    base["lm_head.weight"], tuned["lm_head.weight"] = base["a.weight"], tuned["a.weight"]
    assert Pair(base, tuned).names == ["a.weight", "b.bias"]
    untied = tuned | {"lm_head.weight": tuned["a.weight"].clone()}
    assert Pair(base, untied).names == ["a.weight", "b.bias", "lm_head.weight"]


def test_other_tensors_may_not():
    with pytest.raises(ValueError, match=r"'c', for one, is in the tuned model alone"):
        _ = Pair(state(), {**state(), "c": torch.ones(2)}).names


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"shape \(4, 3\) in the base and \(9, 3\)"):
        list(Pair(state(), {**state(), "a.weight": torch.ones(9, 3)}))


@pytest.mark.parametrize(
    "file, words",
    [
        ("adapter_model.safetensors", "adapter alone"),
        ("pytorch_model.bin", "can run code"),
        ("readme.txt", "has no model.safetensors"),
        ("model.safetensors", "can't be read as safetensors"),
    ],
)
def test_folders_without_a_whole_model_are_refused(tmp_path, file, words):
    (tmp_path / file).write_bytes(b"x")
    with pytest.raises(ValueError, match=words):
        Pair(tmp_path, tmp_path)
    with pytest.raises(ValueError, match="no model folder"):
        Pair(tmp_path / "absent", tmp_path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_both_ends_are_exact_and_types_are_kept(dtype):
    base, tuned = state(0, dtype), state(1, dtype)
    for t, wanted in ((0.0, base), (1.0, tuned)):
        mixed = interpolate(base, tuned, t)
        assert all(torch.equal(mixed[name], wanted[name]) and mixed[name].dtype == dtype for name in base)


def test_halfway_is_the_mean():
    base, tuned = state(0), state(1)
    mixed = interpolate(base, tuned, 0.5)
    assert all(torch.allclose(mixed[name], (base[name] + tuned[name]) / 2) for name in base)


def test_mixing_leaves_both_as_they_were_and_counters_alone():
    base = {**state(0), "steps": torch.tensor(3)}
    tuned = {**state(1), "steps": torch.tensor(9)}
    copies = {name: tensor.clone() for name, tensor in base.items()}
    mixed = interpolate(base, tuned, 0.0)
    assert mixed["steps"] == 3
    mixed["a.weight"].zero_()
    mixed["steps"].zero_()
    assert all(torch.equal(base[name], copies[name]) for name in base)


def test_states_that_do_not_match_are_not_mixed():
    with pytest.raises(ValueError, match="in one of the two states only, 'c'"):
        interpolate(state(), {**state(), "c": torch.ones(1)}, 0.5)
    with pytest.raises(ValueError, match="vocabulary resized"):
        interpolate({"a": torch.ones(2)}, {"a": torch.ones(3)}, 0.5)
