"""A check: what a fine-tune broke, on the shipped suite, for any two models of one vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalpel import tasks
from scalpel.config.schema import MeasureSpec
from scalpel.engine import Engine
from scalpel.evaluation import Ledger, save
from scalpel.evaluation.check import CheckVerdict, check_verdict
from scalpel.evaluation.probes import Probe, make_probes
from scalpel.evaluation.suites import about, suite, without_sandbox
from scalpel.experiments.pair import ledgers, load_pair, probe_base
from scalpel.reporting.check_markdown import markdown
from scalpel.reporting.check_page import check_page
from scalpel.reporting.junit import junit
from scalpel.runs.atomic import write_json, write_text
from scalpel.runs.json_files import read_jsonl
from scalpel.runs.progress import Progress
from scalpel.sandbox import missing

ANSWER = 64  # tokens of an answer to a question of one's own
RECOVERED = {"quick": 0, "full": 50}  # lost items of an ability that are tried for recovery


@dataclass(frozen=True)
class Check:
    """What came of a check."""

    base: str
    tuned: str
    size: str
    verdict: CheckVerdict
    ledgers: tuple[Ledger, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "format": 1, "base": self.base, "tuned": self.tuned, "suite": {"size": self.size, **about()},
            **self.verdict.as_dict(),
        }  # fmt: skip


def run_check(
    base: str | Path,
    tuned: str | Path,
    *,
    size: str,
    floor: float,
    only: Sequence[str],
    items: Sequence[Path],
    device: str,
    dtype: str,
    progress: Progress,
) -> Check:
    """Runs the suite, and the user's own items, on both models."""
    own = [probe_table(path) for path in items]  # read before any model is opened
    engines = load_pair(base, tuned, device, dtype)
    if left_out := without_sandbox():
        progress.say(f"{', '.join(left_out)} left out, since this machine has no sandbox: {missing()}")
    probes = [*suite(size, no_template(engines[0], progress), only), *(own_probes(own) if own else [])]
    before = probe_base(probes, engines[0], progress)
    spec = MeasureSpec(recovery_items=RECOVERED[size])
    found = ledgers(spec, probes, engines, before, 0, progress)
    return Check(str(base), str(tuned), size, check_verdict(found, floor), tuple(found))


def no_template(engine: Engine, progress: Progress) -> bool:
    plain = not engine.tokens.tokenizer.chat_template
    if plain:
        progress.say("the models have no chat template, so questions are plain text with three solved ones before them")
    return plain


def own_probes(tables: Sequence[dict[str, Any]]) -> list[Probe]:
    return make_probes(tables, "", tasks.make, place="items")


def probe_table(path: Path) -> dict[str, Any]:
    """A user's JSONL file as the table of a probe: choices by log-probability where it has them, else generated answers
    that must contain the right one."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}: --items takes a JSONL file of `prompt` and `answer`, or of choices")
    first = next(iter(read_jsonl(path, mend="mend the line or remove it")), None)
    if first is None:
        raise ValueError(f"{path} is empty: give at least one item")
    if {"choices", "answer"} <= set(first) or {"good", "bad"} <= set(first):
        return {"name": path.stem, "kind": "choose", "path": str(path)}
    if not {"prompt", "answer"} <= set(first):
        raise ValueError(
            f"{path} has the columns {', '.join(first)}: items need `prompt` and `answer`, or `good` and `bad`, or "
            "`prompt`, `choices` and `answer`"
        )
    rows = {"name": "jsonl", "path": str(path), "shares": {"test": 1}, "verify": "contains"}
    return {"name": path.stem, "task": rows, "max_tokens": ANSWER}


def write_check(folder: Path, found: Check) -> None:
    """Writes the ledger, and the verdict as JSON, JUnit XML, Markdown and HTML."""
    save(folder, found.ledgers)
    written = found.as_dict()
    write_json(folder / "check.json", written)
    write_text(folder / "junit.xml", junit(written, f"{found.base} → {found.tuned}"))
    write_text(folder / "summary.md", markdown(written, found.ledgers))
    write_text(folder / "report.html", check_page(written, found.ledgers))
