"""One recipe, run to its end: a look before step 1, training, probes along the way, the ledger, what moved."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from scalpel import models
from scalpel.checkpoint import clear_automatic
from scalpel.device import choose_device, choose_dtype, choose_precision, peak_memory
from scalpel.doubts import doubts
from scalpel.engine import Engine, Meter
from scalpel.estimate import estimate
from scalpel.inventory import inventory
from scalpel.job import Job, StageRun, probes_of
from scalpel.look import look as look_at
from scalpel.look import rows_of
from scalpel.measure import ItemResult, Ledger, Probe, look, measure, metrics, save
from scalpel.measure.run import Look
from scalpel.pair import Pair, interpolate
from scalpel.pair.anatomy import change, table
from scalpel.progress import Bar
from scalpel.progress import Progress as Shown
from scalpel.recipe import Recipe, write
from scalpel.runs import Run, environment, whole, write_json, write_text
from scalpel.threads import settle
from scalpel.train import Progress, share_done, train

log = logging.getLogger("scalpel")


def run_recipe(
    recipe: Recipe,
    folder: str | Path,
    *,
    resume: bool = False,
    progress: Shown | None = None,
    before: Look | None = None,
    saves_model: bool = True,
    tuning: Mapping[str, Any] | None = None,
    report: Callable[[float], None] = lambda share: None,
) -> dict[str, Any]:
    """Runs a recipe in its folder and returns its summary. `before` is what the probes saw of the base, where that
    is known already; `tuning` is what was tried before this run, and goes into the summary; `report` is told the
    share that is done."""
    shown, run = progress or Shown(quiet=True), Run(Path(folder), resume)
    if recipe.threads:
        settle(recipe.threads)
    if not run.checkpoints():  # else what is there belongs to them
        write_text(run.folder / "recipe.toml", write(recipe))
    write_json(run.folder / "environment.json", environment())
    found = inventory(recipe)  # before any model is loaded, since it may refuse
    shown.say(found.words)
    write_json(run.folder / "data.json", found.state())
    base, probes = base_engine(recipe), probes_of(recipe)
    before = look_at_base(probes, base, shown) if before is None else before
    watcher = Watcher(recipe, run, shown, shown.bar("training", 1.0, ""), report, probes, base, before)
    job = train(recipe, run, resume=resume, watch=watcher.watch, tell=watcher.tell)
    job.engine.model.eval()
    say_empty(run)
    summary = summarise(recipe, run, base, job, tuning or {})
    if probes:
        books = ledgers(recipe, probes, base, job.engine, before, shown)
        watcher.note(summary["steps"], summary["cost"], {book.probe: after(book) for book in books})
        save(run.folder, books)
    if saves_model:
        models.save(job.engine.model, job.engine.tokens, run.folder / "model")
    write_json(run.folder / "summary.json", summary)
    clear_automatic(run, recipe)
    return summary


@dataclass
class Watcher:
    """Follows a run: shows its first batch, and measures at points along it (denser at the start, where most
    is gained and lost)."""

    recipe: Recipe
    run: Run
    shown: Shown
    bar: Bar
    report: Callable[[float], None]
    probes: Sequence[Probe]
    base: Engine
    before: Look
    points: list[float] = field(init=False)  # shares of the run, yet to come
    begun: bool = False

    def __post_init__(self) -> None:
        n = self.recipe.measure.points if self.probes else 0
        self.points = [((k + 1) / (n + 1)) ** 1.5 for k in range(n)]

    def tell(self, record: Mapping[str, Any]) -> None:
        self.bar.advance(0.0, step=record["step"], loss=record["loss"], reward=record.get("reward"))

    def watch(self, job: Job, stage: StageRun, progress: Progress) -> bool:
        share = (progress.stage + min(share_done(job, stage, progress), 1.0)) / len(job.plans)
        if not self.begun and progress.total:  # resumed: these looks were taken before
            self.points = self.points[len(self.run.records("probe")) - 1 :]
        self.begun = True
        self.bar.to(share)
        self.report(0.9 * share)
        if progress.step == 0 and stage.lengths:
            add_lengths(self.run.folder / "data.json", stage)
        if progress.total == 0:
            self.announce(job, stage)
            self.note(progress.total, self.cost(job, progress), self.before)
        while self.points and share >= self.points[0]:
            self.points.pop(0)
            if share < 1.0:
                with unmetered(job.engine):
                    seen = look(self.few(), job.engine, self.base)
                self.note(progress.total, self.cost(job, progress), seen)
        return False

    def announce(self, job: Job, stage: StageRun) -> None:
        """Says what the first batch would train; refuses a run that would train nothing, or the prompt."""
        for doubt in doubts(stage.plan):
            log.warning("%s: %s", stage.name, doubt)
        for k in range(len(stage.plan.flows)):
            job.samples.clear()
            with unmetered(job.engine):
                batch = job.draw(stage, k, 0, 0, 0.0)
            if batch.S:
                self.shown.say(look_at(job.engine.tokens, rows_of(job.engine.tokens, batch)))
            if words := job.samples.words(stage.spec.sampling.max_tokens):
                self.shown.say(words)
        if not self.shown.quiet:  # timing a few passes is worth it only where somebody waits
            self.shown.say(estimate(job, stage).words)

    def few(self) -> list[Probe]:
        """Each probe on the items of its curve."""
        return [probe.only(ids) for probe, ids in zip(self.probes, self.curve().values(), strict=True)]

    def curve(self) -> dict[str, set[str]]:
        """The items at which every look along the run is taken, the first and the last too: the first few of each
        probe."""
        most = self.recipe.measure.curve_items
        return {probe.name: {r.id for r in self.before[probe.name][:most]} for probe in self.probes}

    def cost(self, job: Job, progress: Progress) -> dict[str, Any]:
        return {**job.engine.meter.state(), "seconds": progress.seconds}

    def note(self, step: int, cost: Mapping[str, Any], seen: Look) -> None:
        """Records a look. One at all items, as those of the ledger are, counts here with the items of the curve."""
        self.run.log(probe_record(step, cost, self.before, seen, self.curve()))


def add_lengths(path: Path, stage: StageRun) -> None:
    """What the rows of a stage come to, beside what became of the data."""
    saved = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    lengths = {**saved.get("lengths", {}), stage.name: [x.state() for x in stage.lengths]}
    write_json(path, {**saved, "lengths": lengths})


def say_empty(run: Run) -> None:
    """Says how many steps had nothing to train on, if any."""
    records = run.records("train")
    if empty := sum("data/empty" in record for record in records):
        words = "%d of %d steps had a batch without anything to train on; `data/empty` in metrics.jsonl says which"
        log.warning(words, empty, len(records))


def probe_record(
    step: int, cost: Mapping[str, Any], before: Look, seen: Look, curve: Mapping[str, set[str]]
) -> dict[str, Any]:
    """A line of metrics.jsonl for one look, from the items of the curve alone: points made from different items
    could not be told from a change of the model."""
    items = max((len(ids) for ids in curve.values()), default=0)
    record = {"kind": "probe", "step": step, "flops": cost["flops"], "seconds": cost["seconds"], "items": items}
    for name, results in seen.items():
        ids = curve[name]
        record |= metrics(name, [r for r in before[name] if r.id in ids], [r for r in results if r.id in ids])
    return record


def base_engine(recipe: Recipe) -> Engine:
    """The base as an engine of its own: before, and what drift is measured against."""
    spec = recipe.model
    device = choose_device(spec.device)
    dtype = choose_dtype(spec.dtype, device)
    model, tokens = models.load(spec.path, device=device, dtype=dtype, trust_remote_code=spec.trust_remote_code)
    tokens = tokens.templated(spec.chat_template, spec.chat_template_kwargs, spec.control_tokens)
    return Engine(model, tokens, precision=choose_precision(spec.precision, model, device))


def look_at_base(probes: Sequence[Probe], base: Engine, shown: Shown) -> Look:
    seen: Look = {}
    for probe in shown.each(probes, "looking at the base", len(probes), "probes"):
        seen |= look([probe], base, base)
    return seen


def ledgers(
    recipe: Recipe, probes: Sequence[Probe], base: Engine, tuned: Engine, before: Look, shown: Shown
) -> list[Ledger]:
    """Every probe's ledger, with the lost items tested at weights halfway back to the base."""
    spec = recipe.measure
    middle = deepcopy(base.model)
    middle.load_state_dict(interpolate(base.model.state_dict(), tuned.model.state_dict(), 0.5))
    halfway = Engine(middle, tuned.tokens, precision=tuned.precision)
    options: dict[str, Any] = {"k": spec.recovery_samples, "most": spec.recovery_items, "seed": recipe.seed}
    books = []
    for probe in shown.each(probes, "measuring", len(probes), "probes"):
        books += measure([probe], base, tuned, halfway, before=before, **options)
    return books


def after(book: Ledger) -> list[ItemResult]:
    """The ledger's second look, as a probe would give it."""
    return [ItemResult(e.id, e.after, e.logp_after, e.output_after, e.prompt, e.answer) for e in book.entries]


def summarise(recipe: Recipe, run: Run, base: Engine, job: Job, tuning: Mapping[str, Any]) -> dict[str, Any]:
    """Cost and weight change; writes what changed beside it."""
    last = run.last_record("train")
    before, now = base.model.state_dict(), job.engine.model.state_dict()
    write_delta(run.folder / "delta.safetensors", before, now)
    cost = {**job.engine.meter.state(), "seconds": last["seconds"], "peak_memory_bytes": peak_memory(job.device)}
    return {
        "cost": cost,
        "weights": table(change(Pair(before, now))),
        "learning_rate": recipe.stages[-1].learning_rate,
        "steps": last["step"],
        **({"floors": job.floors} if job.floors else {}),
        **tuning,
    }


def write_delta(path: Path, base: Mapping[str, Tensor], tuned: Mapping[str, Tensor]) -> None:
    """tuned − base of every tensor that changed, in float32; a tensor under two names is written once."""
    seen: set[int] = set()
    delta = {}
    for name, tensor in tuned.items():
        if tensor.data_ptr() not in seen and not torch.equal(tensor, base[name]):
            delta[name] = (tensor.float() - base[name].float()).cpu().contiguous()
        seen.add(tensor.data_ptr())
    with whole(path) as draft:
        save_file(delta, draft)


@contextmanager
def unmetered(engine: Engine) -> Iterator[None]:
    """Measuring is not charged to the run, and leaves its random numbers alone."""
    meter, engine.meter, state = engine.meter, Meter(), torch.get_rng_state()
    try:
        yield
    finally:
        engine.meter = meter
        torch.set_rng_state(state)
