"""Decoding with continuous batching: prompts are prefilled into free rows, each row is fed a token per step, and
finished rows are removed.

`Decoder` is the fast implementation and `Padded` the plain one, for models with attention only; those for models with a
recurrent state are in recurrent_decode.py. All keep rows dense: removed rows are filled by others, and the new order is
returned.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from scalpel.engine.fp32_probe import trial_of
from scalpel.engine.fused_decode import known, stride
from scalpel.engine.grouped_kv_cache import GroupedKVCache, attending
from scalpel.engine.head import logits_of
from scalpel.engine.padded_forward import device_of
from scalpel.engine.recurrent_decode import Anew, Pools, has_state

log = logging.getLogger("scalpel")
AT_ONCE = 4096  # prompt tokens of one prefill pass
Ids = Sequence[Sequence[int]]


class Rows(Protocol):
    """n rows a prompt, `most` prompts at a time at first."""

    def free_rows(self) -> int:
        """The number of prompts that may enter now."""

    def enter(self, prompts: Ids) -> Tensor:
        """Prefills prompts, with n rows each after the present rows, and returns their first logits [·, V]."""

    def advance(self, token_R: Tensor) -> Tensor:
        """Feeds each row its token, and returns the next logits [R, V]."""

    def leave(self, gone: Sequence[int]) -> list[int]:
        """Removes rows, and returns for each remaining place the row that was there before."""


class Decoder:
    """Prompts are prefilled in packed form without padding, and stored once per group; see `GroupedKVCache`."""

    def __init__(self, model: PreTrainedModel, n: int, most: int, longest: int, limit: int) -> None:
        self.model, self.n, self.most = model, n, most
        self.device, self.known = device_of(model), known(model)
        layers = model.config.get_text_config().num_hidden_layers
        self.slots = GroupedKVCache(layers, most * min(n, 2), most * n, longest, limit, self.device)

    def free_rows(self) -> int:
        free = (self.slots.rows - len(self.slots.own)) // self.n
        return min(free, self.slots.groups - len(self.slots.length))

    def enter(self, prompts: Ids) -> Tensor:
        logits = []
        for part in portions(prompts, AT_ONCE):
            lengths = [len(p) for p in part]
            self.slots.enter(lengths, self.n)
            end = torch.tensor(lengths, device=self.device).cumsum(0) - 1
            last = self._pass([i for p in part for i in p], [t for p in part for t in range(len(p))])[end]
            logits.append(logits_of(self.model, last).repeat_interleave(self.n, 0))
        return torch.cat(logits)

    def advance(self, token_R: Tensor) -> Tensor:
        s = self.slots
        position = [s.length[g] + t for g, t in zip(s.group, s.own, strict=True)]
        s.begin_step()
        if not self.known:
            return logits_of(self.model, self._pass(token_R, position))
        position_R = torch.tensor(position, device=self.device)
        return logits_of(self.model, stride(self.model, token_R, position_R, s))

    def _pass(self, ids: Sequence[int] | Tensor, position: Sequence[int]) -> Tensor:
        ids_1M, position_1M = (torch.as_tensor(x, device=self.device)[None] for x in (ids, position))
        with attending(self.model, self.slots):
            out = self.model.base_model(input_ids=ids_1M, position_ids=position_1M, use_cache=False)
        return out.last_hidden_state[0]

    def leave(self, gone: Sequence[int]) -> list[int]:
        return self.slots.leave(gone)


class Padded:
    """Left-padded prompts in transformers' own KV cache; new prompts wait until all rows are finished."""

    def __init__(self, model: PreTrainedModel, n: int, most: int, pad: int) -> None:
        self.model, self.n, self.most, self.pad = model, n, most, pad
        self.device = device_of(model)
        self.rows = 0

    def free_rows(self) -> int:
        return 0 if self.rows else self.most

    def enter(self, prompts: Ids) -> Tensor:
        length = max(map(len, prompts))
        ids = torch.tensor([[self.pad] * (length - len(p)) + list(p) for p in prompts], device=self.device)
        mask = torch.tensor([[0] * (length - len(p)) + [1] * len(p) for p in prompts], device=self.device)
        self.cache = DynamicCache(config=self.model.config)
        logits_PV = self._pass(ids, mask, (mask.cumsum(1) - 1).clamp(min=0))
        if self.n > 1:
            self.cache.batch_repeat_interleave(self.n)
        self.mask = mask.repeat_interleave(self.n, 0)
        self.rows = len(self.mask)
        return logits_PV.repeat_interleave(self.n, 0)

    def advance(self, token_R: Tensor) -> Tensor:
        self.mask = torch.cat([self.mask, self.mask.new_ones(self.rows, 1)], 1)
        return self._pass(token_R[:, None], self.mask, self.mask.sum(1, keepdim=True) - 1)

    def _pass(self, ids: Tensor, mask: Tensor, position: Tensor) -> Tensor:
        out = self.model(
            ids,
            attention_mask=mask,
            position_ids=position,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return out.logits[:, -1].float()

    def leave(self, gone: Sequence[int]) -> list[int]:
        order = [r for r in range(self.rows) if r not in set(gone)]
        index = torch.tensor(order, dtype=torch.long, device=self.device)
        self.cache.batch_select_indices(index)
        self.mask, self.rows = self.mask[index], len(order)
        return order


def portions(prompts: Ids, tokens: int) -> list[list[Sequence[int]]]:
    """Prompts in order, in pieces of at most so many tokens."""
    parts: list[list[Sequence[int]]] = []
    total = 0
    for prompt in prompts:
        if not parts or total + len(prompt) > tokens:
            parts.append([])
            total = 0
        parts[-1].append(prompt)
        total += len(prompt)
    return parts


# --- which way ------------------------------------------------------------------------------------------------

Way = str  # "fast", "padded", "pools" or "anew"
_probed: WeakKeyDictionary[PreTrainedModel, Way] = WeakKeyDictionary()
_outgrown: WeakSet[PreTrainedModel] = WeakSet()  # models whose too short window was logged


def rows_for(model: PreTrainedModel, n: int, most: int, longest: int, limit: int, pad: int) -> Rows:
    """The fast implementation if the model supports it, else a slower one; the log says why, once per model."""
    if model not in _probed:
        _probed[model] = way(model, pad)
    if _probed[model] == "pools":
        return Pools(model, n, most)
    if _probed[model] == "anew":
        return Anew(model, n, most)
    if _probed[model] == "padded":
        return Padded(model, n, most, pad)
    window = narrowest(model)
    if window is not None and longest + limit > window:
        if model not in _outgrown:
            _outgrown.add(model)
            say(model, f"a sequence may come to {longest + limit} tokens, and some layer looks back on {window} alone")
        return Padded(model, n, most, pad)
    return Decoder(model, n, most, longest, limit)


def way(model: PreTrainedModel, pad: int) -> Way:
    """The first implementation that gives, on a few tokens, the same logits as a forward pass over whole sequences."""
    if has_state(model):
        if why := hindrance(model, pad, "pools"):
            log.info("sampling recomputes the sequence for every token of %s: %s", type(model).__name__, why)
        return "anew" if why else "pools"
    if not (why := hindrance(model, pad)):
        return "fast"
    if worse := hindrance(model, pad, "padded"):
        log.info("sampling recomputes the sequence for every token of %s: %s", type(model).__name__, worse)
        return "anew"
    say(model, why)
    return "padded"


def say(model: PreTrainedModel, why: str) -> None:
    log.info("sampling from %s uses padded rows, which is slower: %s", type(model).__name__, why)


def narrowest(model: PreTrainedModel) -> int | None:
    """The smallest attention window of any layer; it has no effect on sequences that are shorter."""
    windows = [getattr(module, "sliding_window", None) for module in model.modules()]
    return min((w for w in windows if isinstance(w, int)), default=None)


@torch.no_grad()
def hindrance(model: PreTrainedModel, pad: int, asked: Way = "fast", tolerance: float = 1e-3) -> str:
    """Why an implementation doesn't support this model, tested on a few tokens; empty if it does."""
    V = model.config.get_text_config().vocab_size
    prompts = [[1 % V, 2 % V, 3 % V], [4 % V]]
    training, whole = model.training, model
    model = trial_of(model).eval()
    try:
        made: dict[Way, Callable[[], Rows]] = {
            "fast": lambda: Decoder(model, 2, 2, 3, 3),
            "padded": lambda: Padded(model, 2, 2, pad),
            "pools": lambda: Pools(model, 2, 2),
        }
        tried, plain = made[asked](), Anew(model, 2, 2)
        a, b = tried.enter(prompts), plain.enter(prompts)
        for token in (5, 6):
            token_R = torch.tensor([token, 7, 8, 9], device=a.device) % V
            a, b = torch.cat([a, tried.advance(token_R)]), torch.cat([b, plain.advance(token_R)])
    except Exception as error:  # an architecture may fail in any way here; then a slower implementation is used
        return str(error) or type(error).__name__
    finally:
        whole.train(training)
    apart = float((a - b).abs().max() / b.std())
    return "" if apart <= tolerance else f"its logits differ by {apart:.1g} standard deviations"
