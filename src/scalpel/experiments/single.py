"""Runs one recipe to its end: preview, training with intermediate evaluations, ledger, and weight change.

The order of writes makes every crash harmless. `trained.json` is written after the model, and marks a run that has only
to be measured; `summary.json` is written last, and marks a finished one. Resuming a run continues after the last of
these marks, or else at the last checkpoint.
"""

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
from scalpel.extensions.modules import begin_run
from scalpel.pair import Pair
from scalpel.pair.anatomy import change, table
from scalpel.runs.atomic import (
    remove,
    whole,
    write_json,
    write_text,
)
from scalpel.runs.folder import RunFolder, environment
from scalpel.runs.json_files import read_json, read_text
from scalpel.runs.progress import Bar, Progress
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
SUMMARY, TRAINED = "summary.json", "trained.json"  # mark a finished run, and one that is trained but not measured
TRAINED_SHAPE = {"steps": int, "lines": int, "cost": dict, "precision": str}
INPUTS_SHAPE = {"files": {...: {"of": str, "digest": str}}}


def run_recipe(
    recipe: Recipe,
    folder: str | Path,
    *,
    resume: bool = False,
    insist: bool = False,
    checkpoint: str = "",
    progress: Progress | None = None,
    before: ProbeResults | None = None,
    saves_model: bool = True,
    tuning: Mapping[str, Any] | None = None,
    report: Callable[[float], None] = lambda share: None,
) -> dict[str, Any]:
    """Runs a recipe in its folder and returns its summary. A finished run is left as it is; one that is trained but not
    measured is measured.

    `before`: the probes' results on the base, if they are known already. `tuning`: the learning rates that were tried
    before this run, for the summary. `report` is called with the progress, in [0, 1]. `insist` resumes though files
    that the run reads have changed; `checkpoint` resumes from an earlier one, by its name. Raises ValueError before a
    model is loaded where the recipe or the folder doesn't allow the run.
    """
    progress, folder = progress or Progress(quiet=True), Path(folder)
    begin_run()
    with claimed(folder, "run", resume=resume) as begun:
        if checkpoint and not begun:
            raise ValueError(f"{folder} holds no run, so it has no checkpoint {checkpoint!r} to resume from")
        run = RunFolder(folder, resume)
        trained, changed = resumed(recipe, run, resume, begun)
        if (folder / SUMMARY).exists():
            return finished(folder)
        if recipe.threads:
            settle(recipe.threads)
        found = inventory(recipe)  # before any model is loaded, since it may raise
        progress.say(found.words)
        if trained is None and not run.checkpoints():  # else the file belongs to the run that is resumed
            write_json(folder / "data.json", found.state())
        base, probes = base_engine(recipe), probes_of(recipe)
        numbers = numbers_of(recipe, base)
        progress.say(f"weights in {numbers['dtype']} ({numbers['dtype_because']})")
        progress.say(f"arithmetic in {numbers['precision']} ({numbers['precision_because']})")
        if trained is None and not run.checkpoints():
            write_json(folder / "environment.json", environment() | numbers)
        before = probe_base(probes, base, progress) if before is None else before
        bar = progress.bar("training" if trained is None else "measuring", 1.0, "")
        watcher = Watcher(recipe, run, progress, bar, report, probes, base, before)
        if trained is None:
            how: dict[str, Any] = {"resume": resume, "insist": insist, "checkpoint": checkpoint}
            done = train(recipe, run, preview=watcher.preview, watch=watcher.watch, tell=watcher.tell, **how)
            tuned, trained = done.engine, save_trained(recipe, run, done)
            say_empty(run)
        else:
            tuned = load_trained(recipe, run, trained, changed, insist)
        summary = summarise(run, base, tuned, trained)
        # it may raise, since a model that did not change is not worth measuring
        progress.say(trainable_report.at_the_end(summary["weights"], run.records("train")))
        with announcing_saved_model(folder):
            write_ledger(watcher, tuned, summary)
            write_json(folder / SUMMARY, {**summary, **(tuning or {})})
        clean_up(run, recipe, saves_model)
        return {**summary, **(tuning or {})}


def resumed(recipe: Recipe, run: RunFolder, resume: bool, begun: bool) -> tuple[dict[str, Any] | None, list[Change]]:
    """The content of trained.json if the training is complete (None if not), and the keys of the recipe that have
    changed since the run began. A run without a checkpoint starts from the beginning."""
    folder, path = run.folder, run.folder / "recipe.toml"
    changed = changes_since(read_text(path), recipe, run) if path.exists() else []
    trained = read_json(folder / TRAINED, TRAINED_SHAPE) if (folder / TRAINED).exists() else None
    if trained is None and not run.checkpoints() and not (folder / SUMMARY).exists():
        if resume:
            steps = len(run.records("train"))
            lost = f" (the records of {steps} steps are dropped)" if steps else ""
            log.warning("%s holds no checkpoint to resume from: the run starts at its first step%s", folder, lost)
        write_text(path, write(recipe))
        write_json(folder / "environment.json", environment())
    return trained, changed


def numbers_of(recipe: Recipe, base: Engine) -> dict[str, str]:
    """The number formats of weights and of arithmetic, with the reasons."""
    return {
        "precision": base.precision,
        "precision_because": why_precision(recipe.model.precision, base.model, base.device),
        "dtype": str(base.model.dtype).removeprefix("torch."),
        "dtype_because": why_dtype(recipe.model.dtype, base.device, models.parameters_of(recipe.model.path)),
    }


def finished(folder: Path) -> dict[str, Any]:
    """The summary of a finished run."""
    found = read_json(folder / SUMMARY, {"steps": int})
    log.warning("%s is finished, after %d steps: nothing was run, and no file was changed", folder, found["steps"])
    return found


def save_trained(recipe: Recipe, run: RunFolder, done: TrainingRun) -> dict[str, Any]:
    """Saves the model and then trained.json, before anything is measured: a crash while measuring loses no training."""
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


def load_trained(
    recipe: Recipe, run: RunFolder, trained: Mapping[str, Any], changed: Sequence[Change], insist: bool
) -> Engine:
    """The saved model of a run that is trained but not measured. Files that only probes read may have changed; all
    others are refused unless `insist`."""
    log.warning("%s is trained, %d steps: only the measurement is left to do", run.folder, trained["steps"])
    before, now = read_json(run.folder / "inputs.json", INPUTS_SHAPE), {"files": files_of(recipe)}
    probed, others = split_by(before, "a probe")
    refuse_differing(differing(others, now), insist)
    run.keep(trained["lines"], trained["steps"])
    renewed(run, recipe, changed, differing(probed, now), trained["steps"])
    spec = recipe.model.model_copy(update={"path": str(run.folder / "model")})
    tuned = base_engine(recipe.model_copy(update={"model": spec}))
    tuned.precision = trained["precision"]
    return tuned


@contextmanager
def announcing_saved_model(folder: Path) -> Iterator[None]:
    """Where measuring fails or is interrupted, says that the model is saved and how to measure it later."""
    try:
        yield
    except (Exception, KeyboardInterrupt):
        words = "the measurement stopped; the model is trained and saved in %s, and --resume measures it"
        log.warning(words, folder / "model")
        raise


def write_ledger(watcher: Watcher, tuned: Engine, summary: Mapping[str, Any]) -> None:
    """Measures the tuned model: writes the last point of the curves, and the ledger."""
    if watcher.probes:
        engines = (watcher.base, tuned, halfway(watcher.base, tuned))
        spec, seed = watcher.recipe.measure, watcher.recipe.seed
        found = ledgers(spec, watcher.probes, engines, watcher.before, seed, watcher.progress)
        watcher.log_probes(summary["steps"], summary["cost"], {ledger.probe: after(ledger) for ledger in found})
        save(watcher.run.folder, found)


def clean_up(run: RunFolder, recipe: Recipe, saves_model: bool) -> None:
    """Removes files that a finished run doesn't need: trained.json, automatic checkpoints, and the model unless it is
    wanted."""
    (run.folder / TRAINED).unlink(missing_ok=True)
    if not saves_model:
        remove(run.folder / "model")
    clear_automatic(run, recipe)


@dataclass
class Watcher:
    """Follows a run: previews its first batch, and evaluates the probes at points along it. The points are denser at
    the start of the run, where most is gained and lost."""

    recipe: Recipe
    run: RunFolder
    progress: Progress
    bar: Bar
    report: Callable[[float], None]
    probes: Sequence[Probe]
    base: Engine
    before: ProbeResults
    points: list[float] = field(init=False)  # progress at which an evaluation is still to come
    begun: bool = False
    fingerprints: Mapping[str, int] = field(default_factory=dict)  # of the trainable tensors before the first step
    last: Mapping[str, Any] = field(default_factory=dict)  # the newest record of a step

    def __post_init__(self) -> None:
        n = self.recipe.measure.points if self.probes else 0
        self.points = [((k + 1) / (n + 1)) ** 1.5 for k in range(n)]

    def tell(self, record: Mapping[str, Any]) -> None:
        self.last = record
        self.bar.advance(0.0, step=record["step"], loss=record["loss"], reward=record.get("reward"))

    def watch(self, run: TrainingRun, stage: StageRun, state: RunState) -> bool:
        share = (state.stage + min(share_done(run, stage, state), 1.0)) / len(run.plans)
        if not self.begun and state.global_step:  # resumed: drop the points of evaluations that were recorded before
            self.points = self.points[len(self.run.records("probe")) - 1 :]
        self.begun = True
        self.bar.to(share)
        self.report(0.9 * share)
        if state.step == 0 and any(stream.lengths for stream in stage.streams):
            add_lengths(self.run.folder / "data.json", stage)
        if state.global_step == 0:
            self.announce(run, stage)
            self.log_probes(state.global_step, self.cost(run, state), self.before)
        if state.global_step == 1 and self.fingerprints:
            self.progress.say(
                trainable_report.after_first_step(
                    self.fingerprints, trainable_report.fingerprints(stage.scope.trainables), self.last
                )
            )
            self.fingerprints = {}
        while self.points and share >= self.points[0]:
            self.points.pop(0)
            if share < 1.0:  # the end is measured by the ledger
                # `aside`: the evaluation must not change the run's random numbers, costs or state
                with run.rollout.preserving_state():
                    seen = run_probes(self.curve_probes(), run.engine, self.base)
                self.log_probes(state.global_step, self.cost(run, state), seen)
        return False

    def announce(self, run: TrainingRun, stage: StageRun) -> None:
        """Reports which tensors are trainable, and warns of doubtful settings of the stage."""
        for doubt in doubts(stage.plan):
            log.warning("%s: %s", stage.name, doubt)
        self.progress.say(trainable_report.plan(stage.scope.trainables, run.engine.model))
        self.fingerprints = trainable_report.fingerprints(stage.scope.trainables)

    def preview(self, run: TrainingRun, stage: StageRun, batches: Sequence[Batch]) -> None:
        """Shows what the first batches train. Raises ValueError for a run that would train on nothing, or on
        prompts."""
        tokens, samples = run.engine.tokens, run.rollout.record.samples
        for k, batch in enumerate(batches):
            if batch.S:
                if not k:
                    self.progress.say(check(run.engine, batch))
                self.progress.say(preview(tokens, rows_of(tokens, batch)))
        if words := samples.words(stage.spec.sampling.max_tokens):
            self.progress.say(words)
        if not self.progress.quiet:  # the estimate times a few passes, which only an interactive run is worth
            self.progress.say(estimate(run, stage).words)

    def curve_probes(self) -> list[Probe]:
        """Each probe on the items of its learning curve."""
        return [probe.only(ids) for probe, ids in zip(self.probes, self.curve().values(), strict=True)]

    def curve(self) -> dict[str, set[str]]:
        """The item ids of each probe's learning curve: its first `curve_items`. Every point of a curve is measured on
        the same items, the first and the last point too."""
        most = self.recipe.measure.curve_items
        return {probe.name: {r.id for r in self.before[probe.name][:most]} for probe in self.probes}

    def cost(self, run: TrainingRun, state: RunState) -> dict[str, Any]:
        return {**run.engine.meter.state(), "seconds": state.seconds}

    def log_probes(self, step: int, cost: Mapping[str, Any], seen: ProbeResults) -> None:
        """Logs a line of kind `probe`. Results on all items, as those of the ledger, are restricted to the curve's."""
        self.run.log(probe_record(step, cost, self.before, seen, self.curve()))


def add_lengths(path: Path, stage: StageRun) -> None:
    """Adds the sequence lengths of a stage's rows to data.json."""
    saved = read_json(path, {"lengths?": dict}) if path.exists() else {}
    lengths = {**saved.get("lengths", {}), stage.name: [s.lengths.state() for s in stage.streams if s.lengths]}
    write_json(path, {**saved, "lengths": lengths})


def say_empty(run: RunFolder) -> None:
    """Warns of steps whose batch had no trained token, if there were any."""
    records = run.records("train")
    if empty := sum("data/empty" in record for record in records):
        words = "%d of %d steps had a batch without a trained token; `data/empty` in metrics.jsonl marks them"
        log.warning(words, empty, len(records))


def probe_record(
    step: int, cost: Mapping[str, Any], before: ProbeResults, seen: ProbeResults, curve: Mapping[str, set[str]]
) -> dict[str, Any]:
    """A line of metrics.jsonl for one evaluation, from the items of the learning curve alone: if points were made from
    different items, a difference between items would look like a change of the model."""
    items = max((len(ids) for ids in curve.values()), default=0)
    record = {"kind": "probe", "step": step, "flops": cost["flops"], "seconds": cost["seconds"], "items": items}
    for name, results in seen.items():
        ids = curve[name]
        record |= metrics(name, [r for r in before[name] if r.id in ids], [r for r in results if r.id in ids])
    return record


def base_engine(recipe: Recipe) -> Engine:
    """An engine of the base: it gives the results before training, and is the reference of drift."""
    spec = recipe.model
    device = choose_device(spec.device)
    dtype = choose_dtype(spec.dtype, device, models.parameters_of(spec.path))
    model, tokens = models.load(spec.path, device=device, dtype=dtype, trust_remote_code=spec.trust_remote_code)
    tokens = tokens.templated(spec.chat_template, spec.chat_template_kwargs, spec.control_tokens)
    return Engine(model, tokens, precision=choose_precision(spec.precision, model, device))


def after(ledger: Ledger) -> list[ItemResult]:
    """The results after training, from a ledger, in the form in which a probe returns them."""
    return [
        ItemResult(e.id, e.after, e.logp_after, e.output_after, e.prompt, e.answer, e.unread_after, e.cut_off_after)
        for e in ledger.entries
    ]


def summarise(run: RunFolder, base: Engine, tuned: Engine, trained: Mapping[str, Any]) -> dict[str, Any]:
    """The content of summary.json: cost and weight change. Writes delta.safetensors."""
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
    """Writes tuned − base of every tensor that changed, in float32: in bfloat16 the difference would be rounded a
    second time. A tensor with two names, such as tied embeddings, is written once."""
    seen: set[int] = set()
    delta = {}
    for name, tensor in tuned.items():
        if tensor.data_ptr() not in seen and not torch.equal(tensor, base[name]):
            delta[name] = (tensor.float() - base[name].float()).cpu().contiguous()
        seen.add(tensor.data_ptr())
    with whole(path) as draft:
        save_file(delta, draft)
