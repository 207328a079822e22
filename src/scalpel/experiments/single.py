"""One recipe, run to its end: a look before step 1, training, probes along the way, the ledger, what moved."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from scalpel import models
from scalpel.batch import Batch
from scalpel.config.changes import Change
from scalpel.config.doubts import doubts
from scalpel.config.recipe import Recipe, write
from scalpel.device import choose_device, choose_dtype, choose_precision, peak_memory, why_dtype, why_precision
from scalpel.engine import Engine
from scalpel.evaluation import (
    ItemResult,
    Ledger,
    Probe,
    metrics,
    run_probes,
    save,
)
from scalpel.evaluation.run import ProbeResults
from scalpel.experiments.data_inventory import inventory
from scalpel.experiments.pair import halfway, ledgers, probe_base
from scalpel.pair import Pair
from scalpel.pair.anatomy import change, table
from scalpel.rewards.user_modules import begin_run
from scalpel.runs.atomic import (
    remove,
    whole,
    write_json,
    write_text,
)
from scalpel.runs.folder import RunFolder, environment
from scalpel.runs.json_files import read_json, read_text
from scalpel.runs.progress import Bar
from scalpel.runs.progress import Progress as Shown
from scalpel.runs.targets import claimed
from scalpel.runs.threads import settle
from scalpel.training import trainable_report
from scalpel.training.checkpoint import clear_automatic
from scalpel.training.estimate import estimate
from scalpel.training.input_digests import differing, files_of, split_by
from scalpel.training.loop import RunState, share_done, train
from scalpel.training.preview import preview, rows_of
from scalpel.training.resume import changes_since, refuse_differing, renewed
from scalpel.training.run import StageRun, TrainingRun, probes_of
from scalpel.training.self_check import check

log = logging.getLogger("scalpel")
SUMMARY, TRAINED = "summary.json", "trained.json"  # of a run that is over; of one that is yet to be measured
MADE = {"steps": int, "lines": int, "cost": dict, "precision": str}
INPUTS = {"files": {...: {"of": str, "digest": str}}}


def run_recipe(
    recipe: Recipe,
    folder: str | Path,
    *,
    resume: bool = False,
    insist: bool = False,
    checkpoint: str = "",
    progress: Shown | None = None,
    before: ProbeResults | None = None,
    saves_model: bool = True,
    tuning: Mapping[str, Any] | None = None,
    report: Callable[[float], None] = lambda share: None,
) -> dict[str, Any]:
    """Runs a recipe in its folder and returns its summary. `before` is what the probes saw of the base, where that
    is known already; `tuning` is what was tried before this run, and goes into the summary; `report` is told the
    share that is done. A run that is finished is left as it is; one that is trained is measured."""
    shown, folder = progress or Shown(quiet=True), Path(folder)
    begin_run()
    with claimed(folder, "run", resume=resume) as begun:
        if checkpoint and not begun:
            raise ValueError(f"{folder} holds no run, so there is no checkpoint {checkpoint!r} in it to go on from")
        run = RunFolder(folder, resume)
        trained, changed = taken_up(recipe, run, resume, begun)
        if (folder / SUMMARY).exists():
            return finished(folder)
        if recipe.threads:
            settle(recipe.threads)
        found = inventory(recipe)  # before any model is loaded, since it may refuse
        shown.say(found.words)
        if trained is None and not run.checkpoints():  # else what is there belongs to them
            write_json(folder / "data.json", found.state())
        base, probes = base_engine(recipe), probes_of(recipe)
        numbers = numbers_of(recipe, base)
        shown.say(f"weights in {numbers['dtype']} ({numbers['dtype_because']})")
        shown.say(f"arithmetic in {numbers['precision']} ({numbers['precision_because']})")
        if trained is None and not run.checkpoints():
            write_json(folder / "environment.json", environment() | numbers)
        before = probe_base(probes, base, shown) if before is None else before
        bar = shown.bar("training" if trained is None else "measuring", 1.0, "")
        watcher = Watcher(recipe, run, shown, bar, report, probes, base, before)
        if trained is None:
            how: dict[str, Any] = {"resume": resume, "insist": insist, "checkpoint": checkpoint}
            done = train(recipe, run, preview=watcher.preview, watch=watcher.watch, tell=watcher.tell, **how)
            tuned, trained = done.engine, save_trained(recipe, run, done)
            say_empty(run)
        else:
            tuned = take_up_trained(recipe, run, trained, changed, insist)
        summary = summarise(run, base, tuned, trained)
        shown.say(
            trainable_report.at_the_end(summary["weights"], run.records("train"))
        )  # it may refuse: nothing to measure then
        with saying_what_is_saved(folder):
            measured(watcher, tuned, summary)
            write_json(folder / SUMMARY, {**summary, **(tuning or {})})
        clear_away(run, recipe, saves_model)
        return {**summary, **(tuning or {})}


def taken_up(recipe: Recipe, run: RunFolder, resume: bool, begun: bool) -> tuple[dict[str, Any] | None, list[Change]]:
    """What is known of the training where that is done, and the keys that have changed since the run was begun. A run
    without a checkpoint is begun anew."""
    folder, path = run.folder, run.folder / "recipe.toml"
    changed = changes_since(read_text(path), recipe, run) if path.exists() else []
    trained = read_json(folder / TRAINED, MADE) if (folder / TRAINED).exists() else None
    if trained is None and not run.checkpoints() and not (folder / SUMMARY).exists():
        if resume:
            steps = len(run.records("train"))
            lost = f" (what it recorded of {steps} steps is dropped)" if steps else ""
            log.warning("%s holds no checkpoint to resume from: the run begins at its first step%s", folder, lost)
        write_text(path, write(recipe))
        write_json(folder / "environment.json", environment())
    return trained, changed


def numbers_of(recipe: Recipe, base: Engine) -> dict[str, str]:
    """In which numbers the run computes, and why."""
    return {
        "precision": base.precision,
        "precision_because": why_precision(recipe.model.precision, base.model, base.device),
        "dtype": str(base.model.dtype).removeprefix("torch."),
        "dtype_because": why_dtype(recipe.model.dtype, base.device, models.parameters_of(recipe.model.path)),
    }


def finished(folder: Path) -> dict[str, Any]:
    """The summary of a run that is over."""
    found = read_json(folder / SUMMARY, {"steps": int})
    log.warning(
        "%s is finished, after %d steps: nothing was run again, and nothing has changed", folder, found["steps"]
    )
    return found


def save_trained(recipe: Recipe, run: RunFolder, done: TrainingRun) -> dict[str, Any]:
    """Saves the model before anything is measured, with what the training says of itself."""
    done.engine.model.eval()
    last = run.last_record("train")
    cost = {**done.engine.meter.state(), "seconds": last["seconds"], "peak_memory_bytes": peak_memory(done.device)}
    about = {
        "steps": last["step"],
        "cost": cost,
        "learning_rate": recipe.stages[-1].learning_rate,
        "floors": done.floors,
        "precision": done.engine.precision,
        "lines": run.lines(),
    }
    models.save(done.engine.model, done.engine.tokens, run.folder / "model", done.owned)
    write_json(run.folder / TRAINED, about)
    return about


def take_up_trained(
    recipe: Recipe, run: RunFolder, trained: Mapping[str, Any], changed: Sequence[Change], insist: bool
) -> Engine:
    """The model of a run that was trained to its end, but not measured."""
    log.warning("%s is trained to its end, %d steps: what is left is measuring", run.folder, trained["steps"])
    before, now = read_json(run.folder / "inputs.json", INPUTS), {"files": files_of(recipe)}
    probed, others = split_by(before, "a probe")
    refuse_differing(differing(others, now), insist)
    run.keep(trained["lines"], trained["steps"])
    renewed(run, recipe, changed, differing(probed, now), trained["steps"])
    spec = recipe.model.model_copy(update={"path": str(run.folder / "model")})
    tuned = base_engine(recipe.model_copy(update={"model": spec}))
    tuned.precision = trained["precision"]
    return tuned


@contextmanager
def saying_what_is_saved(folder: Path) -> Iterator[None]:
    """If measuring fails, the model is there, and so is the way on."""
    try:
        yield
    except (Exception, KeyboardInterrupt):
        words = "measuring stopped; the model is trained and saved in %s, and --resume measures it without training"
        log.warning(words, folder / "model")
        raise


def measured(watcher: Watcher, tuned: Engine, summary: Mapping[str, Any]) -> None:
    """Writes the ledger, and the last point of the curves."""
    if watcher.probes:
        engines = (watcher.base, tuned, halfway(watcher.base, tuned))
        spec, seed = watcher.recipe.measure, watcher.recipe.seed
        books = ledgers(spec, watcher.probes, engines, watcher.before, seed, watcher.shown)
        watcher.note(summary["steps"], summary["cost"], {book.probe: after(book) for book in books})
        save(watcher.run.folder, books)


def clear_away(run: RunFolder, recipe: Recipe, saves_model: bool) -> None:
    """Takes away what a run that is over needs no more."""
    (run.folder / TRAINED).unlink(missing_ok=True)
    if not saves_model:
        remove(run.folder / "model")
    clear_automatic(run, recipe)


@dataclass
class Watcher:
    """Follows a run: shows its first batch, and measures at points along it (denser at the start, where most
    is gained and lost)."""

    recipe: Recipe
    run: RunFolder
    shown: Shown
    bar: Bar
    report: Callable[[float], None]
    probes: Sequence[Probe]
    base: Engine
    before: ProbeResults
    points: list[float] = field(init=False)  # shares of the run, yet to come
    begun: bool = False
    prints: Mapping[str, int] = field(default_factory=dict)  # of what moves, before the first step
    last: Mapping[str, Any] = field(default_factory=dict)  # the newest record of a step

    def __post_init__(self) -> None:
        n = self.recipe.measure.points if self.probes else 0
        self.points = [((k + 1) / (n + 1)) ** 1.5 for k in range(n)]

    def tell(self, record: Mapping[str, Any]) -> None:
        self.last = record
        self.bar.advance(0.0, step=record["step"], loss=record["loss"], reward=record.get("reward"))

    def watch(self, run: TrainingRun, stage: StageRun, state: RunState) -> bool:
        share = (state.stage + min(share_done(run, stage, state), 1.0)) / len(run.plans)
        if not self.begun and state.global_step:  # resumed: these looks were taken before
            self.points = self.points[len(self.run.records("probe")) - 1 :]
        self.begun = True
        self.bar.to(share)
        self.report(0.9 * share)
        if state.step == 0 and any(stream.lengths for stream in stage.streams):
            add_lengths(self.run.folder / "data.json", stage)
        if state.global_step == 0:
            self.announce(run, stage)
            self.note(state.global_step, self.cost(run, state), self.before)
        if state.global_step == 1 and self.prints:
            self.shown.say(
                trainable_report.after_first_step(
                    self.prints, trainable_report.prints(stage.scope.trainables), self.last
                )
            )
            self.prints = {}
        while self.points and share >= self.points[0]:
            self.points.pop(0)
            if share < 1.0:
                with run.rollout.aside():
                    seen = run_probes(self.few(), run.engine, self.base)
                self.note(state.global_step, self.cost(run, state), seen)
        return False

    def announce(self, run: TrainingRun, stage: StageRun) -> None:
        """Says what moves, and what can be doubted of the stage."""
        for doubt in doubts(stage.plan):
            log.warning("%s: %s", stage.name, doubt)
        self.shown.say(trainable_report.plan(stage.scope.trainables, run.engine.model))
        self.prints = trainable_report.prints(stage.scope.trainables)

    def preview(self, run: TrainingRun, stage: StageRun, batches: Sequence[Batch]) -> None:
        """Says what the first batches will train; refuses a run that would train nothing, or the prompt."""
        tokens, samples = run.engine.tokens, run.rollout.record.samples
        for k, batch in enumerate(batches):
            if batch.S:
                if not k:
                    self.shown.say(check(run.engine, batch))
                self.shown.say(preview(tokens, rows_of(tokens, batch)))
        if words := samples.words(stage.spec.sampling.max_tokens):
            self.shown.say(words)
        if not self.shown.quiet:  # timing a few passes is worth it only where somebody waits
            self.shown.say(estimate(run, stage).words)

    def few(self) -> list[Probe]:
        """Each probe on the items of its curve."""
        return [probe.only(ids) for probe, ids in zip(self.probes, self.curve().values(), strict=True)]

    def curve(self) -> dict[str, set[str]]:
        """The items at which every look along the run is taken, the first and the last too: the first few of each
        probe."""
        most = self.recipe.measure.curve_items
        return {probe.name: {r.id for r in self.before[probe.name][:most]} for probe in self.probes}

    def cost(self, run: TrainingRun, state: RunState) -> dict[str, Any]:
        return {**run.engine.meter.state(), "seconds": state.seconds}

    def note(self, step: int, cost: Mapping[str, Any], seen: ProbeResults) -> None:
        """Records a look. One at all items, as those of the ledger are, counts here with the items of the curve."""
        self.run.log(probe_record(step, cost, self.before, seen, self.curve()))


def add_lengths(path: Path, stage: StageRun) -> None:
    """What the rows of a stage come to, beside what became of the data."""
    saved = read_json(path, {"lengths?": dict}) if path.exists() else {}
    lengths = {**saved.get("lengths", {}), stage.name: [s.lengths.state() for s in stage.streams if s.lengths]}
    write_json(path, {**saved, "lengths": lengths})


def say_empty(run: RunFolder) -> None:
    """Says how many steps had nothing to train on, if any."""
    records = run.records("train")
    if empty := sum("data/empty" in record for record in records):
        words = "%d of %d steps had a batch without anything to train on; `data/empty` in metrics.jsonl says which"
        log.warning(words, empty, len(records))


def probe_record(
    step: int, cost: Mapping[str, Any], before: ProbeResults, seen: ProbeResults, curve: Mapping[str, set[str]]
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
    dtype = choose_dtype(spec.dtype, device, models.parameters_of(spec.path))
    model, tokens = models.load(spec.path, device=device, dtype=dtype, trust_remote_code=spec.trust_remote_code)
    tokens = tokens.templated(spec.chat_template, spec.chat_template_kwargs, spec.control_tokens)
    return Engine(model, tokens, precision=choose_precision(spec.precision, model, device))


def after(book: Ledger) -> list[ItemResult]:
    """The ledger's second look, as a probe would give it."""
    return [
        ItemResult(e.id, e.after, e.logp_after, e.output_after, e.prompt, e.answer, e.unread_after, e.cut_off_after)
        for e in book.entries
    ]


def summarise(run: RunFolder, base: Engine, tuned: Engine, trained: Mapping[str, Any]) -> dict[str, Any]:
    """Cost and weight change; writes what changed beside it."""
    before, now = base.model.state_dict(), tuned.model.state_dict()
    write_delta(run.folder / "delta.safetensors", before, now)
    return {
        "cost": trained["cost"],
        "weights": table(change(Pair(before, now))),
        "learning_rate": trained["learning_rate"],
        "steps": trained["steps"],
        **({"floors": trained["floors"]} if trained["floors"] else {}),
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
