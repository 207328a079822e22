"""The commands as Python functions. Heavy modules are imported inside the functions, so that `import scalpel` is
fast."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalpel.runs.progress import Progress
from scalpel.runs.signals import Stopped, number_of

if TYPE_CHECKING:
    from scalpel.config.recipe import Recipe
    from scalpel.evaluation import Ledger
    from scalpel.experiments.check import Check

log = logging.getLogger("scalpel")
RUNS = Path("runs")


def recipe_of(recipe: Any, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe from its file, its tables, or as it is."""
    from scalpel.config.recipe import Recipe, parse, read

    if isinstance(recipe, Recipe):
        recipe = recipe.model_dump(exclude_none=True, by_alias=True)
    return parse(recipe, overrides) if isinstance(recipe, Mapping) else read(recipe, overrides)


def train(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    overrides: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    resume: bool = False,
    insist: bool = False,
    checkpoint: str = "",
    progress: Progress | None = None,
) -> Path:
    """Runs one recipe and returns its run folder (default: `runs/<name>`); the trained model is in `model/`. With
    `resume` the run continues from the last checkpoint, or from the named one; a finished run is left unchanged.
    `insist` resumes although files that the run reads have changed."""
    from scalpel.experiments.preflight import refuse_recipe
    from scalpel.experiments.single import run_recipe

    if (insist or checkpoint) and not resume:
        raise ValueError("--insist and --checkpoint are options of --resume: add --resume")
    resolved = recipe_of(recipe, overrides)
    refuse_recipe(resolved)  # what can't work is refused before any model is loaded
    folder = Path(out) if out is not None else RUNS / resolved.name
    with progress or Progress(quiet=True) as shown:
        run_recipe(resolved, folder, resume=resume, insist=insist, checkpoint=checkpoint, progress=shown)
    return folder


def compare(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    overrides: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    resume: bool = False,
    until_decided: bool = False,
    most: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Runs every arm of a recipe in every seed, writes the report, and returns the folder that holds it all. With
    `until_decided` seeds are added until it is decided which arm to take, or that none is: `most` an arm, at most."""
    from scalpel.experiments.compare import compare as run_arms
    from scalpel.experiments.compare_resume import is_finished
    from scalpel.runs.targets import claimed

    asked = ["compare.until_decided=true"] if until_decided else []
    asked += [f"compare.most={most}"] if most is not None else []
    resolved = recipe_of(recipe, [*overrides, *asked])
    if most is not None and resolved.compare and not resolved.compare.until_decided:
        raise ValueError("--most says how many seeds --until-decided may run at most: give both, or neither")
    folder = Path(out) if out is not None else RUNS / resolved.name
    with progress or Progress(quiet=True) as shown, claimed(folder, "comparison", resume=resume) as begun:
        if begun and is_finished(folder, resolved):
            return folder
        try:
            run_arms(resolved, folder, resume=resume, progress=shown)
        except KeyboardInterrupt as error:
            words = f"stopped; --resume continues from the finished runs in {folder}"
            raise Stopped(words, number_of(error)) from None
    return folder


def claim(
    name: str,
    overrides: Sequence[str] = (),
    *,
    claims: str | Path = "claims",
    out: str | Path | None = None,
    anew: bool = False,
    until_decided: bool = False,
    hours: float | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Puts a claim to the test up to its first look, or `until_decided`, in `runs/claims/<name>` unless said, and
    returns its result. What is finished is kept unless `anew`; with overrides it is another experiment, in a folder of
    its own, and the claim's result stays as it is. No seed is begun that would end after so many hours."""
    from scalpel.claims import Limit, read, run_claim
    from scalpel.runs.targets import claimed

    found = read(name, Path(claims), overrides)
    folder = Path(out) if out is not None else RUNS / "claims" / (f"{name}-changed" if overrides else name)
    claiming = claimed(folder, "comparison", resume=True, anew=anew)
    with progress or Progress(quiet=True) as shown, claiming:
        try:
            return run_claim(found, folder, limit=Limit(until_decided, hours), anew=anew, progress=shown)
        except KeyboardInterrupt as error:
            words = f"stopped; the same command goes on from what is finished in {folder}"
            raise Stopped(words, number_of(error)) from None


def overnight(hours: float, *, claims: str | Path = "claims", progress: Progress | None = None) -> list[str]:
    """Serves the undecided claim that is nearest to a decision, one look at a time, for so many hours. Returns the
    claims that were served, in order."""
    from scalpel import claims as all_claims
    from scalpel.runs.targets import claimed

    shown = progress or Progress(quiet=True)

    def run(found: all_claims.Claim, limit: all_claims.Limit) -> dict[str, Any]:
        folder = RUNS / "claims" / found.id
        with claimed(folder, "comparison", resume=True):
            return all_claims.run_claim(found, folder, limit=limit, progress=shown)

    with shown:
        try:
            return all_claims.overnight(Path(claims), hours, run)
        except KeyboardInterrupt as error:
            raise Stopped("stopped; the same command goes on from what is finished", number_of(error)) from None


def measure(
    tuned: str | Path,
    *,
    base: str | Path,
    probes: str | Path | Mapping[str, Any] | Recipe,
    out: str | Path | None = None,
    device: str = "auto",
    dtype: str = "float32",
    progress: Progress | None = None,
) -> list[Ledger]:
    """The ledger of any two models of one architecture: the items gained, kept and lost, and the lost items that can be
    recovered. The probes are those of a recipe's [measure] table. With `out`, the ledger's files are written there."""
    from scalpel import tasks
    from scalpel.evaluation import make_probes, save
    from scalpel.experiments.data_inventory import inventory
    from scalpel.experiments.pair import ledgers, load_pair, probe_base
    from scalpel.runs.atomic import write_json
    from scalpel.runs.targets import claimed

    recipe = probing(probes, base)
    spec = recipe.measure
    data = inventory(recipe)
    ready = make_probes(spec.probes, spec.target, tasks.make, recipe.answer_tokens)
    if not recipe.stages and spec.max_tokens is None:
        log.info(
            "answers to probes that say nothing of it have %d tokens: set measure.max_tokens", recipe.answer_tokens
        )
    place = nullcontext() if out is None else claimed(Path(out), "ledger")
    with progress or Progress(quiet=True) as shown, place:
        shown.say(data.words)
        engines = load_pair(base, tuned, device, dtype)
        before = probe_base(ready, engines[0], shown)
        found_ledgers = ledgers(spec, ready, engines, before, recipe.seed, shown)
        if out is not None:
            save(out, found_ledgers)
            write_json(Path(out) / "data.json", data.state())
    return found_ledgers


def check(
    base: str | Path,
    tuned: str | Path,
    *,
    suite: str = "quick",
    floor: float = 0.97,
    only: Sequence[str] = (),
    items: Sequence[str | Path] = (),
    out: str | Path | None = None,
    device: str = "auto",
    dtype: str = "float32",
    progress: Progress | None = None,
) -> Check:
    """Retention of the shipped suite's abilities, for any two models of one vocabulary, against a floor. `only` names
    abilities of the suite; `items` are JSONL files of one's own. With `out` the ledger, check.json, junit.xml,
    summary.md and report.html are written there. Raises ValueError for models that can't be compared, or a floor that
    is no share."""
    from scalpel.evaluation.check import refuse_floor
    from scalpel.evaluation.suites import refuse_suite
    from scalpel.experiments.check import run_check, write_check
    from scalpel.runs.targets import claimed

    refuse_floor(floor)
    refuse_suite(suite, only)
    place = nullcontext() if out is None else claimed(Path(out), "ledger")
    with progress or Progress(quiet=True) as shown, place:
        found = run_check(
            base, tuned, size=suite, floor=floor, only=only, items=[Path(path) for path in items], device=device,
            dtype=dtype, progress=shown,
        )  # fmt: skip
        if out is not None:
            write_check(Path(out), found)
    return found


def probing(probes: str | Path | Mapping[str, Any] | Recipe, base: str | Path) -> Recipe:
    """The recipe that names the probes, for this base. A file with only a [measure] table is enough. The task of a
    complete recipe is kept, so that probes don't get the rows that it trains on."""
    from scalpel.config.recipe import Recipe, toml

    if isinstance(probes, Recipe):
        tables: Mapping[str, Any] = probes.model_dump(exclude_none=True, by_alias=True)
    else:
        tables = probes if isinstance(probes, Mapping) else toml(Path(probes))
    return recipe_of({"task": {}, **tables}, [f"model={json.dumps(str(base))}"])


def diff(base: str | Path, tuned: str | Path) -> dict[str, Any]:
    """The change of the weights by component and layer: relative Frobenius norm, and share of changed entries."""
    from scalpel.experiments.pair import weights_of_pair
    from scalpel.pair import Pair
    from scalpel.pair.anatomy import change, table

    return table(change(Pair(*weights_of_pair(base, tuned))))


def merge(adapter: str | Path, *, out: str | Path | None = None) -> Path:
    """Merges an adapter into its base and returns the plain model folder (default: `<adapter>-merged`)."""
    from scalpel import models

    return models.merge(adapter, out)


def generate(
    model: str | Path,
    prompt: str,
    *,
    system: str = "",
    plain: bool = False,
    max_tokens: int = 256,
    temperature: float = 0.0,
    seed: int = 0,
    device: str = "auto",
) -> str:
    """What a model answers: as a chat turn where its tokenizer has a template, unless `plain`."""
    from scalpel.generation import Chat

    chat = Chat(model, system=system, plain=plain, max_tokens=max_tokens, temperature=temperature, device=device)
    return chat.ask(prompt, seed)


def report(run: str | Path) -> Path:
    """Writes `report.html`, one file that opens offline, from what is in a run folder, and returns its path."""
    from scalpel.reporting import write

    return write(Path(run))
