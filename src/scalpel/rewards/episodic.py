"""An intrinsic reward from an episodic memory of earlier answers, for policies that rarely succeed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from scalpel.data.example import Example
from scalpel.registry import register
from scalpel.rewards.seen import ShapingContext
from scalpel.seeding import derive

TINY = 1e-8


def asked_of(example: Example) -> str:
    """The prompt as text."""
    prompt = example.prompt
    return prompt if isinstance(prompt, str) else "\n".join(message["content"] for message in prompt)


def vectors_of(embed: Callable[[Sequence[str]], Tensor], texts: Sequence[str]) -> dict[str, Tensor]:
    """The embedding of each text; duplicate texts are embedded once."""
    distinct = list(dict.fromkeys(texts))
    return dict(zip(distinct, embed(distinct), strict=True))


def recalled(store: Mapping[str, Tensor], asked: Mapping[str, Tensor], query_D: Tensor, neighbours: int) -> Tensor:
    """[n, D]: the embeddings stored for the `neighbours` nearest queries that have any."""
    keys = list(store)
    if not keys:
        return query_D.new_zeros(0, len(query_D))
    near_K = torch.stack([asked[key] for key in keys]) @ query_D
    return torch.cat([store[keys[k]] for k in near_K.topk(min(neighbours, len(keys))).indices.tolist()])


def graded(raw: Sequence[float | None], recent: list[float], window: int) -> list[float]:
    """The values scaled to [0, 1] between the minimum and the maximum of the last `window` values; 0 for None."""
    recent += [x for x in raw if x is not None]
    del recent[:-window]
    if not recent:
        return [0.0] * len(raw)
    low, high = min(recent), max(recent)
    return [0.0 if x is None else min(max((x - low) / (high - low + TINY), 0.0), 1.0) for x in raw]


def write(store: dict[str, Tensor], key: str, answer_D: Tensor, capacity: int) -> None:
    old_nD = store.get(key, answer_D.new_zeros(0, len(answer_D)))
    store[key] = torch.cat([old_nD, answer_D[None]])[-capacity:]


@register("shaping", "episodic")
def episodic(
    seen: ShapingContext,
    *,
    exploit: float = 1.0,
    explore: float = 1.0,
    neighbours: int = 1,
    capacity: int = 100,
    window: int = 100,
    warmup: Annotated[int, Field(ge=0, le=1_000_000)] = 0,
    threshold: float = 0.5,
) -> list[float]:
    """Rewards answers that are similar to earlier successes, and answers that are dissimilar to earlier failures.

        r = exploit · ‖−‖a − mean of right answers‖₂‖ + explore · ‖1 − max cos(a, a′) over wrong answers a′‖

    The outer ‖·‖ scales to [0, 1] by the minimum and maximum of the last `window` values. The memory holds up to
    `capacity` answers per prompt; an answer is stored as right if the judging rewards gave it more than `threshold`.
    The answers to the `neighbours` most similar prompts are read, before those of the step are written. During the
    first `warmup` steps the second term is 0. Embeddings come from the frozen base model.

    Limits   0 with an empty memory, and with exploit = explore = 0
    Fails    the policy copies the style of its first success: lower exploit
    Source   Le et al. 2025 (arXiv 2504.02273), section 2.3, eq. 3-7; explore = 0 is Memory-R. The paper uses a
             sentence encoder for the embeddings
    """
    if seen.embed is None:
        raise ValueError(
            "reward 'episodic' compares embeddings of texts, but no model that could compute them is loaded here: "
            "use it in a training stage"
        )
    keys = [str(derive(asked_of(example))) for example in seen.examples]
    memory = seen.memory
    for name in ("asked", "right", "wrong"):
        memory.setdefault(name, {})
    vector = vectors_of(seen.embed, [*map(asked_of, seen.examples), *seen.completions])
    asked = {key: vector[asked_of(example)] for key, example in zip(keys, seen.examples, strict=True)}
    near = {
        key: [recalled(memory[side], memory["asked"], query_D, neighbours) for side in ("right", "wrong")]
        for key, query_D in asked.items()
    }
    answers = [(near[key], vector[text]) for key, text in zip(keys, seen.completions, strict=True)]
    like = [-float((a_D - right.mean(0)).norm()) if len(right) else None for (right, _), a_D in answers]
    unlike = [1 - float((wrong @ a_D).max()) if len(wrong) else None for (_, wrong), a_D in answers]
    pay = graded(like, memory.setdefault("like", []), window)
    new = graded(unlike, memory.setdefault("unlike", []), window)
    memory["asked"] |= asked
    for key, (_, a_D), earned in zip(keys, answers, seen.earned, strict=True):
        write(memory["right" if earned > threshold else "wrong"], key, a_D, capacity)
    paid = explore if seen.step >= warmup else 0.0
    return [exploit * p + paid * n for p, n in zip(pay, new, strict=True)]
