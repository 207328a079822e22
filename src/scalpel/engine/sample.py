"""Sampling: each prompt is prefilled once, its samples start from that cache, finished rows leave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from scalpel.engine.forward import device_of


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. `temperature` 0 takes the most likely token; `top_k` 0 and `top_p` 1 are off;
    a completion ends after a stop token, or once it contains one of the `stop` strings."""

    max_tokens: int = 64
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    stop: tuple[str, ...] = ()


@dataclass
class Sample:
    """A completion: its ids (the stop token included), their log-probs under the untempered policy, and
    whether it ended by itself."""

    ids: list[int] = field(default_factory=list)
    logp: list[float] = field(default_factory=list)
    finished: bool = False


def uniforms(seed: int, row: int, length: int) -> Tensor:
    """The random numbers [length] of one row: they depend on (seed, row, position) and on nothing else."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + row * 7919 + 12345) % (2**63 - 1))
    return torch.rand(length, generator=generator, dtype=torch.float64)


def draw(logits_RV: Tensor, u_R: Tensor, sampling: Sampling) -> Tensor:
    """One token a row by inversion: the first v whose cumulative probability exceeds u."""
    if sampling.temperature == 0:
        return logits_RV.argmax(-1)
    logits_RV = logits_RV / sampling.temperature
    if sampling.top_k:
        kth_R1 = logits_RV.topk(min(sampling.top_k, logits_RV.shape[1])).values[:, -1:]
        logits_RV = logits_RV.masked_fill(logits_RV < kth_R1, -torch.inf)
    p_RV = logits_RV.double().softmax(-1)
    if sampling.top_p < 1:
        sorted_RV, order_RV = p_RV.sort(descending=True)
        outside_RV = sorted_RV.cumsum(-1) - sorted_RV >= sampling.top_p
        p_RV = p_RV.masked_fill(outside_RV.scatter(1, order_RV, outside_RV), 0.0)
    cdf_RV = p_RV.cumsum(-1)
    # the last token with any probability bounds the draw against rounding at the upper end
    last_R = p_RV.shape[1] - 1 - (p_RV > 0).flip(1).int().argmax(1)
    token_R = torch.searchsorted(cdf_RV, (u_R * cdf_RV[:, -1])[:, None], right=True)[:, 0]
    return torch.minimum(token_R, last_R)


def left_padded(prompts: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Prompts [P, L] padded on the left, and their mask."""
    length = max(map(len, prompts))
    ids_PL = torch.tensor([[pad] * (length - len(p)) + list(p) for p in prompts], device=device)
    mask_PL = torch.tensor([[0] * (length - len(p)) + [1] * len(p) for p in prompts], device=device)
    return ids_PL, mask_PL


class Decoder:
    """Rows under way: the cache, the mask, and which sample each row fills."""

    def __init__(self, model: PreTrainedModel, prompts: Sequence[Sequence[int]], n: int, pad: int) -> None:
        device = device_of(model)
        self.model, self.n = model, n
        ids_PL, mask_PL = left_padded(prompts, pad, device)
        self.position = mask_PL.sum(1).repeat_interleave(n)
        self.mask = mask_PL.repeat_interleave(n, 0)
        self.cache = DynamicCache(config=model.config)
        self.logits_RV = self.forward(ids_PL, mask_PL, (mask_PL.cumsum(1) - 1).clamp(min=0))
        if n > 1:
            self.cache.batch_repeat_interleave(n)
            self.logits_RV = self.logits_RV.repeat_interleave(n, 0)
        self.alive = list(range(len(prompts) * n))

    def forward(self, ids: Tensor, mask: Tensor, position: Tensor) -> Tensor:
        out = self.model(
            ids,
            attention_mask=mask,
            position_ids=position,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return out.logits[:, -1].float()

    def advance(self, token_R: Tensor, keep: list[int]) -> None:
        """Feeds the tokens just drawn, for the rows that go on."""
        if len(keep) < len(self.alive):
            index = torch.tensor(keep, device=token_R.device)
            self.cache.batch_select_indices(index)
            self.mask, self.position, token_R = self.mask[index], self.position[index], token_R[index]
            self.alive = [self.alive[k] for k in keep]
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.alive), 1)], 1)
        self.logits_RV = self.forward(token_R[:, None], self.mask, self.position[:, None])
        self.position = self.position + 1


def holds(text: str, stops: Sequence[str]) -> bool:
    """Whether one of the stop strings is in the text. The last token may bring more than the end of it."""
    return any(stop in text for stop in stops)


@torch.no_grad()
def sample_chunk(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    rows: Sequence[int],
    sampling: Sampling,
    n: int,
    seed: int,
    stop_ids: frozenset[int],
    pad: int,
    decode: Callable[[Sequence[int]], str],
) -> list[Sample]:
    """Samples of a few prompts, n each, in order; `rows` are the random-number rows of the samples."""
    decoder = Decoder(model, prompts, n, pad)
    samples = [Sample() for _ in rows]
    device = decoder.mask.device
    exact = torch.device("cpu") if device.type == "mps" else device  # MPS has no float64 to draw in
    u_RT = torch.stack([uniforms(seed, r, sampling.max_tokens) for r in rows]).to(exact)
    for t in range(sampling.max_tokens):
        token_R = draw(decoder.logits_RV.to(exact), u_RT[decoder.alive, t], sampling).to(device)
        logp_R = decoder.logits_RV.log_softmax(-1).gather(1, token_R[:, None])[:, 0]
        keep = []
        for k, (r, token, logp) in enumerate(zip(decoder.alive, token_R.tolist(), logp_R.tolist(), strict=True)):
            samples[r].ids.append(token)
            samples[r].logp.append(logp)
            ended = token in stop_ids or (sampling.stop and holds(decode(samples[r].ids), sampling.stop))
            samples[r].finished = bool(ended)
            if not ended:
                keep.append(k)
        if not keep or t + 1 == sampling.max_tokens:
            break
        decoder.advance(token_R, keep)
    return samples
