"""The ledger: every item before and after training. Its unit is the item, since an average hides churn: five items
gained and five lost leave the accuracy as it was.

gained  wrong → right      kept   right → right
lost    right → wrong      never  wrong → wrong
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from scalpel.evaluation.crossed import estimate
from scalpel.evaluation.probes.item import ItemResult, Probe, Role
from scalpel.evaluation.statistics import (
    Interval,
    mcnemar,
    paired_change,
)
from scalpel.runs.atomic import write_json
from scalpel.runs.files import file_names
from scalpel.runs.json_files import DAMAGED, OPTIONAL_NUMBER, read_json, read_jsonl, write_jsonl

Verdict = Literal["gained", "kept", "lost", "never", "measured"]
VERDICTS: dict[tuple[bool, bool], Verdict] = {
    (False, True): "gained",
    (True, True): "kept",
    (True, False): "lost",
    (False, False): "never",
}
WRITTEN = ("generate", "revised", "sampled", "fluency")  # kinds of probes whose answers the model generates
FLAG = (bool, type(None))
PROBE = {"file": str, "role": str, "kind": str, "unit": str, "k": (int, type(None))}
SUMMARY = {"probes": {...: PROBE}}  # the keys of summary.json that are read back
# Every key is optional here: ledgers of earlier versions lack the newer ones. `read` says which keys must be there.
ENTRY = {
    **{f"{key}?": str for key in ("id", "prompt", "answer", "verdict", "output_before", "output_after")},
    **{f"{key}?": FLAG for key in ("before", "after", "recovered_within_k", "recovered_halfway")},
    **{f"{key}?": FLAG for key in ("recovered_conjugate", "unread_before", "unread_after")},
    **{f"{key}?": FLAG for key in ("cut_off_before", "cut_off_after")},
    **{f"{key}?": OPTIONAL_NUMBER for key in ("logp_before", "logp_after")},
}
ALIKE = 0.05  # margin of equivalence: a change within 5 points of accuracy counts as unchanged
SIGNIFICANT = 0.05  # level of the exact paired test
RULE = (
    "“gained” or “lost” where the exact paired test gives p < 0.05 / the number of probes that know right and wrong, "
    "so that all of them hold together (Bonferroni); “unchanged” where the whole 95% interval of the change lies "
    "within 5 points; “too few items to tell” otherwise"
)


@dataclass(frozen=True)
class Entry:
    """One item before and after training. A `recovered_…` field is None where that test was not made."""

    id: str
    prompt: str
    answer: str
    before: bool | None
    after: bool | None
    verdict: Verdict
    output_before: str
    output_after: str
    logp_before: float | None  # in the probe's unit; for a drift probe, the KL to the base
    logp_after: float | None
    recovered_within_k: bool | None = None
    recovered_halfway: bool | None = None
    recovered_conjugate: bool | None = None
    unread_before: bool = False  # whether the verifier found no answer in the output
    unread_after: bool = False
    cut_off_before: bool = False  # whether `max_tokens` ended the output
    cut_off_after: bool = False

    @property
    def recovered(self) -> bool | None:
        """Whether any recovery test got the item right again; None where none was made."""
        made = [
            test
            for test in (self.recovered_within_k, self.recovered_halfway, self.recovered_conjugate)
            if test is not None
        ]
        return any(made) if made else None


@dataclass(frozen=True)
class Ledger:
    """The entries of one probe."""

    probe: str
    role: Role
    kind: str
    unit: str
    entries: tuple[Entry, ...]
    k: int | None = None  # number of samples of the test "within k samples", where it was made

    def of(self, *verdicts: Verdict) -> list[Entry]:
        return [entry for entry in self.entries if entry.verdict in verdicts]


def side_by_side(probe: Probe, before: Sequence[ItemResult], after: Sequence[ItemResult]) -> Ledger:
    """The ledger of one probe from its results before and after. Raises ValueError unless both hold the same items."""
    results_after = {result.id: result for result in after}
    strangers = {result.id for result in before} ^ set(results_after)
    if strangers:
        raise ValueError(
            f"probe {probe.name!r}: {len(strangers)} items are on one side only, {sorted(strangers)[0]!r} for one; "
            "measure before and after with the same probe"
        )
    entries = tuple(entry(result, results_after[result.id]) for result in before)
    return Ledger(probe.name, probe.role, probe.kind, probe.unit, entries)


def entry(before: ItemResult, after: ItemResult) -> Entry:
    # probes that score text, or the drift from the base, have values but no right and wrong
    if before.right is None or after.right is None:
        verdict: Verdict = "measured"
    else:
        verdict = VERDICTS[before.right, after.right]
    return Entry(
        id=before.id,
        prompt=before.prompt,
        answer=before.answer,
        before=before.right,
        after=after.right,
        verdict=verdict,
        output_before=before.output,
        output_after=after.output,
        logp_before=before.value,
        logp_after=after.value,
        unread_before=before.unread,
        unread_after=after.unread,
        cut_off_before=before.cut_off,
        cut_off_after=after.cut_off,
    )


def verdict_in_words(gained: int, lost: int, n: int, probes: int = 1) -> str:
    """The verdict on one of `probes` by RULE, from the numbers of items gained and lost among n.

    The exact test needs at least 6 flips, all in one direction, for p < 0.05 (2 · ½⁶ = 0.031), and 10 if there are
    fourteen probes, so with fewer no direction is ever claimed. "Unchanged" is a test of equivalence: that no
    difference was found doesn't suffice.
    """
    if n and mcnemar(gained, lost) < SIGNIFICANT / max(1, probes):
        return "gained" if gained > lost else "lost"
    change = paired_change(gained, lost, n)
    return "unchanged" if n and within(change, ALIKE) else "too few items to tell"


def within(change: Interval, margin: float) -> bool:
    """Whether the whole interval lies within ± margin."""
    return max(-change.low, change.high) <= margin


def judged_probes(ledgers: Iterable[Ledger]) -> int:
    """How many probes know right and wrong: the family over which verdicts are corrected."""
    return sum(any(entry.verdict != "measured" for entry in ledger.entries) for ledger in ledgers)


def summary(ledger: Ledger, probes: int = 1) -> dict[str, Any]:
    """Counts, test and intervals of one of `probes` judged probes as a table for JSON. Shares are shares of all items,
    except for `share_lost`, which is a share of the items that were right before."""
    n = len(ledger.entries)
    found: dict[str, Any] = {"role": ledger.role, "kind": ledger.kind, "unit": ledger.unit, "items": n}
    judged = [entry for entry in ledger.entries if entry.verdict != "measured"]
    if judged:
        found |= judged_summary(judged, probes)
    if ledger.kind in WRITTEN:
        for what in ("unread", "cut_off"):
            found[what] = {
                side: sum(getattr(entry, f"{what}_{side}") for entry in ledger.entries) / max(1, n)
                for side in ("before", "after")
            }
    changes = [
        (entry.logp_before, entry.logp_after)
        for entry in ledger.entries
        if entry.logp_before is not None and entry.logp_after is not None
    ]
    if changes:
        found["value"] = value_summary(np.asarray(changes, dtype=float))
    return found


def judged_summary(entries: list[Entry], probes: int) -> dict[str, Any]:
    counts = Counter(entry.verdict for entry in entries)
    gained, lost, n = counts["gained"], counts["lost"], len(entries)
    known = counts["kept"] + lost
    return {
        "before": known / n,
        "after": (counts["kept"] + gained) / n,
        "gained": gained,
        "lost": lost,
        "kept": counts["kept"],
        "never": counts["never"],
        "share_lost": lost / known if known else None,
        "change": paired_change(gained, lost, n)._asdict(),
        "p": mcnemar(gained, lost),
        "verdict": verdict_in_words(gained, lost, n, probes),
    }


def value_summary(values_I2: np.ndarray) -> dict[str, Any]:
    before, after = values_I2.mean(axis=0)
    change = estimate((), "items", (values_I2[:, 1] - values_I2[:, 0])[None]).interval()
    return {"before": float(before), "after": float(after), "change": change._asdict()}


def metrics(name: str, before: Iterable[ItemResult], now: Iterable[ItemResult]) -> dict[str, float]:
    """The keys that an evaluation of a probe during training adds to its line of metrics.jsonl.

    probe/<name>/accuracy   share of all items that are right
    probe/<name>/kept       of the items that were right before training, the share still right
    probe/<name>/value      mean in the probe's unit (log p of the right answer; KL to the base)
    probe/<name>/unread     share of answers in which the verifier found none; absent where it is zero
    probe/<name>/cut_off    share of answers that `max_tokens` ended; absent where it is zero
    """
    known = {result.id for result in before if result.right}
    now = list(now)
    found: dict[str, float] = {}
    judged = [result for result in now if result.right is not None]
    if judged:
        found[f"probe/{name}/accuracy"] = float(np.mean([bool(result.right) for result in judged]))
    still = [bool(result.right) for result in judged if result.id in known]
    if still:
        found[f"probe/{name}/kept"] = float(np.mean(still))
    values = [result.value for result in now if result.value is not None]
    if values:
        found[f"probe/{name}/value"] = float(np.mean(values))
    for what in ("unread", "cut_off"):
        if any(told := [bool(getattr(result, what)) for result in now]):
            found[f"probe/{name}/{what}"] = float(np.mean(told))
    return found


def write(folder: Path, ledgers: Sequence[Ledger], extra: dict[str, dict[str, Any]] | None = None) -> None:
    """Writes `ledger/<probe>.jsonl`, one line per item, and then `ledger/summary.json`, into a run folder.

    `extra` adds keys to the summary of a probe, by its name: `{"facts": {"recovery": …}}`.
    """
    # the summary is written last: readers take its presence as the sign that every probe's file is complete
    names = file_names([ledger.probe for ledger in ledgers], "probe")
    probes, judged = {}, judged_probes(ledgers)
    for ledger in ledgers:
        write_jsonl(folder / "ledger" / f"{names[ledger.probe]}.jsonl", (asdict(entry) for entry in ledger.entries))
        probes[ledger.probe] = {"file": f"{names[ledger.probe]}.jsonl", "k": ledger.k} | summary(ledger, judged)
        probes[ledger.probe] |= (extra or {}).get(ledger.probe, {})
    write_json(folder / "ledger" / "summary.json", {"format": 1, "rule": RULE, "probes": probes})


def read(folder: Path) -> list[Ledger]:
    """The ledgers of a run folder, in the order in which they were written."""
    about = read_json(folder / "ledger" / "summary.json", SUMMARY)
    known = {field.name for field in fields(Entry)}
    # fields with a default were added later, so ledgers of earlier versions may lack them
    needed = {field.name for field in fields(Entry) if field.default is MISSING}
    found = []
    for probe, row in about["probes"].items():
        path = folder / "ledger" / row["file"]
        entries = []
        for number, line in enumerate(read_jsonl(path, ENTRY), start=1):
            if not needed <= set(line) <= known:
                odd = ", ".join(sorted(needed - set(line) | set(line) - known))
                raise ValueError(f"{path}:{number} is not a ledger entry (missing or unknown: {odd})")
            entries.append(Entry(**line))
        # a file cut at a line's end is valid JSONL, and only the count shows that items are missing
        if (items := row.get("items", len(entries))) != len(entries):
            raise ValueError(f"{path} holds {len(entries)} items, but summary.json beside it counts {items}: {DAMAGED}")
        found.append(Ledger(probe, row["role"], row["kind"], row["unit"], tuple(entries), row["k"]))
    return found
