"""The list of lost, gained, kept and never-known items, with the model's outputs before and after."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import chain, zip_longest

from scalpel.evaluation.ledger import Entry, Ledger, Verdict
from scalpel.evaluation.recovery import fate
from scalpel.evaluation.results import ArmResults, RunResults
from scalpel.evaluation.unread import NAMES
from scalpel.reporting.view import View

SHOWN: dict[Verdict, int] = {"lost": 12, "gained": 6, "kept": 4, "never": 4}  # items per arm that are listed
COUNTED: dict[Verdict, str] = {"lost": "lost", "gained": "gained", "kept": "kept", "never": "never known"}
LONGEST = 600  # characters of a text that are shown


def items(view: View) -> str:
    """A foldable list for each arm, of its first seed; the arm to take is open."""
    return "".join(of_arm(arm, arm.name == view.take or len(view.arms) == 1) for arm in view.arms)


def of_arm(arm: ArmResults, unfolded: bool) -> str:
    run = arm.runs[0]
    parts = [group(run, verdict, most) for verdict, most in SHOWN.items()]
    counts = ", ".join(f"{count(run, verdict)} {words}" for verdict, words in COUNTED.items())
    title = f"{escape(arm.name)}<small>{counts}{f', seed {run.seed}' if len(arm.runs) > 1 else ''}</small>"
    body = "".join(parts) or "<p class=note>No item has right and wrong.</p>"
    return f"<details{' open' if unfolded else ''}><summary>{title}</summary>{body}</details>"


def count(run: RunResults, verdict: Verdict) -> int:
    return sum(len(ledger.of(verdict)) for ledger in run.ledgers.values())


def group(run: RunResults, verdict: Verdict, most: int) -> str:
    """The first items of one verdict, taken from the probes in turn, so that a large probe doesn't hide the others."""
    found = [[(ledger, entry) for entry in ledger.of(verdict)] for ledger in run.ledgers.values()]
    mixed = [pair for pair in chain.from_iterable(zip_longest(*found)) if pair is not None]
    if not mixed:
        return ""
    rest = len(mixed) - most
    more = f"<p class=note>and {rest} more, in {escape(str(run.folder / 'ledger'))}</p>" if rest > 0 else ""
    rows = "".join(row(ledger, entry) for ledger, entry in mixed[:most])
    head = "<tr><th>item</th><th>before</th><th>after</th></tr>"
    return f"<div class=wide><table class=items><thead>{head}</thead><tbody>{rows}</tbody></table></div>{more}"


def row(ledger: Ledger, entry: Entry) -> str:
    words = [tag(entry.verdict, COUNTED.get(entry.verdict, entry.verdict))]
    if found := fate(entry):
        words.append(tag(found, found + how(ledger, entry)))
    answer = f"<small>right: {text(entry.answer)}</small>" if entry.answer else ""
    return (
        f"<tr><td><small>{escape(ledger.probe)}</small>{text(entry.prompt)}{answer}<p>{' '.join(words)}</p></td>"
        f"<td>{said(entry.output_before, entry.before)}{lacking(entry, 'before')}</td>"
        f"<td>{said(entry.output_after, entry.after)}{lacking(entry, 'after')}</td></tr>"
    )


def how(ledger: Ledger, entry: Entry) -> str:
    """The recovery tests that brought an item back."""
    pushes: Sequence[tuple[bool | None, str]] = (
        (entry.recovered_within_k, f"within {ledger.k} samples"),
        (entry.recovered_halfway, "halfway"),
        (entry.recovered_conjugate, "in a conjugate form"),
    )
    back = [words for came, words in pushes if came]
    return f": back {', '.join(back)}" if back else ""


def tag(kind: str, words: str) -> str:
    return f"<span class='tag {escape(kind)}'>{escape(words)}</span>"


def said(words: str, right: bool | None) -> str:
    mark = "" if right is None else "<b class=yes>✓</b> " if right else "<b class=no>✗</b> "
    return f"{mark}{text(words)}"


def lacking(entry: Entry, side: str) -> str:
    """Marks an output that is unread or cut off."""
    kinds = [words for kind, words in NAMES.items() if getattr(entry, f"{kind}_{side}", False)]
    return f"<small>{', '.join(kinds)}</small>" if kinds else ""


def text(words: str) -> str:
    """A text of a model or data set, escaped and truncated."""
    cut = words if len(words) <= LONGEST else f"{words[:LONGEST]}… ({len(words)} characters)"
    return f"<span class=said>{escape(cut)}</span>" if cut.strip() else "<span class=said><em>(nothing)</em></span>"
