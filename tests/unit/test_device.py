"""What is chosen from the model and the machine unless a recipe says it."""

import torch
from torch import nn

import tiny
from running import prepare, tables
from scalpel import models
from scalpel.device import FILLED, MICRO_TOKENS, SMALL, choose_dtype, choose_micro_tokens, device_bytes, why_dtype
from scalpel.runs.folder import RunFolder
from scalpel.training.loop import train

CPU = torch.device("cpu")


def model(parameters: int) -> nn.Module:
    return nn.Linear(parameters, 1, bias=False, device="meta")


def test_a_large_model_on_a_cpu_takes_small_micro_batches():
    assert choose_micro_tokens("auto", model(SMALL), CPU) == FILLED
    assert choose_micro_tokens("auto", model(SMALL - 1), CPU) == MICRO_TOKENS
    assert choose_micro_tokens("auto", model(SMALL), torch.device("cuda")) == MICRO_TOKENS


def test_what_the_recipe_says_is_taken():
    assert choose_micro_tokens(7, model(SMALL), CPU) == 7


def test_weights_are_float32_unless_training_all_of_them_in_it_would_not_fit(monkeypatch):
    monkeypatch.setattr("scalpel.device.device_bytes", lambda device: 80e9)
    for asked, parameters, dtype in [
        ("auto", 1_000_000_000, torch.float32),
        ("auto", 7_000_000_000, torch.bfloat16),
        ("auto", None, torch.float32),
        ("float32", 7_000_000_000, torch.float32),
        ("bfloat16", 1000, torch.bfloat16),
    ]:
        assert choose_dtype(asked, CPU, parameters) == dtype
    assert "takes 140 GB, and the device has 80 GB" in why_dtype("auto", CPU, 7_000_000_000)
    assert why_dtype("float32", CPU, 7) == "as asked" and "isn't known" in why_dtype("auto", CPU)


def test_this_machine_says_how_much_memory_it_has():
    assert 1e8 < device_bytes(CPU) < 1e15


def test_parameters_are_counted_in_the_files(tmp_path):
    made = tiny.folder(tmp_path / "model")
    names = {p.data_ptr(): p.numel() for p in models.load(made)[0].parameters()}
    assert models.parameters_of(made) == sum(names.values())
    assert models.parameters_of("someone/model-that-is-not-here") is None


def test_a_resumed_run_keeps_the_type_of_its_weights(tmp_path, monkeypatch):
    at = prepare(tmp_path)
    monkeypatch.setattr("scalpel.device.too_large", lambda device, parameters: True)
    stop = lambda run, stage, state: state.global_step == 1  # noqa: E731
    train(tables(at, {"method": "sft", "steps": 3, "checkpoint_every": 1}), RunFolder(tmp_path / "run"), watch=stop)
    monkeypatch.undo()
    recipe = tables(at, {"method": "sft", "steps": 3, "checkpoint_every": 1})
    done = train(recipe, RunFolder(tmp_path / "run", True), resume=True)
    assert done.engine.model.dtype == torch.bfloat16
