"""docs/claims.md, made from the claims, their committed results and groups.toml, with the forest picture beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import RootModel

from scalpel.claims.by_seed import rows_of
from scalpel.claims.claim import Claim, every
from scalpel.claims.forest import drawn
from scalpel.claims.judge import agreeing
from scalpel.claims.result import result_of
from scalpel.claims.statement import Group, Text
from scalpel.claims.words import DECIDED, HEADINGS, amount, effect, row_words, verdict_words
from scalpel.config.recipe import Strict, toml, validated
from scalpel.evaluation.number_words import duration, listed
from scalpel.reporting.catalogue import markdown
from scalpel.runs.atomic import write_text

NOT_RUN, OUT = "not run yet", "not in its regime"
GROUPS = "groups.toml"
VERSIONS = {"Python": "python", "torch": "torch", "transformers": "transformers"}
Result = Mapping[str, Any]
Found = Sequence[tuple[Claim, Result | None]]
HEAD = """# Claims

What papers say, put to the test at a scale that a laptop can take. A small model on a small world can show a mechanism,
or its absence; it can't refute a paper about large ones.
"""
LEGEND = """A claim **replicates** if its primary difference is shown to be above zero, and may be as large as δ, the
smallest that matters; it is **contradicted** if the difference is shown to be on the other side, **absent** if it is
shown to be smaller than δ either way, and **inconclusive** if the seeds so far don't tell: "would have seen" is the
smallest true difference that they find with 80% power. It is **not in its regime** if the conditions of the paper's
claim don't hold here. Intervals are at the level of the look, so that all looks at a claim together err in 5% at most.
Parts are judged by Holm's procedure and decide nothing."""
FOOT = """A claim is a folder of [claims](../claims): `claim.toml` says what the paper says and what must be seen,
`recipe.toml` is the experiment, `result.json` holds what came out, with every number of every seed. `scalpel claim ID`
takes the first look, `scalpel claim ID --until decided --hours 8` adds seeds, `scalpel claim --overnight 8` serves the
claims that are nearest to a decision, and `scalpel claim --check` proves that the verdicts follow from the numbers.
This page is made by `scalpel claim --page docs/claims.md`.
"""


class Question(Strict):
    """A group of claims: the question that they answer, and what was learnt, once results are there."""

    question: Text
    learnt: str = ""


class Questions(RootModel[dict[Group, Question]]):
    pass


def questions(claims: Path) -> dict[str, Question]:
    """The groups of claims, as groups.toml has them."""
    path = claims / GROUPS
    return dict(validated(Questions, toml(path, "page")).root) if path.is_file() else {}


def page(claims: Sequence[Claim], asked: Mapping[str, Question], picture: str = "claims.svg") -> str:
    found = [(claim, result_of(claim)) for claim in claims]
    groups = [(name, [one for one in found if one[0].statement.group == name]) for name in get_args(Group)]
    parts = [HEAD, *([f"![Every primary difference in units of δ]({picture})\n"] if shown(found) else [])]
    parts += [overview([one for _, own in groups for one in own]), f"{LEGEND}\n{expected_false(found)}", FOOT]
    parts += [group(name, asked.get(name), own) for name, own in groups if own]
    return "\n".join([*parts, costs(found)])


def shown(found: Found) -> list[tuple[str, dict[str, Any]]]:
    """The claims that the picture shows, in the order of the table."""
    order = {name: k for k, name in enumerate(get_args(Group))}
    own = [(claim, dict(result)) for claim, result in found if result and "difference" in result["rows"][0]]
    return [(claim.id, result) for claim, result in sorted(own, key=lambda one: order[one[0].statement.group])]


def fill(path: Path, claims: Path, check: bool = False) -> bool:
    """Updates the page and its picture, or, with `check`, only compares; true if both were up to date."""
    found = every(claims)
    files = {path: page(found, questions(claims), path.with_suffix(".svg").name)}
    if own := shown([(claim, result_of(claim)) for claim in found]):
        files[path.with_suffix(".svg")] = drawn(own)
    stale = [at for at, text in files.items() if not at.is_file() or at.read_text(encoding="utf-8") != text]
    for at in () if check else stale:
        write_text(at, files[at])
    return not stale


def overview(found: Found) -> str:
    rows = []
    for claim, result in found:
        row = result["rows"][0] if result else {}
        seen = row.get("smallest_seen")
        rows.append(
            (
                f"[{claim.id}](#{claim.id})",
                effect(row),
                claim.statement.primary.paper,
                verdict_of(claim, result),
                agreeing(result) if result else "–",
                amount(seen, row["unit"]) if seen is not None else "–",
                seeds_of(result),
            )
        )
    headings = ("claim", "effect here", "the paper's", "verdict", "parts", "would have seen", "seeds")
    return markdown(headings, rows)


def verdict_of(claim: Claim, found: Result | None) -> str:
    if claim.statement.out_of_regime:
        return OUT
    return found["verdict"] if found else NOT_RUN


def seeds_of(found: Result | None) -> str:
    return str(found["seeds"]) if found else "–"


def expected_false(found: Found) -> str:
    """The expected number of false verdicts among so many claims."""
    alphas = [sum(claim.statement.sampling.alpha) / 2 for claim, result in found if result and result["seeds"]]
    if not alphas:
        return ""
    return (
        f"Of {len(alphas)} claims that were run, at most {sum(alphas):.2g} would come out as a false “replicates” on "
        "average if no true difference were above zero.\n"
    )


def group(name: str, asked: Question | None, own: Found) -> str:
    """A question with what was learnt, and its claims."""
    lines = [f"## {asked.question if asked else name.capitalize()}", ""]
    if asked and asked.learnt and any(result and result["verdict"] in DECIDED for _, result in own):
        lines += [f"**{flowing(asked.learnt)}**", ""]
    return "\n".join([*lines, *(section(claim, result) for claim, result in own)])


def section(claim: Claim, found: Result | None) -> str:
    """One claim: what the paper says, what is expected here, what came."""
    said = claim.statement
    lines = [f"### {claim.id}", "", f"**{said.title}** ({said.paper})", ""]
    lines += [f"The paper: {flowing(said.says)}", "", f"Its regime: {flowing(said.regime)}", ""]
    lines += [f"Here: {flowing(said.expect)}", "", f"What matters: {flowing(said.primary.because)}", ""]
    if said.out_of_regime:
        lines += [f"**Not in its regime, and so not run.** {flowing(said.out_of_regime)}", ""]
    elif found is None:
        lines += [f"**{NOT_RUN.capitalize()}.**", ""]
    else:
        lines += [f"**{verdict_words(found)}**", ""]
    rows = found["rows"] if found else rows_of(claim, None)
    words = [one.says for _, one in said.contrasts()]  # those of today, since prose may change behind a result
    table = markdown(HEADINGS, [row_words(row | {"says": says}) for row, says in zip(rows, words, strict=True)])
    return "\n".join([*lines, table, *([made(found)] if found else []), ""])


def flowing(text: str) -> str:
    return " ".join(text.split())


def made(found: Result) -> str:
    """What was run, and where."""
    around, pilot = found["environment"], found["pilot"]
    rates = listed([f"{arm} {rate:.2g}" for arm, rate in pilot["rates"].items()])
    versions = ", ".join(f"{name} {around[key]}" for name, key in VERSIONS.items())
    return (
        f"`{found['command']}`, commit {listed(found['commits'])}, learning rates {rates} from "
        f"{len(pilot['trials'])} trials on pilot seeds, {versions}."
    )


def costs(found: Found) -> str:
    """The time of each claim, on the machine that ran it."""
    rows = [(claim.id, seeds_of(result), duration(60 * result["minutes"])) for claim, result in found if result]
    return "\n".join(["## Costs", "", markdown(("claim", "seeds", "time"), rows)]) if rows else ""
