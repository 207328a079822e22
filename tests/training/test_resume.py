"""A run that is killed, or stopped by Ctrl-C, and resumed is bit for bit the run that never stopped."""

import json
import multiprocessing
import os
import signal

import pytest

from running import equal, ran, records, tables, weights
from scalpel.config.merge import merge
from scalpel.runs.folder import RunFolder
from scalpel.training.loop import train

fork = multiprocessing.get_context("fork")
KL = {"anchors": [{"name": "kl", "estimator": "k3"}]}
LATER = {"reference": "start", **KL}

RUNS = {
    "sft with dropout": ("gpt2", {"method": "sft", "optimizer": "adamw", "weight_decay": 0.1}),
    "masked thought": ("llama", {"method": "masked-thought"}),
    "grpo": ("llama", {"method": "grpo", **KL}),
    "prefix-rft": ("llama", {"method": "prefix-rft"}),
    "a temperature that follows the entropy": ("llama", {"method": "grpo", "sampling": {"entropy": 2.0}}),
    "shown blended with its own guesses": ("llama", {"method": "ift"}),
    "ppo, each batch twice": ("llama", {"method": "ppo"}),
    "ppo, each batch thrice": ("llama", {"method": "ppo", "signals": {"0": {"updates_per_batch": 3}}, **KL}),
    "ppo, each batch thrice in two mini-batches": (
        "llama",
        {"method": "ppo", "signals": {"0": {"updates_per_batch": 3, "mini_batches": 2}}},
    ),
    "a head that learns first": ("llama", {"method": "vc-ppo", "head_warmup": 0.5}),
    "a warm start": ("llama", {"method": "wsrl", "learning_starts": 0.3}),
    "a moving baseline, an adaptive divergence, batches drawn ahead": (
        "llama",
        {
            "method": "reinforce",
            "signals": {"0": {"lag": 2, "credit": ["moving-baseline", "importance"]}},
            "anchors": [{"name": "adaptive-kl", "estimator": "k3"}],
        },
    ),
    "elastic weights, redrawn": (
        "gpt2",
        {"method": "sft", "scope": {"name": "hft", "round": 2}, "anchors": [{"name": "elastic", "texts": 3}]},
    ),
    "kto": ("llama", {"method": "kto", "optimizer": "rmsprop"}),
    "lift": ("llama", {"method": "sft", "scope": {"name": "lift", "interval": 2}, "anchors": ["l2"]}),
    "hft": ("gpt2", {"method": "sft", "scope": {"name": "hft", "round": 2}, "anchors": ["l2"]}),
    "queries and keys of a fused matrix": ("gpt2", {"method": "sft", "scope": "components", "optimizer": "sgd"}),
    "lora": ("llama", {"method": "grpo", "scope": {"name": "lora", "dropout": 0.2}}),
    "validated": ("llama", {"method": "sft", "validate": {"every": 1, "items": 4, "patience": 5}}),
    "as many operations as sampling leaves": (
        "llama",
        {"method": "grpo", "budget": {"unit": "flops", "amount": 5e8}},
    ),
    "two stages": ("llama", [{"method": "sft", "steps": 3}, {"method": "grpo", "steps": 4, **LATER}]),
    "adapters after adapters": (
        "llama",
        [
            {"method": "sft", "steps": 3, "scope": "lora"},
            {"method": "sft", "steps": 4, "scope": {"name": "lora", "rank": 2}, "anchors": ["l2"], **LATER},
        ],
    ),
    "an optimiser kept over repeats": ("llama", {"method": "sft", "steps": 3, "repeat": 2, "keep_optimiser": True}),
}
KILLED_AFTER = (1, 5)  # steps: before the first checkpoint, and after the second


def recipe(at, name: str):
    kind, train_ = RUNS[name]
    stages = [merge({"checkpoint_every": 2}, s) for s in (train_ if isinstance(train_, list) else [train_])]
    return tables(at, stages, kind)


def killed(made, folder, step: int) -> None:
    """Runs until that step's record is written, and is killed there; in a process of its own."""

    def tell(record) -> None:
        if record["step"] == step:
            os.kill(os.getpid(), signal.SIGKILL)

    process = fork.Process(target=lambda: train(made, RunFolder(folder), tell=tell))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("name", RUNS)
def test_killed_and_resumed_is_never_stopped(at, tmp_path, name):
    made = recipe(at, name)
    expected, log = ran(made, tmp_path / "whole")
    assert log[-1]["step"] >= 5
    for step in KILLED_AFTER:
        folder = tmp_path / str(step)
        killed(made, folder, step)
        assert records(folder)[-1]["step"] == step
        found, lines = ran(made, folder, resume=True)
        assert lines == log
        assert equal(found, expected)


def test_killed_twice_and_resumed_is_never_stopped(at, tmp_path):
    made = recipe(at, "lift")
    expected, log = ran(made, tmp_path / "whole")
    killed(made, tmp_path / "cut", 3)

    def tell(record) -> None:
        if record["step"] == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    process = fork.Process(target=lambda: train(made, RunFolder(tmp_path / "cut", True), resume=True, tell=tell))
    process.start()
    process.join()
    found, lines = ran(made, tmp_path / "cut", resume=True)
    assert lines == log and equal(found, expected)


@pytest.mark.parametrize("name", ["sft with dropout", "ppo, each batch thrice", "hft", "adapters after adapters"])
def test_ctrl_c_writes_a_checkpoint_after_its_step_and_the_run_goes_on_from_there(at, tmp_path, name, capsys):
    made = recipe(at, name)
    expected, log = ran(made, tmp_path / "whole")

    def tell(record) -> None:
        if record["step"] == 5:
            os.kill(os.getpid(), signal.SIGINT)

    run, before = RunFolder(tmp_path / "cut"), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match=r"stopped after step 5; .*checkpoint-5.*--resume"):
        train(made, run, tell=tell)
    assert "Ctrl-C again stops at once" in capsys.readouterr().err
    assert run.checkpoints()[-1].name == "checkpoint-5"
    assert signal.getsignal(signal.SIGINT) is before
    found, lines = ran(made, tmp_path / "cut", resume=True)
    assert lines == log and equal(found, expected)


def test_a_second_ctrl_c_stops_at_once(at, tmp_path, capsys):
    made, seen = recipe(at, "sft with dropout"), []

    def tell(record) -> None:
        seen.append(record["step"])
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(made, RunFolder(tmp_path / "cut"), tell=tell)
    assert seen == [1] and not RunFolder(tmp_path / "cut", True).checkpoints()


def test_ctrl_c_without_a_run_folder_says_that_nothing_was_saved(at, capsys):
    with pytest.raises(KeyboardInterrupt, match="nothing was saved"):
        train(recipe(at, "grpo"), tell=lambda record: os.kill(os.getpid(), signal.SIGINT))


def test_a_stage_that_was_ended_early_stays_ended_on_resume(at, tmp_path):
    made = recipe(at, "sft with dropout")
    until = lambda run, stage, state: state.global_step == 4  # noqa: E731
    expected = weights(train(made, RunFolder(tmp_path / "a"), watch=until))
    again = weights(train(made, RunFolder(tmp_path / "a", True), resume=True, watch=until))
    assert equal(expected, again)
    assert records(tmp_path / "a")[-1]["step"] == 4


def test_a_finished_run_can_be_resumed_to_the_same_end(at, tmp_path):
    made = recipe(at, "lora")
    expected, log = ran(made, tmp_path / "a")
    found, lines = ran(made, tmp_path / "a", resume=True)
    assert lines == log and equal(found, expected)


def test_another_recipe_is_refused_on_resume_with_what_differs(at, tmp_path):
    made = recipe(at, "sft with dropout")
    train(made, RunFolder(tmp_path / "a"))
    stage = made.stages[0].model_copy(update={"learning_rate": 0.5})
    with pytest.raises(ValueError, match=r"started with another recipe .*learning_rate.*resume with the recipe"):
        train(made.model_copy(update={"stages": [stage]}), RunFolder(tmp_path / "a", True), resume=True)


def test_columns_of_a_held_batch_come_back(at, tmp_path):
    made = recipe(at, "ppo, each batch thrice")
    seen: list = []

    def watch(run, stage, state) -> bool:
        if stage.streams[0].held is not None:
            seen.append([json.loads(json.dumps(row)) for row in stage.streams[0].held.columns])
        return state.global_step == 4

    train(made, RunFolder(tmp_path / "a"), watch=watch)
    held = RunFolder(tmp_path / "a", True).last_checkpoint()["stage"]["streams"][0]["held"]["columns"]
    assert held == seen[-1] and len(held) == 32
