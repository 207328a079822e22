"""Which arm to take. Pure arithmetic over run folders: the comparison writes it, the report shows it.

  net = gain − price · forgetting, in points

The arm of the greatest net is taken if the 95% interval of its net lies above zero; with a limit, only
arms that forgot at most so much are considered. Two arms can be told apart where the interval of the
difference of their nets leaves zero out. With k arms that interval has confidence 1 − 0.05/(k − 1), so
that all k − 1 comparisons with the best hold together (Bonferroni).

Where no gain or no forgetting was measured, no arm is taken: what is known of the gain is said, and what is missing.
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
    standing,
    targets,
    worst,
)
from scalpel.evaluation.matched_accuracy import matched
from scalpel.evaluation.number_words import percent
from scalpel.evaluation.results import ArmResults
from scalpel.evaluation.statistics import Interval, interval

FORMAT = 1
GAIN_ALONE = (
    "Gain is the change of the share right on the target, in points. What is worth taking depends on what was "
    "forgotten too, so none is recommended."
)


def comparison(
    arms: Sequence[ArmResults],
    *,
    price: float = 1.0,
    limit: float | None = None,
    budget: Mapping[str, Any] | None = None,
    failed: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """All that comparison.json holds, from the arms of a run folder (`results.load`).

    `price`: what a point of forgetting costs, in points of gain. `limit`: the greatest share of old
    abilities that may be lost. `budget`: `{"unit": "flops", "amount": …}`, what every arm was given.
    `failed`: arms that gave no result, with the reason.
    """
    if price < 0:
        raise ValueError(f"price = {price}: forgetting would count as a gain; give 0 or more")
    if limit is not None and not 0 <= limit <= 1:
        raise ValueError(f"limit = {limit}: it is a share of old abilities, between 0 and 1")
    same_items(arms)
    standings = [standing(arm, price) for arm in arms]
    rows = {one.name: arm_row(one) for one in standings}
    return {
        "format": FORMAT,
        "order": list(rows),
        "targets": [t.probe for t in targets(arms[0])],
        "abilities": [t.probe for t in abilities(arms[0])],
        "price": price,
        "limit": limit,
        "budget": dict(budget) if budget else None,
        "failed": dict(failed or {}),
        "rule": rule(price, limit, len(arms)) if all(known(one) for one in standings) else GAIN_ALONE,
        "verdict": verdict(standings, rows, limit, failed or {}),
        "arms": list(rows.values()),
        "matched": matched(arms, [t.probe for t in targets(arms[0])], [t.probe for t in abilities(arms[0])]),
    }


def same_items(arms: Sequence[ArmResults]) -> None:
    """Arms are compared item by item, so they must have been measured on the same ones."""
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
    """All about one arm."""
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
    standings: Sequence[ArmScores], rows: verdict_text.Rows, limit: float | None, failed: Mapping[str, str]
) -> dict[str, Any]:
    """The arm to take (or None), those that can't be told apart from it, and the words for it."""
    measured = all(known(one) for one in standings)
    alone = len(rows) == 1
    within = [one for one in standings if limit is None or not one.forgetting or one.forgetting.mean <= limit]
    out = [one.name for one in standings if one not in within]
    best = max((one for one in within if one.net), key=net_of, default=None)
    others = [one for one in within if one is not best and one.net] if best else []
    duels = [duel(best, one, len(others)) for one in others if best]
    risen = best is not None and best.net is not None and best.net.low > 0
    take = best.name if best and risen and measured else None
    tied = [row["arm"] for row in duels if not row["apart"]]

    words = [verdict_text.about(rows[best.name])] if best else []
    if best and measured and not take:
        words.append(verdict_text.none_taken(rows[best.name], alone))
    for row in duels:
        words.append(f"{verdict_text.about(rows[row['arm']])} {verdict_text.against(row, measured)}")
    if out and limit is not None:
        words.append(verdict_text.over_limit(out, limit))
        words += [verdict_text.about(rows[name]) for name in out]
    if best is None and not out:
        words += [verdict_text.about(row) for row in rows.values() if row["forgetting"]]
    if limit is not None and not any(one.forgetting for one in standings):
        words.append(verdict_text.no_limit(limit))
    words += [text for why in (unmeasured.gain, unmeasured.forgetting) if (text := why(standings[0].arm))]
    words += unread.warnings(list(rows.values()))
    words += [f"{name} gave no result: {reason}" for name, reason in failed.items()]
    words += [text for row in rows.values() if (text := verdict_text.held(row))]
    telling = {one.name for one in (best, forgot_most(standings)) if one}
    words += [text for name in rows if name in telling and (text := verdict_text.comes_back(rows[name]))]
    if any(one.gain or one.forgetting for one in standings):
        words.append(verdict_text.seeds([len(one.arm.runs) for one in standings]))
    if measured:
        single = alone and not failed and len(standings[0].arm.runs) == 1
        headline = verdict_text.headline(take, rows, tied, single)
    else:
        headline = verdict_text.partial(rows[best.name] if best else None, rows, tied)
    return {"take": take, "tied": tied, "headline": headline, "words": words, "duels": duels}


def known(one: ArmScores) -> bool:
    """Whether both sides of the balance were measured."""
    return one.gain is not None and one.forgetting is not None


def net_of(one: ArmScores) -> float:
    return one.net.mean if one.net else float("-inf")


def forgot_most(standings: Sequence[ArmScores]) -> ArmScores | None:
    """The arm with the most to recover: there it shows best whether items were suppressed or erased."""
    measured = [one for one in standings if one.forgetting]
    return max(measured, key=lambda one: one.forgetting.mean if one.forgetting else 0.0, default=None)


def duel(best: ArmScores, other: ArmScores, comparisons: int) -> dict[str, Any]:
    """By how much the best arm's net exceeds another's; the replicates share their draws of items."""
    confidence = 1 - 0.05 / comparisons
    difference: Interval = interval(net_of(best) - net_of(other), best.net_B - other.net_B, confidence)
    return {
        "arm": other.name,
        "than": best.name,
        "net": difference._asdict(),
        "confidence": confidence,
        "apart": difference.apart_from_zero,
    }


def rule(price: float, limit: float | None, arms: int) -> str:
    """How the choice is made, in words."""
    text = f"Net is the points gained on the target, less {price:g} × the points of old abilities lost. "
    if limit is not None:
        text += f"Only arms that lost at most {percent(limit)} are considered. "
    if arms == 1:
        return text + "The run is worth taking where the 95% interval of its net lies above zero."
    return text + (
        "The arm of the greatest net is taken if its 95% interval lies above zero. Two arms can be told apart "
        "where the interval of the difference of their nets leaves zero out, at a confidence that holds for all "
        "comparisons with the best together."
    )
