"""A claim put to the test, from the command line: run, resumed, judged anew, written down."""

import os
import re
import signal
from itertools import chain, repeat
from types import SimpleNamespace

import pytest

from claim_folder import CLAIM, RECIPE
from scalpel.claims import page, read, result_of
from scalpel.claims.origin import commit, counted, origin


def test_a_claim_is_run_judged_and_written_down(place, monkeypatch):
    monkeypatch.setattr("scalpel.claims.origin.commit", lambda: "c0ffee")
    ran = place("claim", "steps")
    assert ran.code == 0, ran.err
    assert "Replicates." in ran.out and "the fast arm moves further" in ran.out
    found = place.json("claims/steps/result.json")
    assert found == place.json("runs/claims/steps/result.json")
    assert found["verdict"] == "replicates" and [row["outcome"] for row in found["checks"]] == ["holds"] * 3
    assert found["command"] == "scalpel claim steps" and found["seeds"] == [0, 1] and found["minutes"] > 0
    assert found["commits"] == ["c0ffee"] and "torch" in found["environment"]
    assert [arm["name"] for arm in found["arms"]] == ["fast", "slow"]
    assert found["checks"][1]["difference"]["low"] > 0


def test_listed_are_all_claims_with_their_verdicts(place):
    place.claim("other")
    assert place("claim", "steps").code == 0
    ran = place("claim")
    assert ran.code == 0, ran.err
    lines = {line.split()[0]: line for line in ran.out.splitlines() if line.strip()}
    assert "not run yet" in lines["other"] and "replicates" in lines["steps"]


def test_a_finished_claim_is_judged_anew_without_training(place, monkeypatch):
    assert place("claim", "steps").code == 0
    place.claim(claim=CLAIM.replace('{what = "moved", arm = "fast"}', '{what = "moved", arm = "fast"}\nby = 5.0'))
    assert result_of(read("steps")) is None, "the result is of what the claim was"
    monkeypatch.setattr("scalpel.claims.run.compare", None)
    ran = place("claim", "steps")
    assert ran.code == 0 and "Doesn't." in ran.out, ran.err
    assert result_of(read("steps"))["verdict"] == "doesn't"


def test_an_interrupted_claim_goes_on_and_ends_as_if_nothing_had_happened(place, monkeypatch):
    import scalpel.training.loop as module

    assert place("claim", "steps", "--out", "whole").code == 0
    real, count = module.take_step, iter(range(100))

    def taken(*arguments):
        if next(count) == 3:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "take_step", taken)
        ran = place("claim", "steps", "--out", "cut")
    assert ran.code == 130 and "the same command goes on" in ran.said
    before = place.json("cut/origin.json")["seconds"]
    assert place("claim", "steps", "--out", "cut").code == 0
    whole, cut = place.json("whole/result.json"), place.json("cut/result.json")
    assert cut["checks"] == whole["checks"] and cut["minutes"] * 60 > before > 0


def test_with_overrides_it_is_another_experiment_and_the_result_stays(place):
    ran = place("claim", "steps", "compare.seeds=[0]")
    assert ran.code == 0, ran.err
    assert "Not testable here." in ran.out and "one seed can't tell" in " ".join(ran.out.split())
    assert not (place.folder / "claims" / "steps" / "result.json").exists()
    assert place.json("runs/claims/steps-changed/result.json")["command"] == "scalpel claim steps compare.seeds=[0]"


def test_runs_of_another_recipe_are_not_taken_for_these_but_replaced_if_asked(place):
    assert place("claim", "steps").code == 0
    place.claim(recipe=RECIPE.replace("steps = 2}", "steps = 1}"))
    ran = place("claim", "steps")
    assert ran.code == 2 and "--anew" in ran.err
    assert place("claim", "steps", "--anew").code == 0
    assert place.json("claims/steps/result.json")["arms"][0]["steps"] == 1


def test_a_claim_that_is_refused_leaves_nothing_behind(place):
    place.claim(recipe=RECIPE.replace('method = "sft", learning_rate = 1e-2', 'method = "distill"'))
    ran = place("claim", "steps")
    assert ran.code == 2 and "[models]" in ran.err
    assert not (place.folder / "runs").exists()


def test_the_page_shows_what_was_seen_and_what_is_planned(place):
    place.claim("other")
    assert place("claim", "steps", "--page", "page.md").code == 0
    text = (place.folder / "page.md").read_text()
    assert text == page([read("other"), read("steps")])
    other, steps = text.split("## other")[1].split("## steps")
    assert "**Not run yet.**" in other and "moved of fast exceeds moved of slow" in other
    assert "equals gain of slow within 90 points" in other and "That weights move further." in other
    assert "**Replicates.**" in steps and "seeds 0 and 1" in steps and "| holds |" in steps
    assert "| arm | gain |" in steps and "| fast |" in steps


def test_check_tells_when_the_page_is_out_of_date(place):
    missing = place("claim", "--page", "page.md", "--check")
    assert missing.code == 2 and not (place.folder / "page.md").exists()
    assert place("claim", "--page", "page.md").code == 0
    assert place("claim", "--page", "page.md", "--check").code == 0
    place.claim("other")
    stale = place("claim", "--page", "page.md", "--check")
    assert stale.code == 2 and "run `scalpel claim --page page.md`" in stale.said
    assert place("claim", "--check").code == 2


def test_the_commit_is_that_of_the_code_and_unknown_outside_a_checkout(tmp_path, monkeypatch):
    assert re.fullmatch(r"[0-9a-f]{12}\+?|unknown", commit())
    monkeypatch.setattr("scalpel.claims.origin.SOURCE", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit() == "unknown"


def test_the_time_of_a_run_that_was_killed_counts_up_to_what_it_wrote_last(tmp_path, monkeypatch):
    clock = chain([1000.0, 5000.0, 5007.0], repeat(9000.0))
    monkeypatch.setattr("scalpel.claims.origin.time", SimpleNamespace(time=lambda: next(clock)))
    killed = counted(tmp_path)
    killed.__enter__()  # and never left
    for name, at in (("metrics.jsonl", 1060.0), ("origin.json", 1000.0)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (at, at))
    with counted(tmp_path):
        pass
    assert origin(tmp_path)["seconds"] == 60.0 + 7.0 and "since" not in origin(tmp_path)


@pytest.mark.parametrize("name", ["stepz", ""])
def test_an_unknown_claim_is_refused(place, name):
    ran = place("claim", name)
    assert ran.code == 2 and "steps" in ran.err and "Traceback" not in ran.err


def test_an_arm_that_failed_in_a_seed_is_not_judged_by_the_others_and_is_tried_again(place, monkeypatch):
    import scalpel.training.loop as module

    def taken(run, stage, state, *step):
        if run.recipe.seed == 1 and run.recipe.stages[0].learning_rate == 1e-2:
            raise ValueError("no credit")
        return real(run, stage, state, *step)

    real = module.take_step
    with monkeypatch.context() as patch:
        patch.setattr(module, "take_step", taken)
        ran = place("claim", "steps")
    assert ran.code == 1 and "without a result: fast; the same command tries" in ran.said
    found = place.json("runs/claims/steps/result.json")
    assert found["verdict"] == "not testable here" and found["checks"][1]["outcome"] == "missing"
    assert "seed 1 failed: no credit" in found["checks"][1]["why"]
    assert place("claim", "steps").code == 0
    assert place.json("claims/steps/result.json")["verdict"] == "replicates"
