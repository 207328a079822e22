"""Which arm to take, by cases whose answer is plain; and the arithmetic behind it."""

import json

import pytest

from folders import Truth, write_comparison, write_run
from scalpel.evaluation import comparison, load
from scalpel.evaluation.aggregate import broken
from scalpel.evaluation.arm_scores import score_arm
from scalpel.evaluation.matched_accuracy import Checkpoint, at_level, levels
from scalpel.evaluation.results import ArmResults
from scalpel.runs.folder import write_json

MATCHED = "length of the answer and log p of the right answer under the base, an item that the base never knew, "


def compared(folder, truths, items=60, **options):
    return comparison(load(write_comparison(folder, truths, items)), **options)


def row(found, name):
    return next(arm for arm in found["arms"] if arm["name"] == name)


def test_gain_and_forgetting_are_the_true_ones(tmp_path):
    found = compared(tmp_path, {"sft": Truth(gain=0.9, lost=0.5, abilities={"facts": 1.0, "sort": 0.5})})
    arm = row(found, "sft")
    assert arm["gain"]["mean"] == pytest.approx(0.9)
    assert arm["forgetting"]["mean"] == pytest.approx((0.5 + 0.25) / 2)
    assert arm["net"]["mean"] == pytest.approx(0.9 - 0.375)
    assert arm["worst"] == {"probe": "facts", "lost": pytest.approx(0.5)}
    assert arm["seeds"] == [0, 1] and found["targets"] == ["reverse-long"] and found["abilities"] == ["facts", "sort"]
    probes = {probe["probe"]: probe for probe in arm["probes"]}
    assert (probes["facts"]["before"], probes["facts"]["after"]) == (0.8, pytest.approx(0.4))
    assert probes["facts"]["verdict"] == "lost" and probes["reverse-long"]["verdict"] == "gained"
    assert probes["drift"]["value"]["after"] == pytest.approx(0.595)


def test_what_learns_most_but_forgets_most_is_not_taken(tmp_path):
    found = compared(tmp_path, {"sft": Truth(0.95, 0.9), "prefix-rft": Truth(0.7, 0.05), "grpo": Truth(0.0, 0.0)})
    assert found["verdict"]["take"] == "prefix-rft" and found["verdict"]["tied"] == []
    assert found["verdict"]["headline"] == "Take prefix-rft."
    assert all(duel["apart"] and duel["than"] == "prefix-rft" for duel in found["verdict"]["duels"])


def test_arms_that_differ_by_little_are_not_told_apart(tmp_path):
    found = compared(tmp_path, {"dft": Truth(0.70, 0.05), "sft": Truth(0.68, 0.05), "dpo": Truth(0.1, 0.5)})
    assert (found["verdict"]["take"], found["verdict"]["tied"]) == ("dft", ["sft"])
    assert found["verdict"]["headline"] == "Take dft; sft can't be told apart from it."
    assert any("sft can't be told apart from dft" in words for words in found["verdict"]["words"])


def test_more_items_tell_apart_what_fewer_could_not(tmp_path):
    truths = {"dft": Truth(0.75, 0.05), "sft": Truth(0.60, 0.05)}
    assert compared(tmp_path / "few", truths, items=20)["verdict"]["tied"] == ["sft"]
    assert compared(tmp_path / "many", truths, items=400)["verdict"]["tied"] == []


def test_no_gain_means_keep_the_base(tmp_path):
    found = compared(tmp_path / "none", {"grpo": Truth(0.0, 0.0), "sft": Truth(0.3, 0.8)})
    assert found["verdict"]["take"] is None
    assert found["verdict"]["headline"].startswith("Keep the base")
    assert any("does not lie above zero" in words for words in found["verdict"]["words"])
    harmful = compared(tmp_path / "harmful", {"sft": Truth(0.1, 0.8), "dft": Truth(0.0, 0.7)})["verdict"]
    assert harmful["take"] is None and any("costs more than it brings" in words for words in harmful["words"])


def test_the_price_of_forgetting_turns_the_choice(tmp_path):
    truths = {"sft": Truth(0.95, 0.4), "dft": Truth(0.7, 0.02)}
    assert compared(tmp_path / "a", truths, price=1.0)["verdict"]["take"] == "dft"
    assert compared(tmp_path / "b", truths, price=0.25)["verdict"]["take"] == "sft"


def test_a_limit_on_forgetting_rules_arms_out(tmp_path):
    truths = {"sft": Truth(0.95, 0.3), "dft": Truth(0.5, 0.02)}
    assert compared(tmp_path / "a", truths)["verdict"]["take"] == "sft"
    found = compared(tmp_path / "b", truths, limit=0.05)
    assert found["verdict"]["take"] == "dft" and found["verdict"]["duels"] == []
    assert "sft lost more than the limit of 5% and was not considered." in found["verdict"]["words"]
    none = compared(tmp_path / "c", truths, limit=0.0)["verdict"]
    assert none["take"] is None and "sft and dft" in " ".join(none["words"]) or "dft and sft" in " ".join(none["words"])


@pytest.mark.parametrize("options, words", [({"price": -1}, "price"), ({"limit": 5}, "limit = 5")])
def test_nonsense_is_refused(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        compared(tmp_path, {"sft": Truth(0.5, 0.5)}, **options)


def test_one_seed_is_said_to_be_one(tmp_path):
    words = compared(tmp_path / "one", {"sft": Truth(0.9, 0.1, seeds=(0,))})["verdict"]["words"]
    assert "One seed: the intervals cover the choice of items, not that of seeds." in words
    words = compared(tmp_path / "two", {"sft": Truth(0.9, 0.1, seeds=(0, 1))})["verdict"]["words"]
    assert "The intervals cover the choice of items and of seeds (2 an arm)." in words


def test_recovered_items_are_told_beside_the_control(tmp_path):
    found = compared(tmp_path, {"sft": Truth(0.9, 0.5, recovered=0.5, seeds=(0,))})
    tallies = row(found, "sft")["recovery"]
    # 48 known of 60 an ability, half of them lost, half of those back; 12 never known, a tenth back
    assert (tallies["lost"]["tested"], tallies["lost"]["recovered"]) == (48, 24)
    assert (tallies["control"]["tested"], tallies["control"]["recovered"]) == (24, 2)
    words = next(words for words in found["verdict"]["words"] if "came back" in words)
    # 12 of each ability's 24 lost items have a match, whichever they are
    pairs = tallies["matched"]
    assert (pairs["pairs"], pairs["control"], pairs["logp"]) == (24, 2, {"lost": -1.0, "control": -1.0})
    assert f"24 (50%) came back in some recovery test. Of the 24 that match, in probe, {MATCHED}" in words
    assert "of those items 2 (8%)" in words and "more than guessing explains" in words


def with_floor(folder, held):
    """Gives the runs of an arm a floor that held, or not, seed by seed."""
    for seed, good in enumerate(held):
        path = folder / "arms" / "sft" / f"seed-{seed}" / "summary.json"
        left = {"facts": 0.99 if good else 0.90, "sort": 0.995}
        floor = {"floor": 0.98, "held": good, "left": left, "looks": 20, "below": 5, "flops": 1e8, "seconds": 3.0}
        more = {"strength": 7.0, "since": 10 * seed if good else None, "units": {"facts": 100, "sort": 100}}
        write_json(path, json.loads(path.read_text()) | {"floors": [floor | more]})


def test_a_floor_is_pooled_over_seeds_and_said(tmp_path):
    write_comparison(tmp_path, {"sft": Truth(0.9, 0.01), "plain": Truth(0.9, 0.5)})
    with_floor(tmp_path, [True, False])
    found = comparison(load(tmp_path))
    floor = row(found, "sft")["floor"]
    assert (floor["held"], floor["of"], floor["below"], floor["flops"]) == (1, 2, 0.25, 1e8)
    assert floor["least"] == {"ability": "facts", "left": pytest.approx(0.945)}
    assert floor["since"] is None  # one seed ended below it
    assert row(found, "plain")["floor"] is None
    words = next(words for words in found["verdict"]["words"] if "floor" in words)
    assert words.startswith("sft held its floor of 98% in 1 of 2 seeds, in 1 the violation is beyond chance; facts")


def test_a_floor_that_a_few_items_miss_may_be_chance():
    one = {"floor": 0.98, "left": {"facts": 0.96}}
    assert not broken(one | {"units": {"facts": 100}}) and broken(one | {"units": {"facts": 1000}})


def test_the_floor_held_from_where_it_did_in_every_seed(tmp_path):
    write_comparison(tmp_path, {"sft": Truth(0.9, 0.01), "plain": Truth(0.9, 0.5)})
    with_floor(tmp_path, [True, True])
    assert row(comparison(load(tmp_path)), "sft")["floor"]["since"] == 10


def test_cost_weights_and_failures_are_carried(tmp_path):
    found = compared(tmp_path, {"sft": Truth(0.9, 0.5, cost=2.0)}, failed={"ppo": "the loss was NaN at step 3"})
    arm = row(found, "sft")
    assert arm["cost"]["flops"] == 1e10 and arm["learning_rate"] == 1e-3 and arm["stopped"] == "budget"
    assert arm["steps"] == 10 and arm["tuning_cost"] == {"flops": 7e9} and len(arm["grid"]) == 2
    assert arm["weights"]["components"] == ["embeddings", "q", "down", "head"]
    assert arm["weights"]["relative"][2][1] == pytest.approx(0.1) and arm["weights"]["relative"][0][0] is None
    assert "ppo gave no result: the loss was NaN at step 3" in found["verdict"]["words"]


def test_matched_target_takes_overshoot_out(tmp_path):
    """Both lose 0.5 for each unit of target, so at one level they have forgotten alike."""
    found = compared(tmp_path, {"fast": Truth(0.9, 0.45), "slow": Truth(0.3, 0.15, cost=0.5)})
    assert [r["level"] for r in found["matched"]] == [0.1, 0.25, 0.3, 0.5, 0.75, 0.9]
    common = next(r for r in found["matched"] if r["level"] == 0.3)["arms"]
    assert common["fast"]["forgetting"] == pytest.approx(0.15) and common["slow"]["forgetting"] == pytest.approx(0.15)
    assert common["slow"]["flops"] == pytest.approx(2.5e9) and common["fast"]["flops"] == pytest.approx(5e9 / 3)
    above = next(r for r in found["matched"] if r["level"] == 0.5)["arms"]["slow"]
    assert above == {"reached": 0, "of": 2}


def test_a_level_is_interpolated_between_checkpoints():
    points = [Checkpoint(0, 0, 0.0, 0.0), Checkpoint(10, 100, 0.4, 0.2), Checkpoint(20, 200, 0.8, 0.6)]
    assert at_level(points, 0.6) == Checkpoint(15, pytest.approx(150), 0.6, pytest.approx(0.4))
    assert at_level(points, 0.4) == points[1]
    assert at_level(points, 0.9) is None
    assert levels([points, points[:2]]) == [0.1, 0.25, 0.4, 0.5, 0.75]
    assert levels([[]]) == []


def test_the_comparison_is_plain_json_and_the_same_every_time(tmp_path):
    arms = load(write_comparison(tmp_path, {"sft": Truth(0.9, 0.5), "dft": Truth(0.7, 0.1)}))
    found = comparison(arms, budget={"unit": "flops", "amount": 1e9})
    write_json(tmp_path / "comparison.json", found)
    assert (
        json.loads((tmp_path / "comparison.json").read_text())
        == found
        == comparison(load(tmp_path), budget=found["budget"])
    )


def test_arms_stand_in_the_order_of_the_comparison(tmp_path):
    write_comparison(tmp_path, {"a": Truth(0.9, 0.5), "b": Truth(0.7, 0.1)})
    assert [arm.name for arm in load(tmp_path)] == ["a", "b"]
    (tmp_path / "comparison.json").write_text('{"order": ["b", "a"]}')
    assert [arm.name for arm in load(tmp_path)] == ["b", "a"]


def test_seeds_stand_in_number_order_and_unfinished_ones_are_left_out(tmp_path):
    write_comparison(tmp_path, {"a": Truth(0.9, 0.5, seeds=(10, 9, 2))})
    (tmp_path / "arms" / "a" / "seed-3").mkdir()
    assert load(tmp_path)[0].seeds == [2, 9, 10]


def test_a_single_run_is_a_comparison_of_one(tmp_path):
    arms = load(write_run(tmp_path / "mine", Truth(0.9, 0.1)))
    found = comparison(arms)
    assert [arm.name for arm in arms] == ["mine"] and found["verdict"]["take"] == "mine"
    assert found["verdict"]["headline"].startswith("Worth taking")
    bad = comparison(load(write_run(tmp_path / "bad", Truth(0.1, 0.9))))
    assert bad["verdict"]["take"] is None and "this run" in bad["verdict"]["headline"]


def test_folders_that_hold_nothing_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no run folder"):
        load(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"neither arms/ nor ledger/"):
        load(tmp_path)
    (tmp_path / "arms" / "sft" / "seed-0").mkdir(parents=True)
    with pytest.raises(ValueError, match="no finished run"):
        load(tmp_path)


def test_arms_measured_on_different_items_are_refused(tmp_path):
    one = load(write_run(tmp_path / "one", Truth(0.9, 0.1), items=20))
    other = load(write_run(tmp_path / "other", Truth(0.9, 0.1), items=30))
    with pytest.raises(ValueError, match="different items of probe 'reverse-long'"):
        comparison([*one, *other])
    with pytest.raises(ValueError, match="hold different items"):
        _ = ArmResults("both", (one[0].runs[0], other[0].runs[0])).tables
    with pytest.raises(ValueError, match="no arm"):
        comparison([])


def test_a_run_without_a_target_has_no_gain(tmp_path):
    folder = write_run(tmp_path, Truth(0.9, 0.1))
    path = folder / "ledger" / "summary.json"
    path.write_text(path.read_text().replace('"target"', '"keep"'))
    found = score_arm(load(folder)[0])
    assert found.gain is None and found.net is None and found.forgetting is not None


def test_an_ability_that_the_base_lacked_cannot_be_lost(tmp_path):
    found = compared(tmp_path, {"sft": Truth(0.9, 0.5, abilities={"facts": 1.0})})
    assert row(found, "sft")["forgetting"]["mean"] == pytest.approx(0.5)
    assert "reverse-long" not in found["abilities"]
