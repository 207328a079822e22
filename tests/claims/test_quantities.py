"""Numbers of an arm, from run folders whose truth is known."""

import json
from dataclasses import replace

import numpy as np
import pytest

from folders import Truth, write_comparison
from scalpel.binding.table import bind_table
from scalpel.claims.number import number, refuse_unknown
from scalpel.claims.quantities import UNITS, Missing, by_seed
from scalpel.evaluation import ArmResults, load
from scalpel.registry import AXES, lookup

TRUTHS = {"sft": Truth(gain=0.9, lost=0.5), "grpo": Truth(gain=0.3, lost=0.1)}


@pytest.fixture(scope="module")
def arms(tmp_path_factory) -> dict[str, ArmResults]:
    folder = tmp_path_factory.mktemp("runs")
    write_comparison(folder, TRUTHS)
    return {arm.name: arm for arm in load(folder)}


def taken(arm: ArmResults, what: str, **keys):
    return lookup("quantity", what)(arm, **keys)


def test_gain_and_forgetting_are_those_of_the_runs(arms):
    assert taken(arms["sft"], "gain").mean == pytest.approx(0.9)
    assert taken(arms["grpo"], "gain").mean == pytest.approx(0.3)
    # 48 of 60 items were known, of which half and a tenth (5 of 48) were lost, in facts as in sort
    assert taken(arms["sft"], "forgetting").mean == pytest.approx(24 / 48)
    assert taken(arms["grpo"], "forgetting").mean == pytest.approx(5 / 48)
    assert taken(arms["sft"], "forgetting", probe="facts").mean == pytest.approx(24 / 48)
    assert taken(arms["sft"], "gain", probe="facts").mean == pytest.approx(-24 / 60)


def test_accuracy_is_what_is_right_after_training_and_a_gap_is_a_difference_of_two(arms):
    assert taken(arms["sft"], "accuracy", probe="facts").mean == pytest.approx(24 / 60)
    assert taken(arms["sft"], "gap", probe="reverse-long", far="facts").mean == pytest.approx(0.9 - 24 / 60)


def test_values_are_in_the_unit_of_their_probe(arms):
    # drift of item i is lost + 0.01 · i, over 20 items: lost + 0.095; before it was 0
    assert taken(arms["sft"], "value", probe="drift").mean == pytest.approx(0.595)
    assert taken(arms["grpo"], "change", probe="drift").mean == pytest.approx(0.195)
    assert taken(arms["grpo"], "before", probe="drift").mean == 0.0


def test_lock_in_takes_the_larger_way_seed_by_seed(arms):
    # a share of 0.195 is 0.805 of the other way
    assert taken(arms["grpo"], "lock-in", probe="drift").mean == pytest.approx(0.805)
    assert taken(arms["sft"], "lock-in", probe="drift").mean == pytest.approx(0.595)


def test_forgetting_at_an_accuracy_is_read_off_the_path_of_the_checkpoints(arms):
    # both grow in proportion: at gain 0.27 of 0.9 the loss is 0.3 · 0.5
    assert taken(arms["sft"], "forgetting-at", accuracy=0.27).mean == pytest.approx(0.15)
    with pytest.raises(Missing, match="grpo: reached 80% on the target in 0 of 2 seeds"):
        taken(arms["grpo"], "forgetting-at", accuracy=0.8)


def test_values_at_equal_accuracy_are_read_off_the_monotone_fit(arms):
    # gain and drift grow in proportion along a run: at gain 0.27 of 0.9 the drift is 0.3 · 0.5
    assert taken(arms["sft"], "value-at", probe="drift", accuracy=0.27).mean == pytest.approx(0.15)
    # where known old items are at most 0.8: facts' accuracy falls, so nothing is reached from below
    with pytest.raises(Missing, match="reached 90% on facts from below in 0 of 2 seeds"):
        taken(arms["sft"], "value-at", probe="drift", accuracy=0.9, on="facts")
    with pytest.raises(Missing, match="grpo: reached 80% on the target from below in 0 of 2 seeds"):
        taken(arms["grpo"], "loss-rise-at", probe="drift", accuracy=0.8)
    with pytest.raises(ValueError, match="did you mean 'drift'"):
        taken(arms["grpo"], "value-at", probe="drifts", accuracy=0.1)


def test_a_rise_is_above_the_base_and_one_unlucky_evaluation_moves_it_little(arms):
    def run(seed, accuracies, losses):
        lines = [
            {"step": k, "probe/reverse-long/accuracy": a, "probe/drift/value": loss}
            for k, (a, loss) in enumerate(zip(accuracies, losses, strict=True))
        ]
        return replace(arms["sft"].runs[0], seed=seed, probes=lines)

    # 0.6 and 0.4 are pooled to 0.5, in the middle of the two, where the loss is 0.3: 0.2 above the base's 0.1
    noisy = ArmResults("noisy", (run(0, [0.0, 0.6, 0.4, 0.9], [0.1, 0.2, 0.4, 0.9]),))
    assert taken(noisy, "loss-rise-at", probe="drift", accuracy=0.5).mean == pytest.approx(0.2)
    # on another probe's value: drift passes 0.3 between the second and the third evaluation
    assert taken(noisy, "value-at", probe="drift", accuracy=0.3, on="drift").mean == pytest.approx(0.3)
    start = ArmResults("start", (run(0, [0.6, 0.7], [0.1, 0.2]),))
    with pytest.raises(Missing, match="from below in 0 of 1 seeds"):
        taken(start, "loss-rise-at", probe="drift", accuracy=0.5)


def test_a_number_at_the_level_of_a_probe_that_the_recipe_lacks_is_refused():
    side = number({"what": "value-at", "probe": "drift", "accuracy": 0.5, "on": "solve", "arm": "sft"})
    with pytest.raises(ValueError, match="did you mean 'solved'"):
        refuse_unknown(side, ["sft"], ["drift", "solved"])


def test_relative_is_the_ratio_to_the_base_seed_by_seed(arms):
    # log p of all facts is -2 after and -1 before
    assert taken(arms["sft"], "relative", probe="facts").mean == pytest.approx(2.0)
    with pytest.raises(Missing, match="not zero before"):
        taken(arms["sft"], "relative", probe="drift")


def test_moved_is_over_all_weights_or_the_mean_over_some(arms):
    assert taken(arms["sft"], "moved", components=["q"]).mean == pytest.approx(0.025)
    assert taken(arms["sft"], "moved", components=["q"], layers=["0"]).mean == pytest.approx(0.02)
    assert taken(arms["sft"], "moved", components=["down"]).mean == pytest.approx((0.01 + 0.1) / 2)
    with pytest.raises(ValueError, match="unknown component 'querries'"):
        taken(arms["sft"], "moved", components=["querries"])


def test_cost_and_logged_metrics_are_read_from_the_runs(arms):
    assert taken(arms["sft"], "cost", of="seconds").mean == 75.0
    assert taken(arms["sft"], "logged", name="loss").mean == pytest.approx(1 / 10)  # the last of ten steps
    assert taken(arms["sft"], "logged", name="loss", last=0.2).mean == pytest.approx((1 / 9 + 1 / 10) / 2)
    with pytest.raises(Missing, match="reward logged in 0 of 2"):
        taken(arms["sft"], "logged", name="reward")
    with pytest.raises(ValueError, match="did you mean 'flops'"):
        taken(arms["sft"], "cost", of="flop")


def test_a_probe_that_is_not_there_or_not_judged_is_named(arms):
    with pytest.raises(ValueError, match="did you mean 'facts'"):
        taken(arms["sft"], "accuracy", probe="fact")
    with pytest.raises(ValueError, match="no right and wrong"):
        taken(arms["sft"], "accuracy", probe="drift")


def test_two_arms_with_the_same_seeds_and_items_are_compared_in_pairs(arms):
    # what all seeds and items share cancels: an arm against itself has the width of two items that might differ
    itself = taken(arms["sft"], "gain").minus(taken(arms["sft"], "gain"))
    alone, against = taken(arms["sft"], "gain").interval(), itself.interval()
    assert itself.mean == 0 and not any(values.x_SI.any() for values in itself.tables.values())
    assert against.high - against.low < alone.high - alone.low
    values = np.array([0.1, 0.5, 0.9])
    three = ArmResults("three", (arms["sft"].runs[0],) * 3)
    shifted = by_seed(three, values + 0.2, "").minus(by_seed(three, values, ""))
    assert shifted.interval() == pytest.approx((0.2, 0.2, 0.2))
    # t(2) at 97.5% is 4.3027; s/√3 of 0.1, 0.5, 0.9 is 0.4/√3
    half = 4.302653 * 0.4 / 3**0.5
    assert by_seed(three, values, "").interval() == pytest.approx((0.5, 0.5 - half, 0.5 + half))


def test_two_probes_that_ask_the_same_items_are_compared_in_pairs(arms):
    arm = ArmResults("both", arms["sft"].runs)
    facts = arms["sft"].tables["facts"]
    arm.__dict__["tables"] = {"once": facts, "again": replace(facts, probe="again"), "sort": arms["sft"].tables["sort"]}
    itself = taken(arm, "gap", probe="once", far="again")
    apart = taken(arm, "gap", probe="once", far="sort")
    assert itself.mean == 0 and len(itself.tables) == 1, "one table: items cancel"
    assert len(apart.tables) == 2, "other items vary by themselves"


def test_every_quantity_says_what_it_is_and_has_a_unit():
    for name, fn in AXES["quantity"].items():
        assert fn.__doc__ and name in UNITS


def test_keys_of_a_quantity_are_checked_as_those_of_a_part():
    for table, words in (
        ({"what": "gains"}, "unknown quantity 'gains': did you mean 'gain'"),
        ({"what": "gain", "prob": "facts"}, "unknown key 'prob': did you mean 'probe'"),
        ({"what": "gap", "probe": "facts"}, "gap has no 'far'"),
        ({"what": "logged", "name": 3}, "logged.name is 3, but must be text"),
        ({"what": "forgetting-at", "accuracy": 2}, "accuracy is 2, but must be a number from 0 to 1"),
    ):
        with pytest.raises(ValueError, match=words):
            bind_table("quantity", table["what"], table, named="what")


def test_weight_change_that_is_not_known_is_missing(arms, tmp_path):
    folder = write_comparison(tmp_path, {"bare": TRUTHS["sft"]}) or tmp_path
    for path in folder.rglob("summary.json"):
        if path.parent.name != "ledger":
            path.write_text(json.dumps({"cost": {}}))
    with pytest.raises(Missing, match="weight change is known in 0 of 2 seeds"):
        taken(load(folder)[0], "moved")
