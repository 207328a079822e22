"""A comparison that adds seeds until it is decided, with pretend runs of known results."""

import json

import pytest

from folders import Truth, write_run
from scalpel.config.changes import refuse_other_comparison
from scalpel.config.recipe import parse, write
from scalpel.experiments import compare as module
from scalpel.experiments.compare import decided
from scalpel.experiments.compare_resume import is_finished
from scalpel.experiments.failures import Failure
from scalpel.experiments.tuning import Tuning
from scalpel.runs.atomic import write_json, write_text

ARMS = [{"name": "sft", "method": "sft"}, {"name": "dft", "method": "dft"}]


def recipe(**keys):
    task = {"name": "reverse"}
    compare = {"arms": ARMS, "seeds": [0, 1, 2], "budget": "steps", **keys}
    return parse({"model": {"path": "world-300k"}, "task": task, "compare": compare})


class Arm:
    def __init__(self, name):
        self.name = name


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """Runs a comparison with pretend runs, and returns it with the seeds that were run of each arm."""

    def run(truths, items=20, failing=(), **keys):
        seeds_run = []

        def run_arms(spec, seeds, arms, tuning, before, folder, pool):
            for seed in seeds:
                for arm in arms:
                    where = tmp_path / "arms" / arm.name / f"seed-{seed}"
                    if (arm.name, seed) not in failing and not where.exists():
                        write_run(where, truths[arm.name], seed, items)
                        seeds_run.append((arm.name, seed))
            return [Failure(name, seed, "lost") for name, seed in failing if seed in seeds]

        monkeypatch.setattr(module, "run_arms", run_arms)
        spec, tuning = recipe(**keys).compare, Tuning(tmp_path / "tuning.json", {"unit": "steps", "amount": 3})
        found = decided(spec, [Arm(name) for name in truths], tuning, {}, tmp_path, None)
        write_json(tmp_path / "comparison.json", found)
        return found, sorted({seed for _, seed in seeds_run})

    return run


ADDING = {"until_decided": True, "looks": [4, 5], "most": 6}
FACTS = {"recovered": 0.0, "abilities": {"facts": 1.0}}
CLEAR = {"sft": Truth(0.9, 0.0, **FACTS), "dft": Truth(0.1, 0.0, **FACTS)}
CLOSE = {"sft": Truth(0.50, 0.0, **FACTS), "dft": Truth(0.45, 0.0, **FACTS)}


def test_what_is_clear_is_decided_at_the_first_look(ran):
    found, seeds = ran(CLEAR, **ADDING)
    assert found["verdict"]["take"] == "sft" and seeds == [0, 1, 2, 3]
    assert found["verdict"]["words"][0] == "Decided at look 1 of 3, with 4 seeds an arm."
    assert found["looks"]["planned"] == [4, 5, 6] and [one["look"] for one in found["looks"]["made"]] == [1]
    assert found["verdict"]["level"] == pytest.approx(0.05 / 6) and "99.2%" in found["rule"]


def test_seeds_are_added_up_to_the_most_where_it_is_not(ran):
    found, seeds = ran(CLOSE, **ADDING)
    assert [one["seeds"] for one in found["looks"]["made"]] == [4, 5, 6] and seeds == list(range(6))
    assert not found["verdict"]["decided"] and "Not decided at look 3 of 3" in found["verdict"]["words"][0]
    assert found["arms"][0]["seeds"] == list(range(6))


def test_a_comparison_of_fixed_seeds_has_one_look_at_the_whole_level(ran):
    found, seeds = ran(CLOSE)
    assert seeds == [0, 1, 2] and "looks" not in found and found["verdict"]["level"] == 0.05


def test_kept_runs_are_gone_on_with_and_the_earlier_verdict_counts(ran, tmp_path):
    ran(CLOSE)
    found, seeds = ran(CLOSE, **ADDING)
    assert seeds == list(range(3, 6)), "the first three are kept"
    assert found["looks"]["false_take"] == pytest.approx(0.10) and "together they may in 10%" in str(found["verdict"])
    again, seeds = ran(CLOSE, **ADDING)
    assert again == found and seeds == [], "looks are made anew from the kept runs"
    assert json.loads((tmp_path / "looks.json").read_text()) == {"plans": [[3], [4, 5, 6]]}
    more, _ = ran(CLOSE, **ADDING | {"most": 7})
    assert more["looks"]["false_take"] == pytest.approx(0.15)


def test_an_interrupted_first_plan_is_no_second_one(ran, tmp_path):
    write_json(tmp_path / "comparison.json", {"order": ["sft", "dft"]})
    found, _ = ran(CLEAR, **ADDING)
    assert found["looks"]["false_take"] == 0.05


def test_failed_seeds_are_counted_among_those_of_the_last_look(ran):
    found, _ = ran(CLEAR, failing=[("dft", 1)], **ADDING)
    words = next(words for words in found["verdict"]["words"] if "failed" in words)
    assert words.startswith("dft failed in 1 of 4 seeds") and found["arms"][1]["seeds"] == [0, 2, 3]


def test_seeds_may_be_added_on_resume_and_looks_are_not_forgotten(tmp_path):
    plain, adding = recipe(), recipe(**ADDING)
    assert {change.key for change in refuse_other_comparison(write(plain), adding)} == {
        "compare.until_decided", "compare.looks", "compare.most",
    }  # fmt: skip
    with pytest.raises(ValueError, match="resume it with --until-decided"):
        refuse_other_comparison(write(adding), plain)
    write_json(tmp_path / "comparison.json", {"verdict": {}})
    write_text(tmp_path / "recipe.toml", write(plain))
    assert is_finished(tmp_path, plain) and not is_finished(tmp_path, adding)


def test_looks_that_do_not_grow_are_refused():
    with pytest.raises(ValueError, match="each greater than the one before"):
        recipe(until_decided=True, looks=[8, 4])
