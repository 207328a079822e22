"""The command line: it parses arguments, calls api.py, and prints the results. Commands import what they need when they
run, since torch and transformers take seconds to import, which `scalpel --help` should not."""

from __future__ import annotations

import sys
import traceback
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from scalpel import __version__
from scalpel.cli.options import Checkpoint, Device, Insist, Out, Overrides, Recipe, Resume, err, out, tell
from scalpel.cli.world import world
from scalpel.errors import FAILED, UserError, user_error
from scalpel.runs.progress import Progress
from scalpel.runs.signals import stop_at_once
from scalpel.runs.terminal import prepare, shown
from scalpel.runs.visible import visible


class Commands(TyperGroup):
    """Reports an error that the user can fix in one message, without a traceback; `--debug`, anywhere on the command
    line, shows the traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ours = args[: args.index("--")] if "--" in args else args
        if "--debug" in ours:
            args = ["--debug", *(a for a in ours if a != "--debug"), *args[len(ours) :]]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        prepare()
        try:
            with stop_at_once():
                return super().invoke(ctx)
        except BaseException as error:
            found = user_error(error)
            if found is None or ctx.params.get("debug"):
                raise
            say(found)
            raise typer.Exit(found.code) from None


def say(found: UserError) -> None:
    with suppress(OSError):  # the terminal was closed
        err.print(found.words, style="red" if found.code == 2 else "yellow", markup=False, highlight=False)


app = typer.Typer(
    name="scalpel",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(world, name="world")


class SuiteSize(StrEnum):
    quick = "quick"
    full = "full"


class Dtype(StrEnum):
    float32 = "float32"
    bfloat16 = "bfloat16"


def version(asked: bool) -> None:
    if asked:
        out.print(f"scalpel {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[bool, typer.Option("--version", callback=version, is_eager=True, help="Print it.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Teaches a language model something new and keeps what it already knew."""


@app.command()
def train(
    recipe: Recipe,
    overrides: Overrides = None,
    out_folder: Out = None,
    resume: Resume = False,
    insist: Insist = False,
    checkpoint: Checkpoint = "",
) -> None:
    """Train with one recipe, and measure item by item what was gained and lost."""
    from scalpel import api

    going_on: dict[str, Any] = {"resume": resume, "insist": insist, "checkpoint": checkpoint}
    folder = api.train(recipe, overrides or (), out=out_folder, progress=Progress(), **going_on)
    tell(f"{folder}: the model is in {folder / 'model'}; `scalpel report {folder}` shows the run")


@app.command()
def compare(
    recipe: Recipe,
    overrides: Overrides = None,
    out_folder: Out = None,
    resume: Resume = False,
    until_decided: Annotated[
        bool, typer.Option("--until-decided", help="Add seeds until it is decided which arm to take, or none.")
    ] = False,
    most: Annotated[
        int | None,
        typer.Option(help="With --until-decided: maximum number of seeds per arm (default: 16).", show_default=False),
    ] = None,
) -> None:
    """Compare several methods on one skill: what each gained and forgot, and which to take."""
    from scalpel import api
    from scalpel.experiments import failures
    from scalpel.reporting import terminal

    adding: dict[str, Any] = {"until_decided": until_decided, "most": most}
    folder = api.compare(recipe, overrides or (), out=out_folder, resume=resume, progress=Progress(), **adding)
    terminal(folder, out)
    tell(f"The report is in {folder / 'report.html'}")
    if failed := failures.recorded(folder):
        say(UserError(failures.in_words(failed), FAILED))
        raise typer.Exit(FAILED)


@app.command()
def measure(
    tuned: Annotated[str, typer.Argument(help="A model folder, hub id or name.", show_default=False)],
    base: Annotated[str, typer.Option(help="The model that it was tuned from.", show_default=False)],
    probes: Annotated[Path, typer.Option(help="A recipe with a [measure] table.", show_default=False)],
    out_folder: Annotated[Path | None, typer.Option("--out", "-o", help="Where to write the ledger.")] = None,
    device: Device = "auto",
    dtype: Annotated[Dtype, typer.Option(help="Of the weights.")] = Dtype.float32,
) -> None:
    """Measure any pair of models: what was gained, kept and lost, item by item."""
    from scalpel import api
    from scalpel.cli import tables

    ledgers = api.measure(
        tuned, base=base, probes=probes, out=out_folder, device=device, dtype=dtype, progress=Progress()
    )
    out.print(tables.ledger_table(ledgers))
    out.print(tables.LEDGER_LEGEND, style="dim", highlight=False)


@app.command()
def check(
    base: Annotated[str, typer.Argument(help="A model folder, hub id or name.", show_default=False)],
    tuned: Annotated[str, typer.Argument(help="The model that was tuned from it.", show_default=False)],
    suite: Annotated[SuiteSize, typer.Option(help="How many items.")] = SuiteSize.quick,
    floor: Annotated[float, typer.Option(help="The share of each ability that must be kept.")] = 0.97,
    only: Annotated[list[str] | None, typer.Option(help="An ability of the suite; may be repeated.")] = None,
    items: Annotated[list[Path] | None, typer.Option(help="A JSONL file of your own; may be repeated.")] = None,
    out_folder: Annotated[Path | None, typer.Option("--out", "-o", help="Where to write the results.")] = None,
    device: Device = "auto",
    dtype: Annotated[Dtype, typer.Option(help="Of the weights.")] = Dtype.float32,
) -> None:
    """Tell what a fine-tune broke. Exit status 0: passed, 1: failed, 3: too few items to tell."""
    from scalpel import api
    from scalpel.cli import tables
    from scalpel.evaluation.check import STATUS
    from scalpel.reporting import check_words

    found = api.check(
        base, tuned, suite=suite, floor=floor, only=only or (), items=items or (), out=out_folder, device=device,
        dtype=dtype, progress=Progress(),
    )  # fmt: skip
    verdict = found.as_dict()
    out.print(tables.check_table(verdict))
    for line in (check_words.drift(found.ledgers), check_words.headline(verdict), *check_words.advice(verdict)):
        out.print(line, highlight=False, markup=False)
    raise typer.Exit(STATUS[found.verdict.status])


@app.command()
def diff(
    base: Annotated[str, typer.Argument(help="A model folder, hub id or name.", show_default=False)],
    tuned: Annotated[str, typer.Argument(help="The model that was tuned from it.", show_default=False)],
) -> None:
    """Show where the weights changed, by component and layer."""
    from scalpel import api
    from scalpel.cli import tables

    found = api.diff(base, tuned)
    out.print(tables.change_in_words(found), highlight=False)
    out.print(tables.change_table(found))


@app.command()
def merge(
    adapter: Annotated[str, typer.Argument(help="A folder that PEFT or a run wrote.", show_default=False)],
    out_folder: Annotated[
        Path | None, typer.Option("--out", "-o", help="The output folder; default: <ADAPTER>-merged.")
    ] = None,
) -> None:
    """Merge an adapter into its base model, and write a plain model folder."""
    from scalpel import api

    folder = api.merge(adapter, out=out_folder)
    out.print(f"The model is in {folder}", highlight=False)


@app.command()
def generate(
    model: Annotated[str, typer.Argument(help="A model folder, hub id or name.", show_default=False)],
    prompt: Annotated[str | None, typer.Argument(help="Leave it out for a conversation.", show_default=False)] = None,
    system: Annotated[str, typer.Option(help="A system message.")] = "",
    plain: Annotated[bool, typer.Option("--plain", help="Continue the text, without a chat template.")] = False,
    max_tokens: Annotated[int, typer.Option(min=1)] = 256,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy decoding.")] = 0.0,
    seed: int = 0,
    device: Device = "auto",
) -> None:
    """Generate text with a model: one answer, or a conversation."""
    from scalpel.generation import Chat

    chat = Chat(model, system=system, plain=plain, max_tokens=max_tokens, temperature=temperature, device=device)
    if prompt is not None:
        sys.stdout.write(shown(chat.ask(prompt, seed)) + "\n")
        return
    if sys.stdin.isatty():
        err.print("An empty line starts a new conversation, Ctrl-D ends.", style="dim")
    for turn, words in enumerate(lines()):
        if words:
            sys.stdout.write(shown(chat.ask(words, seed + turn)) + "\n")
            sys.stdout.flush()
        else:
            chat.forget()


def lines() -> Any:
    """The lines of stdin, typed or piped, without surrounding spaces."""
    while True:
        try:
            yield (input("> ") if sys.stdin.isatty() else input()).strip()
        except EOFError:
            return


@app.command()
def methods(
    documents: Annotated[list[Path] | None, typer.Argument(help="Markdown files whose tables are updated.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only say whether the files are up to date.")] = False,
) -> None:
    """List the published methods, each as a point on the five axes."""
    from scalpel.cli import tables
    from scalpel.extensions import load_plugins
    from scalpel.reporting import catalogue

    load_plugins()
    stale = [path for path in documents or () if not catalogue.fill(path, check=check)]
    if check and stale:
        raise ValueError(
            f"out of date: {', '.join(map(str, stale))}; run `scalpel methods {' '.join(map(str, stale))}`"
        )
    if markdown:
        sys.stdout.write(catalogue.rows_block())
    elif not documents:
        out.print(tables.methods_table([*catalogue.rows(), *catalogue.rows(outside=True)]))
        if more := catalogue.outside_parts():
            out.print(tables.outside_table(more))


class Until(StrEnum):
    decided = "decided"


@app.command()
def claim(
    name: Annotated[str | None, typer.Argument(metavar="[ID]", help="Leave it out to list them.")] = None,
    overrides: Overrides = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", "-o", help="The run folder (default: runs/claims/<ID>).")
    ] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Start over, and remove the runs that are there.")] = False,
    until: Annotated[Until | None, typer.Option(help="Add seeds until the claim is decided.")] = None,
    hours: Annotated[float | None, typer.Option(min=0, help="Begin no seed that would end later.")] = None,
    overnight: Annotated[float | None, typer.Option(min=0, help="Serve undecided claims for so many hours.")] = None,
    claims: Annotated[Path, typer.Option(help="The folder of claims.")] = Path("claims"),
    page: Annotated[Path | None, typer.Option(help="Update this page with all results.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Check results and, with --page, the page.")] = False,
) -> None:
    """Test a paper's claim: it replicates, is contradicted or absent, or is inconclusive so far."""
    from scalpel import api
    from scalpel import claims as all_claims
    from scalpel.cli import tables

    if overnight is not None and (name is not None or until is not None or hours is not None):
        raise ValueError("--overnight chooses the claims and their seeds itself: leave out ID, --until and --hours")
    if name is not None:
        found = api.claim(
            name,
            overrides or (),
            claims=claims,
            out=out_folder,
            anew=anew,
            until_decided=until is not None,
            hours=hours,
            progress=Progress(),
        )
        out.print(tables.comparisons_table(found))
        tell(tables.verdict_words(found))
    if overnight is not None:
        served = api.overnight(overnight, claims=claims, progress=Progress())
        tell(f"Served: {', '.join(served) or 'none, since nothing is left to decide'}.")
    if check and (wrong := [fault for one in all_claims.every(claims) for fault in all_claims.faults(one)]):
        raise ValueError("; ".join(wrong))
    if page is not None and not all_claims.fill(page, claims, check=check) and check:
        raise ValueError(f"out of date: {page}; run `scalpel claim --page {page}`")
    if name is None and page is None and overnight is None:
        out.print(tables.claims_table(all_claims.every(claims)))


@app.command()
def report(runs: Annotated[list[Path], typer.Argument(help="Run folders.", show_default=False)]) -> None:
    """Write the HTML report of runs, and print their tables."""
    from scalpel import api
    from scalpel.reporting import terminal

    for run in runs:
        page = api.report(run)
        terminal(run, out)
        tell(f"The report is in {page}")


def main() -> None:
    """The entry point of the program. An error that is a bug of scalpel ends it with a traceback, whose text is
    escaped: it may quote data that holds terminal escape sequences."""
    try:
        app(prog_name="scalpel")
    except Exception:
        sys.stderr.write(visible(traceback.format_exc()))
        sys.exit(1)
