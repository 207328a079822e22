"""A claim put to the test, from the command line: pilot, looks, more seeds, written down, served overnight."""

import json
import os
import re
import shutil
import signal
from itertools import chain, repeat
from types import SimpleNamespace

import numpy as np
import pytest

from claim_folder import CLAIM, FAST_GAINS, RECIPE
from scalpel.claims import overnight, read, result_of
from scalpel.claims.by_seed import tuned
from scalpel.claims.origin import commit, counted, origin
from scalpel.claims.overnight import seeds_to_decide
from scalpel.claims.seeds import of_seed

CLEAR = {"fast": lambda seed: 0.7 + 0.02 * (seed % 2), "slow": lambda seed: 0.2}
LATE = {"fast": lambda seed: 0.7 if seed > 2 else 0.2 + 0.5 * (seed - 1), "slow": lambda seed: 0.2}


def test_a_claim_is_run_judged_and_written_down(place, monkeypatch):
    monkeypatch.setattr("scalpel.claims.origin.commit", lambda: "c0ffee")
    ran = place("claim", "steps")
    assert ran.code == 0, ran.err
    assert "Replicates, after 2 seeds" in ran.out and "the fast arm moves further" in ran.out
    found = place.json("claims/steps/result.json")
    assert found == place.json("runs/claims/steps/result.json")
    assert found["verdict"] == "replicates" and found["rows"][2]["holds"]
    assert found["command"] == "scalpel claim steps" and found["seeds"] == 2 and found["minutes"] > 0
    assert found["commits"] == ["c0ffee"] and "torch" in found["environment"]
    assert found["pilot"]["rates"] == {"fast": 1e-2, "slow": 1e-4} and list(found["seconds"]) == ["1", "2"]
    assert all(a > b for a, b in found["rows"][0]["numbers"].values())
    assert ids(place, "fast", 1) == ids(place, "slow", 1), "the arms of a seed share its items"


def ids(place, arm: str, seed: int) -> list[str]:
    path = place.folder / "runs/claims/steps/arms" / arm / f"seed-{seed}" / "ledger/say.jsonl"
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def test_each_seed_has_items_of_its_own(place):
    recipe = read("steps").recipe
    one, two = (of_seed(recipe, seed, "fresh") for seed in (1, 2))
    assert [p["seed"] for p in one.measure.probes] == [1, 1] and [p["seed"] for p in two.measure.probes] == [2, 2]
    assert (one.data.seed, two.data.seed) == (1, 2) and of_seed(recipe, 1, "shared") == recipe


def test_an_open_claim_gets_more_seeds_and_keeps_those_it_has(place, pretended):
    place.claim(
        claim=FAST_GAINS.replace("looks = [2, 3]\nalpha = [0.02, 0.03]", "looks = [2, 8]\nalpha = [0.02, 0.03]")
    )
    asked = pretended(LATE)
    ran = place("claim", "steps")
    assert ran.code == 0 and "Inconclusive after 2 seeds" in ran.out, ran.err
    assert asked == [("slow", 1000), *[(arm, seed) for seed in (1, 2) for arm in ("fast", "slow")]]
    asked.clear()
    assert place("claim", "steps").code == 0 and asked == [], "the first look was taken"
    ran = place("claim", "steps", "--until", "decided")
    assert ran.code == 0 and "Replicates, after 8 seeds" in ran.out, ran.err
    assert {seed for _, seed in asked} == set(range(3, 9))
    asked.clear()
    assert place("claim", "steps", "--until", "decided").code == 0 and asked == [], "it is decided"


def test_further_seeds_extend_a_committed_result_without_its_runs(place, pretended):
    place.claim(claim=FAST_GAINS)
    asked = pretended(LATE)
    assert place("claim", "steps").code == 0
    before = place.json("claims/steps/result.json")
    shutil.rmtree("runs")
    asked.clear()
    assert place("claim", "steps", "--until", "decided").code == 0
    assert {seed for _, seed in asked} == {3}
    after = place.json("claims/steps/result.json")
    assert after["rows"][0]["numbers"].items() > before["rows"][0]["numbers"].items()
    assert after["minutes"] > before["minutes"] > 0 and after["pilot"] == before["pilot"]


def test_a_regime_check_that_fails_on_pilot_seeds_ends_it_there(place, pretended):
    place.claim(claim=FAST_GAINS)
    asked = pretended({"fast": lambda seed: 0.7, "slow": lambda seed: 0.0})
    ran = place("claim", "steps")
    assert ran.code == 0, ran.err
    assert "Not in its regime: on the pilot seeds" in " ".join(ran.out.split()) and asked == [("slow", 1000)]
    assert result_of(read("steps"))["verdict"] == "not in its regime"


def test_a_claim_that_is_out_of_its_regime_is_not_run(place, pretended):
    place.claim(claim=FAST_GAINS.replace("[[regime", 'out_of_regime = "no room"\n[[regime', 1))
    asked = pretended(CLEAR)
    ran = place("claim", "steps")
    assert ran.code == 2 and "no room" in ran.said and asked == []
    assert "not in its regime" in place("claim").out


def test_the_best_arm_is_chosen_on_pilot_seeds_and_only_it_is_run_on_test_seeds(place, pretended):
    best = FAST_GAINS.replace('that = {what = "gain", arm = "fast"}', 'that = {what = "gain", best = ["fast", "slow"]}')
    best = best[: best.index("[[regime")] + best[best.index("[primary]") :]
    best = best.replace('exceeds = {arm = "slow"}', "exceeds = 0.1").replace('equals = {arm = "slow"}', "equals = 0.7")
    place.claim(claim=best)
    asked = pretended(CLEAR)
    assert place("claim", "steps").code == 0
    assert asked[:2] == [("fast", 1000), ("slow", 1000)] and {arm for arm, _ in asked[2:]} == {"fast"}
    found = place.json("claims/steps/result.json")
    assert found["pilot"]["chosen"] == {"gain of the best of fast and slow": "fast"}
    numbers = found["pilot"]["compared"]["gain of the best of fast and slow"]
    assert numbers == {"fast": pytest.approx([0.7]), "slow": pytest.approx([0.2])}
    assert found["rows"][0]["that"] == "gain of fast"


def test_an_arm_that_is_tuned_on_few_seeds_is_too_good_on_them(place, pretended):
    that = '{what = "gain", tuned = ["fast", "slow"], tuned_on = 1, measured = "tuning seeds"}'
    block = FAST_GAINS.replace(
        'that = {what = "gain", arm = "fast"}\nexceeds = {arm = "slow"}',
        f"""that = {that}
exceeds = {{measured = "other seeds"}}""",
    )
    place.claim(claim=block.replace("looks = [2, 3]", "looks = [4, 8]\nblock = 2"))
    pretended({"fast": lambda seed: 0.5 if seed % 2 else 0.3, "slow": lambda seed: 0.3 if seed % 2 else 0.5})
    ran = place("claim", "steps")
    assert ran.code == 0 and "Replicates, after 4 seeds" in ran.out, ran.err
    found = place.json("claims/steps/result.json")
    assert found["rows"][0]["numbers"] == {"2": pytest.approx([0.5, 0.3]), "4": pytest.approx([0.5, 0.3])}
    assert found["rows"][0]["that"] == "gain of the best of fast and slow on 1 seeds, measured on these seeds"
    assert place("claim", "--check").code == 0


def test_the_tuned_number_is_a_mean_over_all_choices_of_the_tuning_seeds():
    x_SA = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 9.0]])  # the second arm is best wherever the third seed is chosen on
    assert tuned(x_SA, 2, "tuning seeds") == pytest.approx((1.0 + 4.5 + 4.5) / 3)
    assert tuned(x_SA, 2, "other seeds") == pytest.approx(0.0)


def test_all_arms_try_as_many_rates_on_pilot_seeds(place, pretended, monkeypatch):
    place.claim(claim=FAST_GAINS.replace("seeds = [1000]", "seeds = [1000, 1001]\ngrid = [0.5, 1.0]"))
    pretended(CLEAR)

    def trial(name, recipe, items, report):
        from scalpel.experiments.tuning import Trial

        rate = recipe.stages[-1].learning_rate
        return Trial(name, rate, 0.9 if rate in (5e-3, 1e-4) and recipe.seed == 1000 else 0.5, {"flops": 1.0})

    monkeypatch.setattr("scalpel.experiments.tuning.trial", trial)
    assert place("claim", "steps").code == 0
    pilot = place.json("claims/steps/result.json")["pilot"]
    assert len(pilot["trials"]) == 8 and pilot["rates"] == {"fast": 5e-3, "slow": 1e-4}


def test_an_interrupted_claim_goes_on_and_ends_as_if_nothing_had_happened(place, monkeypatch):
    import scalpel.training.loop as module

    place.claim(claim=CLAIM[: CLAIM.index("[[regime")] + CLAIM[CLAIM.index("[primary]") :])
    assert place("claim", "steps", "--out", "whole").code == 0
    (place.folder / "claims/steps/result.json").unlink()
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
    assert cut["rows"] == whole["rows"] and cut["minutes"] * 60 > before > 0


def test_with_overrides_it_is_another_experiment_and_the_result_stays(place, pretended):
    place.claim(claim=FAST_GAINS)
    pretended(CLEAR)
    assert place("claim", "steps", "compare.shared.steps=3").code == 0
    assert not (place.folder / "claims" / "steps" / "result.json").exists()
    assert (
        place.json("runs/claims/steps-changed/result.json")["command"] == "scalpel claim steps compare.shared.steps=3"
    )


def test_runs_of_another_recipe_are_not_taken_for_these_but_replaced_if_asked(place, pretended):
    place.claim(claim=FAST_GAINS)
    asked = pretended(CLEAR)
    assert place("claim", "steps").code == 0
    place.claim(claim=FAST_GAINS, recipe=RECIPE.replace("steps = 2}", "steps = 1}"))
    assert result_of(read("steps")) is None, "the result is of what the claim was"
    ran = place("claim", "steps")
    assert ran.code == 2 and "--anew" in ran.err
    asked.clear()
    assert place("claim", "steps", "--anew").code == 0 and len(asked) == 5


def test_runs_of_a_comparison_or_of_an_earlier_claim_are_not_taken_for_test_seeds(place, pretended):
    place.claim(claim=FAST_GAINS)
    pretended(CLEAR)
    assert place("claim", "steps").code == 0
    (place.folder / "runs/claims/steps/runs.json").unlink()
    ran = place("claim", "steps")
    assert ran.code == 2 and "--anew" in ran.err


def test_another_comparison_is_judged_from_the_runs_that_are_there(place, pretended):
    place.claim(claim=FAST_GAINS)
    asked = pretended(CLEAR)
    assert place("claim", "steps").code == 0
    asked.clear()
    place.claim(claim=FAST_GAINS.replace("matters = 0.1", "matters = 0.9"))
    ran = place("claim", "steps")
    assert ran.code == 0 and "Absent, after 2 seeds" in ran.out and asked == []


def test_a_claim_that_is_refused_leaves_nothing_behind(place):
    place.claim(recipe=RECIPE.replace('method = "sft", learning_rate = 1e-2', 'method = "distill"'))
    ran = place("claim", "steps")
    assert ran.code == 2 and "[models]" in ran.err
    assert not (place.folder / "runs").exists()


def test_a_run_that_failed_is_named_and_tried_again_before_anything_is_judged(place, pretended):
    def fails(seed):
        if seed == 2:
            raise ValueError("no credit")
        return 0.7

    place.claim(claim=FAST_GAINS)
    pretended({**CLEAR, "fast": fails})
    ran = place("claim", "steps")
    assert (
        ran.code == 2 and "without a result: fast in seed 2: no credit" in ran.said and "tries these again" in ran.said
    )
    assert not (place.folder / "claims" / "steps" / "result.json").exists()
    asked = pretended(CLEAR)
    assert place("claim", "steps").code == 0 and asked == [("fast", 2)]


def test_no_seed_is_begun_after_the_hours(place, pretended):
    place.claim(claim=FAST_GAINS)
    asked = pretended(CLEAR)
    ran = place("claim", "steps", "--until", "decided", "--hours", 0)
    assert ran.code == 0 and "0 seeds were run, too few for the first look" in ran.out, ran.err
    assert asked == [("slow", 1000)]


def test_overnight_serves_the_claim_that_is_nearest_to_a_decision_look_by_look(place, pretended):
    looks = FAST_GAINS.replace("looks = [2, 3]\nalpha = [0.02, 0.03]", "looks = [3, 6]\nalpha = [0.02, 0.03]")
    place.claim("steps", looks)
    place.claim("near", looks.replace("looks = [3, 6]", "looks = [2, 6]"))
    place.claim("out", looks.replace("[[regime", 'out_of_regime = "no room"\n[[regime', 1))
    pretended(LATE)
    ran = place("claim", "--overnight", 1)
    assert ran.code == 0 and "Served: near, steps, near" in ran.out or "Served: near, steps, steps, near" in ran.out, (
        ran
    )
    assert seeds_to_decide(read("near")) is None and seeds_to_decide(read("out")) is None
    assert "nothing is left to decide" in place("claim", "--overnight", 1).out
    assert place("claim", "near", "--overnight", 1).code == 2


def test_a_claim_that_fails_overnight_does_not_keep_the_others_from_being_served(place):
    place.claim("other")

    def run(claim, limit):
        if claim.id == "other":
            raise ValueError("no memory")
        (claim.folder / "result.json").write_text(
            json.dumps({"format": 2, "digest": claim.digest, "verdict": "absent", "rows": [], "seconds": {}})
        )

    assert overnight(place.folder / "claims", 1.0, run) == ["other", "steps"]


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
