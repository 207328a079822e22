"""A sequence classifier that scores answers: a reward model of any vocabulary, with its own tokenizer and template."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from scalpel.data.closed import closed
from scalpel.data.example import Prompt
from scalpel.data.tokenizer import Tokens
from scalpel.device import choose_device, choose_dtype
from scalpel.models.files import check_folder
from scalpel.models.load import explained, locate
from scalpel.models.quiet import quiet
from scalpel.models.size import parameters_of

log = logging.getLogger("scalpel")
Label = int | str | None  # a classifier's label: its index, or its name in config.json


@dataclass
class Scorer:
    """Gives the logit of one label for each prompt with its answer. Texts longer than `longest` tokens are truncated at
    the beginning; their number is logged once.

    A decoder's score is read at the last token of a text that is rendered as in training: with the chat template and
    the end token. An encoder's score is read at its first token, which therefore stays where a text is truncated; it
    reads prompt and answer as one text, between the special tokens of its tokenizer.
    """

    spec: str
    model: PreTrainedModel
    tokenizer: Any
    index: int
    batch: int
    longest: int
    tokens: Tokens | None = field(init=False)  # None for an encoder
    said: bool = False

    def __post_init__(self) -> None:
        decoder = hasattr(self.model, "score") and self.tokenizer.eos_token_id is not None
        self.tokens = Tokens(self.tokenizer) if decoder else None

    @torch.no_grad()
    def __call__(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> list[float]:
        rows = self.cut([self.row(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)])
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
        size = self.batch if self.pad is not None else 1
        found = torch.zeros(len(rows))
        for at in range(0, len(order), size):
            few = order[at : at + size]
            found[few] = self.logits([rows[i] for i in few])[:, self.index].float().cpu()
        return [float(x) for x in found]

    @property
    def pad(self) -> int | None:
        """The padding token, by which transformers finds a text's last token. Without one, each text is scored
        alone."""
        pad: int | None = self.model.config.get_text_config().pad_token_id
        return pad

    def row(self, prompt: Prompt, answer: str) -> list[int]:
        """The token ids of the whole text, rendered as in the training of a reward model."""
        if self.tokens is not None:
            return closed(self.tokens, prompt, answer).ids
        if not isinstance(prompt, str):
            raise ValueError(
                f"the prompts are chat messages, but {self.spec} is an encoder, which reads text: give prompts as text "
                "(for a task: chat = false), or use a reward model with a chat template"
            )
        return list(self.tokenizer(prompt + answer)["input_ids"])

    def cut(self, rows: list[list[int]]) -> list[list[int]]:
        long = sum(len(row) > self.longest for row in rows)
        if long and not self.said:
            words = "%s: %d of %d texts are longer than %d tokens and truncated at the beginning; raise max_length"
            log.warning(words, self.spec, long, len(rows), self.longest)
            self.said = True
        return [self.end(row) if len(row) > self.longest else row for row in rows]

    def end(self, row: list[int]) -> list[int]:
        """The end of a text that is too long, behind the special tokens at an encoder's beginning."""
        first = 0
        if self.tokens is None:
            special = self.tokenizer.get_special_tokens_mask(row, already_has_special_tokens=True)
            first = special.index(0) if 0 in special else 0
        return [*row[:first], *row[len(row) - self.longest + first :]]

    def logits(self, rows: Sequence[Sequence[int]]) -> Tensor:
        longest, pad, device = max(map(len, rows)), self.pad or 0, self.model.device
        ids_SL = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows], device=device)
        mask_SL = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=device)
        logits: Tensor = self.model(input_ids=ids_SL, attention_mask=mask_SL).logits
        return logits


def check_scorer(spec: str, label: Label = None) -> tuple[Any, int]:
    """The config of a sequence classifier, and the index of the label that is the reward. Raises ValueError if it is
    not a classifier, or has several labels and none is named. No weights are read."""
    source = locate(spec)
    if isinstance(source, Path):
        check_folder(source)
    with quiet(), explained(spec, "config.json"):
        config = AutoConfig.from_pretrained(source)
    names = config.architectures or []
    if not any(name.endswith("ForSequenceClassification") for name in names):
        raise ValueError(
            f"{spec} is {' / '.join(names) or config.model_type}, not a sequence classifier, so it has no score: train "
            "one with method 'reward-model', or give the folder or hub id of a reward model"
        )
    return config, index_of(config, spec, label)


def index_of(config: Any, spec: str, label: Label) -> int:
    count, known = int(config.num_labels), {str(name): int(i) for i, name in config.id2label.items()}
    listed = ", ".join(f"{i} = {name!r}" for name, i in known.items())
    if label is None:
        if count == 1:
            return 0
        raise ValueError(f"{spec} has {count} labels ({listed}): set which one is the reward, as in label = 1")
    index = known.get(label, -1) if isinstance(label, str) else label
    if not 0 <= index < count:
        raise ValueError(f"{spec} has no label {label!r}: it has {listed}")
    return index


def open_scorer(
    spec: str, label: Label = None, *, batch: int = 16, max_length: int | None = None, device: str = "auto"
) -> Scorer:
    """A reward model in evaluation mode, without gradients."""
    config, index = check_scorer(spec, label)
    place, source = choose_device(device), locate(spec)
    dtype = choose_dtype("auto", place, parameters_of(spec))
    with quiet(), explained(spec, "weights"):
        tokenizer = AutoTokenizer.from_pretrained(source)
        model = AutoModelForSequenceClassification.from_pretrained(source, dtype=dtype, use_safetensors=True)
    model.to(place).eval().requires_grad_(False)
    own = getattr(config.get_text_config(), "max_position_embeddings", None) or 2**20
    # an encoder may have more positions than it can use: RoBERTa has 514 for 512 tokens, as its tokenizer says
    longest = min(own, tokenizer.model_max_length)
    return Scorer(spec, model, tokenizer, index, batch, min(max_length or longest, longest))
