"""A reward model as a reward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scalpel.binding.bounds import Few, Name, Tokens
from scalpel.data.example import Example
from scalpel.models.scorer import Label, check_scorer, open_scorer
from scalpel.rewards.declared import Scoring, declared


def refuse(keys: Mapping[str, Any]) -> None:
    """Raises ValueError where what the table names is no reward model, before any model is opened."""
    check_scorer(keys["path"], keys.get("label"))


@declared("model", opens="path", check=refuse)
def model(
    *, path: Name, label: Label = None, batch: Few = 16, max_length: Tokens | None = None, device: Name = "auto"
) -> Scoring:
    """What a reward model gives a completion: the logit of a sequence classifier at the last token.

    `path` is a folder or hub id that AutoModelForSequenceClassification opens, such as the one that method
    `reward-model` leaves; of several labels `label` names the one that is the reward, by number or name. Prompt and
    completion are rendered by the model's own tokenizer and chat template, so its vocabulary may be another than the
    policy's; of texts longer than `max_length` tokens (its context unless said) only the end is read.

    Source   Ouyang et al. 2022 (arXiv 2203.02155), section 3.5
    """
    scorer = open_scorer(path, label, batch=batch, max_length=max_length, device=device)

    def score(examples: Sequence[Example], completions: Sequence[str], handed: Any) -> list[float]:
        return scorer([e.prompt for e in examples], completions)

    return score
