"""The ledger: four verdicts, the rule for its words, and files that come back as they were."""

import json
from dataclasses import replace

import pytest

from folders import FakeEngine, Plain, WordTask
from scalpel.evaluation import (
    Drift,
    Generate,
    measure,
    metrics,
    run_probes,
    save,
    side_by_side,
    summary,
)
from scalpel.evaluation.ledger import read, verdict_in_words, write
from scalpel.evaluation.probes import ItemResult

PROBE = Plain("facts", "keep")


def items(rights, value=-1.0):
    return [
        ItemResult(str(i), right, value, f"out {i}", f"prompt {i}", f"answer {i}") for i, right in enumerate(rights)
    ]


def book(before, after):
    return side_by_side(PROBE, items(before), items(after, -2.0))


def test_four_verdicts():
    found = book([False, True, True, False], [True, True, False, False])
    assert [entry.verdict for entry in found.entries] == ["gained", "kept", "lost", "never"]
    assert [entry.id for entry in found.of("lost", "never")] == ["2", "3"]


def test_an_average_that_stands_still_hides_what_was_swapped():
    row = summary(book([True] * 10 + [False] * 10, [False] * 10 + [True] * 10))
    assert row["before"] == row["after"] == 0.5
    assert (row["gained"], row["lost"], row["kept"], row["never"]) == (10, 10, 0, 0)
    assert row["share_lost"] == 1.0 and row["p"] == 1.0 and row["verdict"] == "too few items to tell"


def test_after_items_in_another_order_are_paired_by_id():
    found = side_by_side(PROBE, items([True, False]), items([True, False])[::-1])
    assert [entry.verdict for entry in found.entries] == ["kept", "never"]


def test_different_items_before_and_after_are_refused():
    with pytest.raises(ValueError, match="1 items are on one side only, '1'"):
        side_by_side(PROBE, items([True, True]), items([True]))


@pytest.mark.parametrize(
    "gained, lost, n, words",
    [
        (0, 6, 20, "lost"),  # p = 0.031
        (0, 5, 20, "too few items to tell"),  # p = 0.0625, and 5 of 20 is no small matter
        (9, 1, 50, "gained"),
        (0, 0, 20, "too few items to tell"),  # 20 items could hide a loss of 12 points
        (0, 0, 200, "unchanged"),
        (3, 3, 1000, "unchanged"),
        (0, 0, 0, "too few items to tell"),
    ],
)
def test_words_follow_the_rule(gained, lost, n, words):
    assert verdict_in_words(gained, lost, n) == words


def test_words_are_corrected_for_the_number_of_probes():
    """2 · ½⁶ = 0.031 and 2 · ½⁷ = 0.016, beside 0.05/2 = 0.025; of fourteen probes 2 · ½⁹ = 0.0039 is too much, and
    2 · ½¹⁰ = 0.002 is below 0.05/14."""
    assert [verdict_in_words(0, lost, 100, probes=2) for lost in (6, 7)] == ["too few items to tell", "lost"]
    assert [verdict_in_words(0, lost, 100, probes=14) for lost in (9, 10)] == ["too few items to tell", "lost"]


def test_a_run_s_verdicts_hold_for_all_of_its_judged_probes_together(tmp_path):
    flips = [True] * 6 + [False] * 20
    one = book(flips, [False] * 26)
    drift = replace(one, probe="drift", entries=tuple(replace(e, verdict="measured") for e in one.entries))
    write(tmp_path / "alone", [one, drift])
    write(tmp_path / "two", [one, replace(one, probe="other"), drift])
    verdicts = {
        name: json.loads((tmp_path / name / "ledger" / "summary.json").read_text())["probes"][one.probe]["verdict"]
        for name in ("alone", "two")
    }
    assert verdicts == {"alone": "lost", "two": "too few items to tell"}


def test_log_probability_moves_beside_right_and_wrong():
    value = summary(book([True] * 5, [True] * 5))["value"]
    assert (value["before"], value["after"]) == (-1.0, -2.0) and value["change"]["mean"] == -1.0


def test_a_probe_without_right_and_wrong_has_values_only():
    found = side_by_side(Plain("drift", "keep", "drift", "KL"), items([None, None], 0.0), items([None, None], 0.5))
    assert [entry.verdict for entry in found.entries] == ["measured", "measured"]
    assert "verdict" not in summary(found) and summary(found)["value"]["after"] == 0.5


def test_metrics_of_a_checkpoint():
    found = metrics("facts", items([True, True, False, False]), items([True, False, True, True], -3.0))
    assert found == {"probe/facts/accuracy": 0.75, "probe/facts/kept": 0.5, "probe/facts/value": -3.0}
    assert metrics("new", items([False]), items([True], None)) == {"probe/new/accuracy": 1.0}
    assert metrics("drift", items([None]), items([None], 0.5)) == {"probe/drift/value": 0.5}


def test_files_come_back_as_they_were(tmp_path):
    first = book([True, False], [False, True])
    other = side_by_side(Plain("world/sort", "target"), items([False]), items([True]))  # type: ignore[arg-type]
    write(tmp_path, [first, other], {"facts": {"note": 1}})
    assert read(tmp_path) == [first, other]
    assert (tmp_path / "ledger" / "world-sort.jsonl").is_file()
    about = json.loads((tmp_path / "ledger" / "summary.json").read_text())
    assert about["probes"]["facts"]["note"] == 1 and about["probes"]["facts"]["lost"] == 1
    assert not list(tmp_path.rglob("*.part*"))


def test_probes_that_would_share_a_file_are_refused(tmp_path):
    one, two = (side_by_side(Plain(name, "keep"), items([True]), items([True])) for name in ("a/b", "a:b"))
    with pytest.raises(ValueError, match="share a place on disk"):
        write(tmp_path, [one, two])


def test_a_spoilt_ledger_is_named_by_file_and_line(tmp_path):
    write(tmp_path, [book([True, False], [False, True])])
    path = tmp_path / "ledger" / "facts.jsonl"
    whole = path.read_text()
    path.write_text(whole.replace('"verdict"', '"verdct"', 1))
    with pytest.raises(ValueError, match=r"facts\.jsonl:1 is not a ledger entry.*verdct"):
        read(tmp_path)
    path.write_text(whole[:-20])
    with pytest.raises(ValueError, match=r"facts\.jsonl:2 is not JSON"):
        read(tmp_path)
    path.write_text(whole + "[]\n")
    with pytest.raises(ValueError, match=r"facts\.jsonl:3: its value is \[\], but must be an object"):
        read(tmp_path)


def test_measure_looks_at_both_models_and_saves(tmp_path):
    base = FakeEngine(lambda p: p.upper() if p in ("w0", "w1") else "no")
    tuned = FakeEngine(lambda p: p.upper() if p in ("w1", "w2") else "no", logp=lambda p, t: -2.0)
    probes = [Generate("upper", WordTask(), n=4), Drift("drift", prompts=("a",))]
    before = run_probes(probes, base, base)
    asked = base.written
    found = measure(probes, base, tuned, before=before, k=2)
    assert base.written == asked  # one look at the base serves many tuned models
    assert [entry.verdict for entry in found[0].entries] == ["lost", "kept", "gained", "never"]
    assert found[1].entries[0].logp_after == 1.0
    assert [entry.verdict for entry in measure(probes, base, tuned)[0].entries] == [e.verdict for e in found[0].entries]
    save(tmp_path, found)
    assert read(tmp_path) == found
    row = json.loads((tmp_path / "ledger" / "summary.json").read_text())["probes"]
    assert row["upper"]["recovery"]["lost"]["tested"] == 1 and row["drift"]["recovery"] is None


def test_two_probes_of_one_name_are_refused():
    with pytest.raises(ValueError, match="share a name"):
        run_probes([Generate("a", WordTask()), Generate("a", WordTask())], FakeEngine(str), FakeEngine(str))
