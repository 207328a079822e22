"""Every point of a probe's curve counts the same items: a curve moves where the model did, not where the items did."""

from __future__ import annotations

import json
from statistics import mean

import pytest

from folders import Plain
from running import prepare, records, tables
from scalpel.evaluation import ItemResult, side_by_side
from scalpel.experiments.single import after, probe_record, run_recipe

COST = {"flops": 1.0, "seconds": 1.0}


def seen(rights: list[bool]) -> dict[str, list[ItemResult]]:
    return {"facts": [ItemResult(str(i), right, float(i), "", "") for i, right in enumerate(rights)]}


def test_a_look_at_all_items_counts_with_those_of_the_curve():
    before, after = seen([True, True, False, False]), seen([True, False, True, True])
    curve = {"facts": {"0", "1"}}
    first, last = (probe_record(0, COST, before, now, curve) for now in (before, after))
    assert (first["probe/facts/accuracy"], last["probe/facts/accuracy"]) == (1.0, 0.5)
    assert last["probe/facts/kept"] == 0.5 and last["probe/facts/value"] == 0.5 and last["items"] == 2


def test_the_ends_of_a_run_count_the_items_of_its_middle(tmp_path):
    at = prepare(tmp_path)
    probes = [{"name": "words", "task": {"name": "world/reverse"}, "n": 8, "max_tokens": 2}]
    measure = {"probes": probes, "points": 1, "curve_items": 3, "recovery_items": 0}
    run_recipe(tables(at, {"method": "sft", "steps": 3, "batch": 2}, measure=measure), at / "run", saves_model=False)
    looks = [line for line in records(at / "run") if line["kind"] == "probe"]
    items = [json.loads(line) for line in (at / "run/ledger/words.jsonl").read_text().split("\n") if line]
    assert len(items) == 8 and [line["items"] for line in looks] == [3] * 3
    for line, side in ((looks[0], "logp_before"), (looks[-1], "logp_after")):
        assert line["probe/words/value"] == pytest.approx(mean(item[side] for item in items[:3]))
        assert line["probe/words/value"] != pytest.approx(mean(item[side] for item in items))


def test_the_last_point_tells_of_unread_answers_as_the_others_do():
    rows = {"facts": [ItemResult("0", False, None, "", "", unread=True, cut_off=True)]}
    book = side_by_side(Plain("facts", "keep"), rows["facts"], rows["facts"])  # type: ignore[arg-type]
    assert after(book) == rows["facts"]
