"""Modules that parts own are saved with the model, and a run that starts from that folder goes on with them."""

import json
import logging

import pytest
import torch
from safetensors.torch import load_file, save_file

from running import tables
from scalpel import models
from scalpel.experiments.single import run_recipe
from scalpel.training.run import TrainingRun

PPO = {"method": "ppo", "steps": 2}


@pytest.fixture(scope="module")
def trained(at, tmp_path_factory):
    """The model folder of a run with a value head."""
    folder = tmp_path_factory.mktemp("run") / "ppo"
    run_recipe(tables(at, PPO), folder)
    return folder / "model"


def entered(at, path, stage):
    run = TrainingRun(tables(at, stage, model={"path": str(path), "device": "cpu"}))
    run.enter(0)
    return run


def copied(trained, tmp_path):
    """A model folder of the same content, to be changed."""
    model, tokens = models.load(trained)
    folder = models.save(model, tokens, tmp_path / "copy")
    for name in ("owned.safetensors", "owned.json"):
        (folder / name).write_bytes((trained / name).read_bytes())
    return folder


def test_a_run_saves_its_modules_with_words_about_them(trained):
    held = load_file(trained / "owned.safetensors")
    assert {k: list(x.shape) for k, x in held.items()} == {"value.weight": [1, 16], "value.bias": [1]}
    assert held["value.weight"].abs().sum() > 0  # zero at first, so it was trained
    about = json.loads((trained / "owned.json").read_text())["modules"]["value"]
    assert about["class"] == "Linear" and about["width"] == 16 and "objective 'value'" in about["owned_by"]


def test_a_run_that_starts_from_the_folder_goes_on_with_them(at, trained, caplog):
    with caplog.at_level(logging.INFO, "scalpel"):
        run = entered(at, trained, PPO)
    held = load_file(trained / "owned.safetensors")
    assert all(torch.equal(x, held[f"value.{key}"]) for key, x in run.engine.owned["value"].state_dict().items())
    assert "the weights of its modules value were loaded" in caplog.text


def test_a_stage_that_starts_from_the_folder_goes_on_with_them_and_one_that_does_not_begins_anew(at, trained):
    held = load_file(trained / "owned.safetensors")["value.weight"]
    assert torch.equal(entered(at, at / "llama", {**PPO, "start": str(trained)}).engine.owned["value"].weight, held)
    assert not entered(at, at / "llama", PPO).engine.owned["value"].weight.any()


def test_modules_that_no_part_owns_are_left_out_and_said(at, trained, caplog):
    with caplog.at_level(logging.INFO, "scalpel"):
        run = entered(at, trained, {"method": "gflow-tb", "steps": 2})
    assert set(run.engine.owned) == {"flow"} and not run.engine.owned["flow"].weight.any()
    assert "its modules value are not loaded" in caplog.text


def test_a_module_of_another_shape_is_refused(at, trained, tmp_path):
    folder = copied(trained, tmp_path)
    about = json.loads((folder / "owned.json").read_text())
    about["modules"]["value"]["tensors"]["weight"] = [1, 8]
    (folder / "owned.json").write_text(json.dumps(about))
    save_file({"value.weight": torch.ones(1, 8), "value.bias": torch.ones(1)}, folder / "owned.safetensors")
    with pytest.raises(ValueError, match=r"module 'value' saved in .*\[1, 8\].*to start with a new module"):
        entered(at, folder, PPO)


def test_files_that_do_not_belong_together_are_refused(at, trained, tmp_path):
    folder = copied(trained, tmp_path)
    save_file({"value.weight": torch.ones(1, 16)}, folder / "owned.safetensors")
    with pytest.raises(ValueError, match=r"1 tensors differ, first value.bias"):
        models.read_owned(folder)
    (folder / "owned.safetensors").unlink()
    with pytest.raises(ValueError, match=r"names the modules value, but owned.safetensors.*is missing beside it"):
        models.read_owned(folder)


def test_what_is_saved_is_checked_against_what_was_trained(at, trained, tmp_path, monkeypatch):
    run = entered(at, trained, PPO)
    off_by_one = lambda tensors, file: save_file({k: x + 1 for k, x in tensors.items()}, file)  # noqa: E731
    monkeypatch.setattr("scalpel.models.owned.save_file", off_by_one)
    with pytest.raises(RuntimeError, match=r"does not hold the modules that were saved: 2 differ, first value.bias"):
        models.save(run.engine.model, run.engine.tokens, tmp_path / "wrong", run.owned)
    assert not (tmp_path / "wrong").exists()
