"""An episode of two turns in the miniature world: imitated first, then trained by GRPO with a calculator."""

from typing import Any

import pytest

from scalpel.config.recipe import parse
from scalpel.evaluation.probes import make_probes
from scalpel.tasks import make
from scalpel.training.loop import train

CALCULATOR = {"name": "calculator", "max_turns": 2, "role": "user"}
TASK = {"name": "world/calculator"}


def recipe(*stages: dict[str, Any], **over: Any):
    tables = {"model": {"path": "world-1m", "device": "cpu"}, "task": TASK, "threads": 1, "seed": 0}
    return parse({**tables, "stages": list(stages), **over})


def stage(method: str, steps: int, rate: float, **more: Any) -> dict[str, Any]:
    return {"method": method, "steps": steps, "batch": 8, "learning_rate": rate, "sampling": {"max_tokens": 16}, **more}


@pytest.fixture(scope="module")
def run():
    """What was solved of 64 test items at the end of imitation and of the whole, and GRPO's records."""
    probe = {"name": "p", "kind": "episodes", "task": TASK, "environment": CALCULATOR, "n": 64, "max_tokens": 16}
    (solves,) = make_probes([probe], "p", make)
    solved, records = [], []

    def watch(run, stage, state):
        if stage.plan.environment and state.step == 0:
            solved.append(sum(solves.tries(run.engine, k=1).values()) / 64)
        return False

    stages = (stage("sft", 40, 3e-3), stage("grpo", 16, 5e-4, environment=CALCULATOR))
    trained = train(recipe(*stages), watch=watch, tell=records.append)
    solved.append(sum(solves.tries(trained.engine, k=1).values()) / 64)
    return solved, [r for r in records if "episodes/turns" in r]


def test_more_episodes_are_solved_than_at_the_end_of_imitation(run):
    (before, after), _ = run
    assert after >= before + 0.15


def test_the_record_says_how_many_turns_there_were_and_whose_limits_ended_them(run):
    _, records = run
    assert len(records) == 16
    assert all(
        1 <= r["episodes/turns"] <= 2 and r["episodes/context_full"] == r["episodes/split"] == 0 for r in records
    )
