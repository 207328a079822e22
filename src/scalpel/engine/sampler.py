"""Sampling with continuous batching: prompts are prefilled as rows become free, each row gets a token per step, and
finished rows are removed."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from scalpel.engine.decoders import Rows
from scalpel.engine.sampling_request import Request, Sample
from scalpel.engine.token_draw import choose, entropies, uniforms

REFILL = 8  # rows are refilled when 1/8 of them are free: a prefill pass for one prompt alone costs too much


class Sampler:
    """Samples the completions of a request, with all rows decoded together."""

    def __init__(self, rows: Rows, request: Request) -> None:
        self.rows, self.request = rows, request
        prompts, n = request.prompts, request.n
        self.samples = [[Sample() for _ in range(n)] for _ in prompts]
        self.open = [n] * len(prompts)  # samples of each prompt that are still being written
        # long prompts first: the buffer for prompts is as long as the longest present one, so it can shrink later
        self.waiting = deque(sorted(range(len(prompts)), key=lambda p: -len(prompts[p])))
        self.under_way: list[tuple[int, int]] = []  # (prompt, sample) of each row
        self.uniforms: dict[tuple[int, int], list[float]] = {}

    @torch.no_grad()
    def run(self) -> list[list[Sample]]:
        logits_RV: Tensor | None = None
        while self.waiting or self.under_way:
            entered = self.enter()
            parts = [x for x in (logits_RV, entered) if x is not None]
            token_R = self.write(parts[0] if len(parts) == 1 else torch.cat(parts))
            gone = [r for r, (p, k) in enumerate(self.under_way) if self.over(p, k)]
            if gone:
                order = self.rows.leave(gone)
                self.close([self.under_way[r] for r in gone])
                self.under_way = [self.under_way[r] for r in order]
                token_R = token_R[torch.tensor(order, dtype=torch.long, device=token_R.device)]
            logits_RV = self.rows.advance(token_R) if self.under_way else None
        return self.samples

    def enter(self) -> Tensor | None:
        """Prefills prompts if enough rows are free, and returns their first logits."""
        request, n = self.request, self.request.n
        free = min(self.rows.free_rows(), len(self.waiting))
        if not free or (self.under_way and free < len(self.waiting) and free * n * REFILL < len(self.under_way)):
            return None
        chosen = [self.waiting.popleft() for _ in range(free)]
        for row in [(p, k) for p in chosen for k in range(n)]:
            self.under_way.append(row)
            if request.sampling.temperature:
                self.uniforms[row] = uniforms(request.seed, row[0] * n + row[1], request.sampling.max_tokens)
        return self.rows.enter([request.prompts[p] for p in chosen])

    def write(self, logits_RV: Tensor) -> Tensor:
        """Draws a token for every row, and appends it to the row's sample."""
        sampling, written = self.request.sampling, [self.samples[p][k] for p, k in self.under_way]
        device = logits_RV.device
        exact = torch.device("cpu") if device.type == "mps" else device  # MPS has no float64 to draw in
        u = [self.uniforms[row][len(s.ids)] for row, s in zip(self.under_way, written, strict=True) if self.uniforms]
        u_R = torch.tensor(u, dtype=torch.float64, device=exact)
        token_R, logp_R = choose(logits_RV.to(exact), u_R, sampling)
        for sample, token, logp in zip(written, token_R.tolist(), logp_R.tolist(), strict=True):
            sample.ids.append(token)
            sample.logp.append(logp)
        if sampling.entropy:
            for sample, entropy in zip(written, entropies(logits_RV, sampling.temperature).tolist(), strict=True):
                sample.entropy += entropy
        return token_R.to(device)

    def over(self, p: int, k: int) -> bool:
        sample = self.samples[p][k]
        sample.finished = self.request.stops.end(sample.ids)
        return sample.finished or len(sample.ids) == self.request.limits[p]

    def close(self, rows: Sequence[tuple[int, int]]) -> None:
        for p, k in rows:
            self.uniforms.pop((p, k), None)
            self.open[p] -= 1
            if not self.open[p]:
                self.request.done(p, self.samples[p])
