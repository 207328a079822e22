"""Suppressed or erased, with the control beside it."""

import pytest

from folders import FakeEngine, WordTask
from scalpel.evaluation import (
    Choose,
    Generate,
    fate,
    recover,
    recovered,
    side_by_side,
)
from scalpel.evaluation.ledger import Entry
from scalpel.evaluation.matching import enough, matched
from scalpel.evaluation.probes import Choice
from scalpel.evaluation.verdict_text import comes_back

KNOWN = {f"w{i}" for i in range(6)}  # of w0 … w9, the base knows the first six


def base():
    return FakeEngine(lambda p: p.upper() if p in KNOWN else "no")


def tuned(sampled=(), conjugate=()):
    """Knows nothing greedily; `sampled` words come at the third try, `conjugate` ones when asked so."""

    def answer(prompt):
        word = prompt.removeprefix("conj ")
        return word.upper()[::-1] if prompt != word and word in conjugate else "no"

    return FakeEngine(answer, samples=lambda p, i: p.upper() if p in sampled and i == 2 else "no")


def book_of(engine, task=None, n=10):
    probe = Generate("upper", task or WordTask(), n=n)
    return probe, side_by_side(probe, probe.run(base()), probe.run(engine))


def flags(entries, push):
    return {entry.id.removeprefix("upper:") for entry in entries if getattr(entry, f"recovered_{push}")}


def test_each_push_marks_what_it_brings_back():
    engine = tuned(sampled={"w0", "w8"}, conjugate={"w1", "w9"})
    halfway = FakeEngine(lambda p: p.upper() if p in ("w1", "w2") else "no")
    probe, book = book_of(engine)
    found = recover(book, probe, engine, halfway, k=3)
    assert flags(found.entries, "within_k") == {"w0", "w8"}
    assert flags(found.entries, "halfway") == {"w1", "w2"}
    assert flags(found.entries, "conjugate") == {"w1", "w9"}
    fates = [fate(entry) for entry in found.entries]
    assert fates == ["suppressed"] * 3 + ["erased"] * 3 + [None] * 4

    row = recovered(found)
    assert row is not None and row["k"] == 3
    assert (row["lost"]["tested"], row["lost"]["recovered"]) == (6, 3)
    assert (row["control"]["tested"], row["control"]["recovered"]) == (4, 2)
    assert row["lost"]["conjugate"] == {"tested": 6, "recovered": 1}


def test_fewer_samples_find_less():
    engine = tuned(sampled={"w0"})
    probe, book = book_of(engine)
    assert flags(recover(book, probe, engine, k=2).entries, "within_k") == set()


def test_items_that_anyone_guesses_are_no_sign_of_memory():
    guess = FakeEngine(lambda p: "no", samples=lambda p, i: p.upper())
    words = WordTask(names=[f"w{i}" for i in range(6)] + [f"x{i}" for i in range(6)])
    probe, book = book_of(guess, words, n=12)
    row = recovered(recover(book, probe, guess))
    assert row is not None and row["lost"]["recovered"] == 6 and row["control"]["recovered"] == 6
    assert row["p"] == 1.0
    memory = tuned(sampled=KNOWN)
    row = recovered(recover(book, probe, memory, k=3))
    assert row is not None and row["p"] < 0.01  # 6 of 6 beside 0 of 6: 1/924
    assert row["matched"] == {
        "pairs": 6,
        "on": ["probe", "length of the answer", "log p of the right answer under the base"],
        "lost": 6,
        "control": 0,
        "logp": {"lost": -3.0, "control": -3.0},  # three tokens, the stop among them
    }


def entry(id, answer="abc", logp=-1.0, verdict="lost", back=None):
    right = verdict == "lost"
    return Entry(id, "", answer, right, False, verdict, "", "", logp, logp, recovered_within_k=back)


def test_items_are_matched_in_what_is_known_of_their_difficulty():
    def pairs(lost, never):
        made = matched(
            [entry(f"l{k}", *one) for k, one in enumerate(lost)], [entry(f"n{k}", *o) for k, o in enumerate(never)]
        )
        return sorted((a.id, b.id) for a, b in made)

    assert pairs([("abc", -1.0)], [("abc", -1.6), ("abc", -1.4), ("abcd", -1.0)]) == [("l0", "n1")]
    assert pairs([("abc", -1.0)], [("abc", None)]) == [] and pairs([("abc", None)], [("abc", None)]) == [("l0", "n0")]
    assert pairs([("a" * 30, -1.0)], [("a" * 32, -1.0)]) == [("l0", "n0")]
    assert pairs([("a" * 30, -1.0)], [("a" * 34, -1.0)]) == []
    # as many as possible: the nearest pair, l0 and n0, would leave l1 and n1 without a match
    assert pairs([("abc", -1.0), ("abc", -0.6)], [("abc", -1.0), ("abc", -1.4)]) == [("l0", "n1"), ("l1", "n0")]
    assert pairs([], [("abc", -1.0)]) == []


def test_where_too_few_match_there_is_no_verdict():
    hard = WordTask(
        names=[*(f"w{i}" for i in range(6)), *(f"x{i}" for i in range(3)), *(f"longer{i}" for i in range(3))]
    )
    probe, book = book_of(tuned(sampled=KNOWN), hard, n=12)
    row = recovered(recover(book, probe, tuned(sampled=KNOWN), k=3))
    assert row is not None and (row["lost"]["tested"], row["matched"]["pairs"], row["p"]) == (6, 3, None)
    assert row["control"]["tested"] == 3, "those that match nothing are not tested"
    words = comes_back({"name": "sft", "recovery": row})
    assert words is not None and "no verdict: 6 lost items, 3 never-known ones that match in probe, length" in words
    assert not enough(4, 4) and enough(6, 12) and not enough(6, 13)


def test_a_task_without_conjugates_is_not_asked_for_them():
    class Plain(WordTask):
        conjugate = None  # type: ignore[assignment]

    engine = tuned()
    probe, book = book_of(engine, Plain())
    found = recover(book, probe, engine)
    assert all(entry.recovered_conjugate is None for entry in found.entries)
    assert all(entry.recovered_halfway is None for entry in found.entries)
    row = recovered(found)
    assert row is not None and "conjugate" not in row["lost"] and "halfway" not in row["lost"]


def test_items_without_a_conjugate_rest_on_the_other_pushes():
    class Some(WordTask):
        def conjugate(self, example):
            return super().conjugate(example) if example.prompt == "w0" else None

    engine = tuned(conjugate={"w0", "w1"})
    probe, book = book_of(engine, Some())
    found = recover(book, probe, engine)
    assert [entry.recovered_conjugate for entry in found.entries[:2]] == [True, None]
    assert [fate(entry) for entry in found.entries[:2]] == ["suppressed", "erased"]


def test_at_most_so_many_items_are_tested():
    engine = tuned()
    probe, book = book_of(engine)
    row = recovered(recover(book, probe, engine, max_items=2))
    assert row is not None and (row["lost"]["tested"], row["control"]["tested"]) == (2, 2)


def test_kept_and_gained_items_are_left_alone():
    engine = FakeEngine(str.upper)
    probe, book = book_of(engine)
    assert recover(book, probe, engine) is book and recovered(book) is None


def test_a_choice_has_the_halfway_test_only():
    probe = Choose("pairs", (Choice("1", "", ("a", "b"), 0), Choice("2", "", ("a", "b"), 1)))
    prefers = {name: FakeEngine(str, logp=lambda p, t, w=name: 0.0 if t == w else -1.0) for name in "ab"}
    book = side_by_side(probe, probe.run(prefers["a"]), probe.run(prefers["b"]))
    found = recover(book, probe, prefers["b"], prefers["a"])
    assert found.k is None and fate(found.entries[0]) == "suppressed"
    assert found.entries[0].recovered_within_k is None


def test_no_samples_is_refused():
    probe, book = book_of(tuned())
    with pytest.raises(ValueError, match="at least 1"):
        recover(book, probe, tuned(), k=0)
