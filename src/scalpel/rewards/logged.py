"""Values that a user's reward function logs: columns of completions.jsonl, and metrics of the step's record."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from numbers import Real
from typing import Any

from scalpel.rewards.values import scalar, shown

OWN = frozenset({  # keys of a step's record that reward functions can't set
    "completion_length", "entropy", "flops", "gradient_norm", "kind", "learning_rate", "loss", "reward", "reward_std",
    "seconds", "stage", "staleness", "step", "temperature", "tokens_left_out_share", "tokens_processed",
    "tokens_sampled", "tokens_trained", "tokens_trained_share",
})  # fmt: skip
PREFIXES = ("episodes/", "keep/", "probe/", "reward/", "rewards/", "samples/", "sampling/", "validation/")
COLUMNS = frozenset(
    {"completion", "extra", "id", "prompt", "reward", "rewards", "stage", "step", "unread", "cut_off", "messages"}
)


class Logged:
    """Collects what `log_extra` (one value per completion) and `log_metric` (one number) are called with."""

    def __init__(self) -> None:
        self.extra: dict[str, list[Any]] = {}
        self.metrics: dict[str, float] = {}

    def log_extra(self, column: Any, values: Iterable[Any]) -> None:
        column = str(column)
        if column in COLUMNS:
            raise ValueError(
                f"log_extra({column!r}, …): completions.jsonl already has a column {column!r}; choose another name"
            )
        if isinstance(values, str | bytes | dict) or not hasattr(values, "__iter__"):
            raise ValueError(
                f"log_extra({column!r}, …) got {shown(values)}: pass a list with one value per completion, or log a "
                "number with log_metric"
            )
        self.extra.setdefault(column, []).extend(values)

    def log_metric(self, name: Any, value: Any) -> None:
        name, value = str(name), scalar(value) if hasattr(value, "item") else value
        if name in OWN or name.startswith(PREFIXES):
            raise ValueError(
                f"log_metric({name!r}, …): the record already has a metric of that name; choose another name"
            )
        try:
            number = float(value) if isinstance(value, Real) else float("nan")
        except OverflowError:
            number = float("inf")
        if not isfinite(number):
            raise ValueError(f"log_metric({name!r}, {shown(value)}): the value must be a finite number")
        self.metrics[name] = number


def fits(extra: dict[str, list[Any]], count: int) -> None:
    """Raises ValueError for a logged column whose number of values differs from the number of completions."""
    for column, values in extra.items():
        if len(values) != count:
            raise ValueError(
                f"log_extra({column!r}, …) got {len(values)} values for {count} completions: pass one value per "
                "completion, or log a number with log_metric"
            )


def beside(extra: dict[str, list[Any]], name: str, more: dict[str, list[Any]]) -> None:
    """Adds the columns that the function `name` logged. Texts of `feedback` are joined; any other column that exists
    already, from another function, is stored as `<function>/<column>`."""
    for column, values in more.items():
        if column not in extra:
            extra[column] = list(values)
        elif column == "feedback":
            pairs = zip(extra[column], values, strict=True)
            extra[column] = [" ".join(str(w) for w in pair if w is not None) or None for pair in pairs]
        else:
            extra[f"{name}/{column}"] = list(values)
