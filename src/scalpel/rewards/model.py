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
    """The score of a reward model: the logit of a sequence classifier at the last token.

    `path` is a folder or hub id that AutoModelForSequenceClassification opens, such as the folder that the method
    `reward-model` saves. If the classifier has several labels, `label` says by number or name which one is the reward.
    Prompt and completion are rendered with the reward model's own tokenizer and chat template, so its vocabulary may
    differ from the policy's. Texts longer than `max_length` tokens (default: the model's context) are truncated at the
    beginning.

    Source   Ouyang et al. 2022 (arXiv 2203.02155), section 3.5
    """
    scorer = open_scorer(path, label, batch=batch, max_length=max_length, device=device)

    def score(examples: Sequence[Example], completions: Sequence[str], handed: Any) -> list[float]:
        return scorer([e.prompt for e in examples], completions)

    return score
