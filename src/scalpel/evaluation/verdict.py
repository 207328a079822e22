"""Which arm to take. Pure arithmetic on the tables of run folders; comparison.json holds the result.

  net = gain − price · forgetting, in points

The arm with the greatest net is recommended if the 95% interval of its net lies above zero. With a limit, only arms
that forgot at most that share are considered. Two arms can be told apart where the interval of the difference of their
nets excludes zero. With k arms that interval has confidence 1 − 0.05/(k − 1), so that all k − 1 comparisons with the
best hold together (Bonferroni).

Doubt: the interval of the best arm's own net is not corrected for its having been chosen as the best of k.

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
from scalpel.evaluation.crossed import seeds_to_tell, starts
from scalpel.evaluation.matched_accuracy import matched
from scalpel.evaluation.number_words import percent
from scalpel.evaluation.results import ArmResults
from scalpel.evaluation.statistics import CONFIDENCE, Interval

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
) -> dict[str, Any]:
    """The content of comparison.json, from the arms of a run folder (`results.load`).

    `price`: the cost of a point of forgetting, in points of gain. `limit`: the greatest share of old abilities that
    may be lost. `budget`: `{"unit": "flops", "amount": …}`, the budget of every arm. `failed`: arms without a result,
    with the reason. Raises ValueError for a price or limit out of bounds, and for arms measured on different items.
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
        "rule": rule(price, limit, len(arms)) if all(known(one) for one in scored) else GAIN_ALONE,
        "verdict": verdict(scored, rows, limit, failed or {}),
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
    scored: Sequence[ArmScores], rows: verdict_text.Rows, limit: float | None, failed: Mapping[str, str]
) -> dict[str, Any]:
    """The arm to take (or None), those that can't be told apart from it, and the sentences that say why."""
    measured = all(known(one) for one in scored)
    alone = len(rows) == 1
    considered = [one for one in scored if limit is None or not one.forgetting or one.forgetting.mean <= limit]
    excluded = [one.name for one in scored if one not in considered]
    # Every arm is judged at a confidence that holds for all of them: of several worthless ones the luckiest would
    # otherwise be taken. Of those that are shown to be worth taking the one of the greatest net is.
    worth = [one for one in considered if one.balance and one.balance.interval(together(len(considered))).low > 0]
    best = max(worth or (one for one in considered if one.net), key=net_of, default=None)
    others = [one for one in considered if one is not best and one.net] if best else []
    duels = [difference_of_nets(best, one, len(others)) for one in others if best]
    take = best.name if best and worth and measured else None
    tied = [row["arm"] for row in duels if not row["apart"]]

    words = [verdict_text.about(rows[best.name])] if best else []
    if best and measured and not take:
        words.append(verdict_text.none_taken(rows[best.name], alone))
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
    reported = {one.name for one in (best, forgot_most(scored)) if one}
    words += [text for name in rows if name in reported and (text := verdict_text.comes_back(rows[name]))]
    if any(one.gain or one.forgetting for one in scored):
        words.append(verdict_text.seeds([len(one.arm.runs) for one in scored]))
    if measured:
        single = alone and not failed and len(scored[0].arm.runs) == 1
        headline = verdict_text.headline(take, rows, tied, single)
    else:
        headline = verdict_text.partial(rows[best.name] if best else None, rows, tied)
    return {"take": take, "tied": tied, "headline": headline, "words": words, "duels": duels}


def together(comparisons: int) -> float:
    """The confidence of each interval at which all of them together hold with `CONFIDENCE` (Bonferroni)."""
    return 1 - (1 - CONFIDENCE) / max(1, comparisons)


def known(one: ArmScores) -> bool:
    """Whether both gain and forgetting were measured."""
    return one.gain is not None and one.forgetting is not None


def net_of(one: ArmScores) -> float:
    return one.net.mean if one.net else float("-inf")


def forgot_most(scored: Sequence[ArmScores]) -> ArmScores | None:
    """The arm with the greatest forgetting: it has the most lost items on which to tell suppressed from erased."""
    measured = [one for one in scored if one.forgetting]
    return max(measured, key=lambda one: one.forgetting.mean if one.forgetting else 0.0, default=None)


def difference_of_nets(best: ArmScores, other: ArmScores, comparisons: int) -> dict[str, Any]:
    """The difference between the best arm's net and another's, paired item by item, with its interval at Bonferroni's
    confidence."""
    confidence = together(comparisons)
    assert best.balance is not None and other.balance is not None
    apart = best.balance.minus(other.balance)
    difference: Interval = apart.interval(confidence)
    return {
        "arm": other.name,
        "than": best.name,
        "net": difference._asdict(),
        "confidence": confidence,
        "apart": difference.apart_from_zero,
        "seeds": len(best.arm.runs),
        "seeds_to_tell": None if difference.apart_from_zero else seeds_to_tell(apart, confidence),
    }


def rule(price: float, limit: float | None, arms: int) -> str:
    """The rule of the choice, in words."""
    text = f"Net is the points gained on the target minus {price:g} × the points of old abilities lost. "
    if limit is not None:
        text += f"Only arms that lost at most {percent(limit)} are considered. "
    if arms == 1:
        return text + "The run is worth taking where the 95% interval of its net lies above zero."
    return text + (
        "Of the arms whose net lies above zero, at a confidence of 95% for all arms together, the one with the "
        "greatest net is taken. Two arms can be told apart where the interval of the difference of their nets excludes "
        "zero, at a confidence that holds for all comparisons with the best together."
    )
