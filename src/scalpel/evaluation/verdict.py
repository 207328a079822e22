"""Which arm to take. Pure arithmetic on the tables of run folders; comparison.json holds the result.

  net = gain − price · forgetting, in points

Which arm is recommended, and which others can be told apart from it, is decided in `choice.py`, at intervals that are
corrected for the number of arms. With a limit, only arms whose mean forgetting is at most that share are considered.

Doubt: the limit is applied to the mean, so that an arm which lies near it is considered or not by chance.

Where gain or forgetting was not measured, no arm is recommended: the verdict says what is known and what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scalpel.evaluation import unmeasured, unread, verdict_text
from scalpel.evaluation.aggregate import (
    cost,
    floor,
    mean,
    recovery,
    weights,
)
from scalpel.evaluation.arm_scores import (
    ArmScores,
    abilities,
    describe,
    score_arm,
    targets,
    worst,
)
from scalpel.evaluation.choice import Duel, choose, together
from scalpel.evaluation.crossed import seeds_to_tell, starts
from scalpel.evaluation.lacking import lacking
from scalpel.evaluation.matched_accuracy import matched
from scalpel.evaluation.number_words import percent
from scalpel.evaluation.results import ArmResults
from scalpel.evaluation.sequential import LEVEL

FORMAT = 1
GAIN_ALONE = (
    "Gain is the change in the share of right answers on the target, in points. What is worth taking depends on what "
    "was forgotten, too, so none is recommended."
)


def comparison(
    arms: Sequence[ArmResults],
    *,
    price: float = 1.0,
    limit: float | None = None,
    budget: Mapping[str, Any] | None = None,
    failed: Mapping[str, str] | None = None,
    level: float = LEVEL,
) -> dict[str, Any]:
    """The content of comparison.json, from the arms of a run folder (`results.load`).

    `price`: the cost of a point of forgetting, in points of gain. `limit`: the greatest share of old abilities that
    may be lost. `budget`: `{"unit": "flops", "amount": …}`, the budget of every arm. `failed`: arms without a result,
    with the reason. `level`: the probability with which an arm that isn't worth it may be taken. Raises ValueError for
    a price or limit out of bounds, and for arms measured on different items.
    """
    if price < 0:
        raise ValueError(f"price = {price}: forgetting would count as a gain; give 0 or more")
    if limit is not None and not 0 <= limit <= 1:
        raise ValueError(f"limit = {limit}: it is a share of old abilities, between 0 and 1")
    same_items(arms)
    scored = [score_arm(arm, price) for arm in arms]
    rows = {one.name: arm_row(one) for one in scored}
    return {
        "format": FORMAT,
        "order": list(rows),
        "targets": [t.probe for t in targets(arms[0])],
        "abilities": [t.probe for t in abilities(arms[0])],
        "price": price,
        "limit": limit,
        "budget": dict(budget) if budget else None,
        "failed": dict(failed or {}),
        "rule": rule(price, limit, len(arms), level) if all(known(one) for one in scored) else GAIN_ALONE,
        "verdict": verdict(scored, rows, limit, failed or {}, level),
        "arms": list(rows.values()),
        "matched": matched(arms, [t.probe for t in targets(arms[0])], [t.probe for t in abilities(arms[0])]),
    }


def same_items(arms: Sequence[ArmResults]) -> None:
    """Raises ValueError unless all arms were measured on the same items: they are compared item by item."""
    if not arms:
        raise ValueError("there is no arm to compare; give a folder that holds a finished run")
    first = arms[0]
    for arm in arms[1:]:
        if arm.probes != first.probes:
            raise ValueError(f"{arm.name!r} was measured on {arm.probes}, but {first.name!r} on {first.probes}")
        for probe, table in arm.tables.items():
            if table.ids != first.tables[probe].ids:
                raise ValueError(
                    f"{arm.name!r} and {first.name!r} hold different items of probe {probe!r}, so they can't be "
                    "compared item by item; measure both with the same recipe"
                )


def arm_row(one: ArmScores) -> dict[str, Any]:
    """The row of one arm in comparison.json."""
    probes = describe(one.arm)
    hit = worst(probes)
    first = one.arm.runs[0].summary
    return {
        "name": one.name,
        "seeds": one.arm.seeds,
        "gain": one.gain._asdict() if one.gain else None,
        "forgetting": one.forgetting._asdict() if one.forgetting else None,
        "net": one.net._asdict() if one.net and one.forgetting else None,
        "worst": {"probe": hit["probe"], "lost": hit["lost"]["mean"]} if hit else None,
        "probes": probes,
        "starts": found.as_dict() if one.gained and (found := starts(one.gained)) else None,
        "recovery": recovery(one.arm),
        "cost": cost(one.arm),
        "weights": weights(one.arm),
        "floor": floor(one.arm),
        "learning_rate": first.get("learning_rate"),
        "grid": first.get("grid"),
        "tuning_cost": first.get("tuning_cost"),
        "steps": mean(run.summary.get("steps") for run in one.arm.runs),
        "stopped": first.get("stopped"),
    }


def verdict(
    scored: Sequence[ArmScores],
    rows: verdict_text.Rows,
    limit: float | None,
    failed: Mapping[str, str],
    level: float = LEVEL,
) -> dict[str, Any]:
    """The arm to take (or None), those that can't be told apart from it, and the sentences that say why."""
    measured = all(known(one) for one in scored)
    alone = len(rows) == 1
    considered = [one for one in scored if limit is None or not one.forgetting or one.forgetting.mean <= limit]
    excluded = [one.name for one in scored if one not in considered]
    nets = {one.name: one.balance for one in considered if one.balance}
    made = choose(nets, level)
    best = made.best
    duels = [duel_row(duel, len(rows[duel.than]["seeds"])) for duel in made.duels]
    take = made.take if measured else None
    tied = [row["arm"] for row in duels if not row["apart"]]

    words = [verdict_text.about(rows[best])] if best else []
    if best and measured and not take:
        lacks = lacking(nets[best], together(len(nets), level))
        words.append(verdict_text.none_taken(rows[best], alone, lacks))
    for row in duels:
        words.append(f"{verdict_text.about(rows[row['arm']])} {verdict_text.against(row, measured)}")
    words += [text for row in rows.values() if (text := verdict_text.started(row))]
    if excluded and limit is not None:
        words.append(verdict_text.over_limit(excluded, limit))
        words += [verdict_text.about(rows[name]) for name in excluded]
    if best is None and not excluded:
        words += [verdict_text.about(row) for row in rows.values() if row["forgetting"]]
    if limit is not None and not any(one.forgetting for one in scored):
        words.append(verdict_text.no_limit(limit))
    words += [text for why in (unmeasured.gain, unmeasured.forgetting) if (text := why(scored[0].arm))]
    words += unread.warnings(list(rows.values()))
    words += [f"{name} gave no result: {reason}" for name, reason in failed.items()]
    words += [text for row in rows.values() if (text := verdict_text.held(row))]
    # recovery is reported for two arms only: the best one, and the one with the most lost items to test
    reported = {best, forgot_most(scored)}
    words += [text for name in rows if name in reported and (text := verdict_text.comes_back(rows[name]))]
    if any(one.gain or one.forgetting for one in scored):
        words.append(verdict_text.seeds([len(one.arm.runs) for one in scored]))
    if measured:
        single = alone and not failed and len(scored[0].arm.runs) == 1
        headline = verdict_text.headline(take, rows, tied, single)
    else:
        headline = verdict_text.partial(rows[best] if best else None, rows, tied)
    waiting, stuck = (made.open, made.stuck) if measured else ((), ())
    decided = {"level": level, "decided": measured and not made.open, "open": [*waiting], "stuck": [*stuck]}
    return {"take": take, "tied": tied, "headline": headline, "words": words, "duels": duels} | decided


def known(one: ArmScores) -> bool:
    """Whether both gain and forgetting were measured."""
    return one.gain is not None and one.forgetting is not None


def forgot_most(scored: Sequence[ArmScores]) -> str | None:
    """The arm with the greatest forgetting: it has the most lost items on which to tell suppressed from erased."""
    measured = {one.name: one.forgetting.mean for one in scored if one.forgetting}
    return max(measured, key=lambda name: measured[name], default=None)


def duel_row(duel: Duel, seeds: int) -> dict[str, Any]:
    """The difference between the best arm's net and another's, with its interval at Bonferroni's confidence."""
    apart = duel.difference.apart_from_zero
    return {
        "arm": duel.arm,
        "than": duel.than,
        "net": duel.difference._asdict(),
        "confidence": duel.confidence,
        "apart": apart,
        "seeds": seeds,
        "seeds_to_tell": None if apart else seeds_to_tell(duel.apart, duel.confidence),
        "lacks": None if apart else lacking(duel.apart, duel.confidence),
    }


def rule(price: float, limit: float | None, arms: int, level: float = LEVEL) -> str:
    """The rule of the choice, in words."""
    sure = percent(1 - level, 0 if level == LEVEL else 1)
    text = f"Net is the points gained on the target minus {price:g} × the points of old abilities lost. "
    if limit is not None:
        text += f"Only arms that lost at most {percent(limit)} are considered. "
    if arms == 1:
        return text + f"The run is worth taking where the {sure} interval of its net lies above zero."
    return text + (
        f"Of the arms whose net lies above zero, at a confidence of {sure} for all arms together, the one with the "
        "greatest net is taken. Two arms can be told apart where the interval of the difference of their nets excludes "
        "zero, at a confidence that holds for all comparisons with the best together."
    )
