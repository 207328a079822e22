"""Bad input and bad luck, through the command line: one calm message, exit code 2 (130 after Ctrl-C), nothing left."""

from __future__ import annotations

import errno
import json
import os
import signal
from types import SimpleNamespace

import pytest
import torch
from safetensors import SafetensorError

import scalpel.models
import scalpel.runs.folder
import scalpel.training.loop
from scalpel.engine.padded_forward import width_of


def test_a_missing_recipe_is_named(scalpel):
    said = scalpel.refused("train", "nowhere.toml")
    assert "nowhere.toml" in said and "recipes/first.toml" in said


def test_a_recipe_that_is_not_toml_is_refused_with_the_place(scalpel):
    scalpel.write("broken.toml", "name = \n")
    assert "line 1" in scalpel.refused("train", "broken.toml")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('method = "sft"', 'method = "stf"', "unknown method 'stf': did you mean 'sft'?"),
        ("steps = 3", "stps = 3", "did you mean 'steps'?"),
        ('method = "sft"', 'method = "sft"\nscope = "hfd"', "unknown scope 'hfd': did you mean 'hft'?"),
        ('method = "sft"', 'method = "sft"\nscope = {name = "lora", rnak = 2}', "did you mean 'rank'?"),
        ("steps = 3", "steps = 0", "steps"),
        ('name = "jsonl"', 'name = "jsnol"', "did you mean 'jsonl'?"),
        ('verify = "exact"', 'verify = "exakt"', "did you mean 'exact'?"),
    ],
)
def test_a_misspelt_name_is_refused_with_the_nearest(scalpel, edited, old, new, words):
    assert words in scalpel.refused("train", edited(old, new))


def test_an_override_that_makes_no_sense_is_refused(scalpel):
    assert "key.key=value" in scalpel.refused("train", "recipe.toml", "steps")
    assert "did you mean" in scalpel.refused("train", "recipe.toml", "train.stpes=5")


def test_an_impossible_combination_is_refused_before_the_model_is_loaded_with_the_alternative(scalpel, edited):
    recipe = edited('method = "sft"', 'method = "sft"\nsignals = [{source = "demonstrations", objective = "dpo"}]')
    said = scalpel.refused("train", recipe, "model=no-such-model-anywhere")
    assert "preference-pairs" in said


def test_a_floor_without_a_keep_set_is_refused_before_the_model_is_loaded(scalpel):
    said = scalpel.refused("train", "recipe.toml", "keep.floor=0.98", "model=no-such-model-anywhere")
    assert "a floor needs a keep set" in said


def test_a_group_of_one_is_refused_where_the_credit_compares(scalpel):
    said = scalpel.refused("train", "recipe.toml", 'train.method="grpo"', "train.signals.0.source.size=1")
    assert "a group has one sample: set size to 2 or more" in said and "moving-baseline" in said


def test_a_demonstration_that_is_missing_is_named_with_the_way_out(scalpel):
    scalpel.write("data.jsonl", "".join(f'{{"prompt": "Say {n}", "answer": "{n}"}}\n' for n in range(60)))
    said = scalpel.refused("train", "recipe.toml", 'train.method="prefix-rft"')
    assert "has no completion" in said and "add a column 'completion'" in said and "'groups'" in said


def test_a_value_head_on_a_model_that_cannot_carry_one_is_refused_with_other_methods(scalpel, monkeypatch):
    headless = SimpleNamespace(get_output_embeddings=lambda: None)
    monkeypatch.setattr("scalpel.training.run.width_of", lambda model, name: width_of(headless, name))
    said = scalpel.refused("train", "recipe.toml", 'train.method="ppo"')
    assert "no linear head" in said and "grpo" in said


def test_rewards_that_never_differ_are_said_early_with_the_way_out(scalpel, caplog):
    scalpel.write("rewards.py", "def none(completions):\n    return [0.0 for c in completions]\n")
    rewards = 'data.rewards=[{name = "rewards.py:none"}]'
    assert scalpel("train", "recipe.toml", 'train.method="grpo"', rewards, "train.steps=6").code == 0
    assert all(w in caplog.text for w in ("after 5 steps", "pass rate 0%", "prefix-rft", "easier", "temperature"))


def test_missing_data_is_named_with_the_nearest_file(scalpel, edited):
    assert "data.jsonl" in scalpel.refused("train", edited('path = "data.jsonl"', 'path = "dat.jsonl"'))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (['{"prompt": "a", "completion": "b"}', '{"prompt": "a", '], "data.jsonl:2: not valid JSON"),
        (['{"prompt": "a", "completion": "b"}', "[1, 2]"], "data.jsonl:2: a list instead of an object"),
        (['{"prompt": "a", "completoin": "b"}'], "did you mean 'completion'?"),
        (['{"prompt": "a", "completion": 7}'], "data.jsonl:1"),
        (['{"prompt": "a", "completion": "b", "answer": {"x": 1}}'], "data.jsonl:1"),
        ([], "no rows"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(scalpel, lines, words):
    scalpel.write("data.jsonl", "".join(line + "\n" for line in lines))
    assert words in scalpel.refused("train", "recipe.toml")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise KeyError('oops')", "KeyError"),
        ("return [1.0]", "1 values"),
        ("return [float('nan')] * len(completions)", "must be finite"),
        ("return 'good'", "must return a list"),
        ("return ['x'] * len(completions)", "must be a number"),
    ],
)
def test_a_reward_function_that_fails_is_named(scalpel, body, words):
    scalpel.write("rewards.py", f"def mine(completions, **columns):\n    {body}\n")
    said = scalpel("train", "recipe.toml", 'train.method="grpo"', 'data.rewards=[{name = "rewards.py:mine"}]')
    assert said.code == 2 and words in said.said and "rewards.py:mine" in said.said
    assert not (scalpel.folder / "runs" / "lesson" / "model").exists()


def test_a_reward_function_that_is_not_there_is_refused_with_the_nearest(scalpel):
    scalpel.write("rewards.py", "def brief(completions):\n    return [0.0 for c in completions]\n")
    arguments = ("train", "recipe.toml", 'train.method="grpo"', 'data.rewards=[{name = "rewards.py:breif"}]')
    assert "did you mean 'brief'?" in scalpel.refused(*arguments)


def test_a_model_folder_without_a_tokenizer_is_refused(scalpel):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (scalpel.folder / "model" / name).unlink()
    assert "has no tokenizer" in scalpel.refused("train", "recipe.toml")


def test_chat_messages_without_a_chat_template_are_refused(scalpel):
    (scalpel.folder / "model" / "chat_template.jinja").unlink()
    assert "no chat template" in scalpel.refused("train", "recipe.toml", "task.chat=true")


def test_a_missing_model_is_refused_with_the_nearest(scalpel):
    assert "did you mean" in scalpel.refused("train", "recipe.toml", "model=./modle")


def test_a_prompt_longer_than_the_context_is_refused(scalpel):
    scalpel.write("data.jsonl", json.dumps({"prompt": "x" * 300, "completion": "y", "answer": "y"}) + "\n")
    assert "context" in scalpel("train", "recipe.toml").said
    assert "context" in scalpel("train", "recipe.toml", 'train.method="grpo"', "--out", "other").said
    assert "context" in scalpel.refused("generate", "model", "x" * 300)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_batch_and_the_checkpoint(scalpel):
    ran = scalpel("train", "recipe.toml", "train.learning_rate=1e30", "train.steps=9", "train.warmup=0.0")
    assert ran.code == 2 and "Traceback" not in ran.err
    assert "step " in ran.said and "lower the learning rate" in ran.said and "checkpoint-" in ran.said
    assert not (scalpel.folder / "runs" / "lesson" / "model").exists()


def test_a_full_disk_is_said_calmly_and_leaves_no_broken_file(scalpel, monkeypatch):
    def full(*arguments, **named):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("scalpel.runs.folder.save_file", full)
    ran = scalpel("train", "recipe.toml", "train.checkpoint_every=1")
    assert ran.code == 2 and "No space left on device" in ran.said and "free some space" in ran.said
    assert not [path for path in scalpel.listing() if path.endswith(".part") or "checkpoint-" in path]


def test_a_disk_that_is_full_when_the_model_is_saved_is_said_calmly(scalpel, monkeypatch):
    def full(*arguments, **named):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("transformers.modeling_utils.safe_save_file", full)
    ran = scalpel("train", "recipe.toml")
    assert ran.code == 2 and "No space left on device" in ran.said and "runs/lesson/model" in ran.said
    assert not [path for path in scalpel.listing() if ".part" in path or path.endswith("lesson/model")]


def interrupt_at(step, monkeypatch):
    """Sends Ctrl-C to this process while that step is under way."""
    steps, take_step = iter(range(1, 100)), loop.take_step

    def taken(*arguments, **named):
        if next(steps) == step:
            signal.raise_signal(signal.SIGINT)
        return take_step(*arguments, **named)

    monkeypatch.setattr(loop, "take_step", taken)


loop = scalpel.training.loop


def test_ctrl_c_writes_a_checkpoint_says_where_and_resume_ends_as_if_nothing_had_happened(scalpel, monkeypatch):
    assert scalpel("train", "recipe.toml", "--out", "whole").code == 0
    with monkeypatch.context() as patch:
        interrupt_at(2, patch)
        ran = scalpel("train", "recipe.toml", "--out", "cut")
    assert ran.code == 130 and "Traceback" not in ran.err
    assert "stopped after step 2" in ran.said and "checkpoint-2" in ran.said and "--resume" in ran.said
    assert not (scalpel.folder / "cut" / "model").exists()
    assert scalpel("train", "recipe.toml", "--out", "cut", "--resume").code == 0
    whole, resumed = (scalpel.folder / name / "model" / "model.safetensors" for name in ("whole", "cut"))
    assert whole.read_bytes() == resumed.read_bytes()


@pytest.mark.parametrize(
    "place", ["scalpel.training.models.RunModels.load", "scalpel.experiments.single.probe_base", "scalpel.models.save"]
)
def test_ctrl_c_outside_the_loop_stops_calmly(scalpel, monkeypatch, place):
    def interrupted(*arguments, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupted)
    ran = scalpel("train", "recipe.toml")
    assert ran.code == 130 and ran.said and "Traceback" not in ran.err
    assert not (scalpel.folder / "runs" / "lesson" / "model").exists()


def test_a_run_folder_is_not_overwritten(scalpel):
    assert scalpel("train", "recipe.toml").code == 0
    assert "--resume" in scalpel.refused("train", "recipe.toml")


@pytest.mark.parametrize("place", ["scalpel.training.loop.take_step", "scalpel.experiments.single.probe_base"])
def test_memory_that_runs_out_comes_with_advice(scalpel, monkeypatch, place):
    def exhausted(*arguments, **named):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(place, exhausted)
    ran = scalpel("train", "recipe.toml")
    assert ran.code == 2 and "memory" in ran.said and "micro_tokens" in ran.said and "lora" in ran.said


def test_a_fault_of_ours_keeps_its_traceback(scalpel, monkeypatch):
    def wrong(*arguments, **named):
        raise RuntimeError("this should not happen")

    monkeypatch.setattr("scalpel.training.loop.take_step", wrong)
    assert isinstance(scalpel("train", "recipe.toml").error, RuntimeError)


def test_debug_shows_the_traceback_wherever_it_stands(scalpel):
    for arguments in (("--debug", "train", "nowhere.toml"), ("train", "nowhere.toml", "--debug")):
        assert isinstance(scalpel(*arguments).error, ValueError)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("diff", "model", "./nothing"), "no model folder"),
        (("measure", "tuned", "--base", "model", "--probes", "none.toml"), "none.toml"),
        (("measure", "tuned", "--base", "model", "--probes", "empty.toml"), "no probe"),
        (("report", "nothing"), "nothing"),
        (("methods", "data.jsonl"), "no place for a table"),
        (("generate", "model", "hi", "--plain", "--system", "x"), "chat turns"),
        (("generate", "model", "hi", "--device", "abacus"), "abacus"),
        (("train", "recipe.toml", "model.device=abacus"), "abacus"),
        (("compare", "recipe.toml"), "compare"),
        (("world", "build", "model"), "there already"),
    ],
)
def test_each_command_refuses_what_it_cannot_use(scalpel, arguments, words):
    scalpel.write("empty.toml", "")
    assert words in scalpel.refused(*arguments)
