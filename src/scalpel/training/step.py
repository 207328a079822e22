"""The loss and gradients of one optimiser step. Parts are known only by what they declare."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from scalpel.batch import POLICY, Batch
from scalpel.config.plan import Signal, Stream
from scalpel.distributed.passes import equally_many
from scalpel.distributed.reduce import ranks, sum_over_ranks
from scalpel.engine import Engine
from scalpel.part import Bound, Metrics, Out, mean_of, scheduled
from scalpel.training.known_gradient import known_slope
from scalpel.training.logprob_cache import LogprobCache
from scalpel.training.zero_credit import CreditedPart, credited_part

Factor = Callable[[Bound, str], float]  # the factor of a part's loss on a signal; a retention floor changes it


def unsteered(p: Bound, signal: str) -> float:
    return 1.0


class NonFiniteLoss(RuntimeError):
    """The loss or its gradient became NaN or infinite; the weights are still those before the step."""


@dataclass
class StepMetrics:
    """Metrics of a whole step: sums and counts, added over micro-batches and divided once. Metrics for parts that
    declare `follow` are kept separately, by part."""

    sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    counts: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    own: dict[Bound, StepMetrics] = field(default_factory=dict)
    rows: dict[Bound, list[tuple[Mapping[str, Any], float]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, prefix: str, metrics: Metrics) -> None:
        for name, (total, count) in metrics.items():
            self.sums[prefix + name] += float(total)
            self.counts[prefix + name] += float(count)

    def add_for(self, p: Bound, metrics: Metrics) -> None:
        """Adds metrics that a part gets at the end of the step, if it declares `follow`."""
        if p.part.follow is not None:
            self.own.setdefault(p, StepMetrics()).add("", metrics)

    def add_rows(self, source: Bound, batch: Batch, out: Out) -> None:
        """Adds what a source with `follow` gets about its sequences: their columns, and the sum of each one's head
        terms (or of −log p, where there are none)."""
        if source.part.follow is None or not batch.columns:
            return
        came_N = sum((x for x in out.terms.values() if x.dim() == 1), torch.zeros_like(out.logp_N))
        came_S = batch.sum_S((came_N if out.terms else -out.logp_N).detach())
        self.rows[source] += zip(batch.columns, came_S.tolist(), strict=True)

    def reduce(self) -> None:
        """Adds what all other ranks found, before anything is divided. Which parts have metrics of their own, and in
        which order, is the same on every rank, since all of them run one plan."""
        tables = [self, *self.own.values()]
        flat = {(k, "sums", name): x for k, table in enumerate(tables) for name, x in table.sums.items()}
        flat |= {(k, "counts", name): x for k, table in enumerate(tables) for name, x in table.counts.items()}
        for (k, kind, name), x in sum_over_ranks(flat).items():
            getattr(tables[k], kind)[name] = x

    def means(self) -> dict[str, float]:
        return {name: self.sums[name] / self.counts[name] for name in self.sums if self.counts[name]}

    def means_for(self, p: Bound) -> dict[str, float]:
        return self.own[p].means() if p in self.own else {}


def clean(out: Out, batch: Batch) -> Out:
    """The outputs with zeros at untrained tokens. By `where` and not by multiplication, since NaN · 0 is NaN, and a NaN
    must reach neither loss nor gradient."""

    def keep(x: Any) -> Any:
        return None if x is None else torch.where(batch.train_N.view(-1, *[1] * (x.dim() - 1)), x, 0)

    terms = {term: keep(x) for term, x in out.terms.items()}
    return Out(keep(out.logp_N), keep(out.entropy_N), keep(out.argmax_N), keep(out.value_NK), terms)


def filled(batch: Batch, out: Out) -> Batch:
    """The batch with old log-probs and values; before the first update on it they are the current ones, detached."""
    old_N = out.logp_N.detach() if batch.old_N is None else batch.old_N
    old_value_N = batch.old_value_N
    if old_value_N is None and out.value_NK is not None:
        old_value_N = out.value_NK[:, 0].detach()
    return replace(batch, old_N=old_N, old_value_N=old_value_N)


@dataclass(frozen=True)
class StepContext:
    """The context in which the losses of one stream are computed during an optimiser step."""

    stream: Stream
    progress: float
    counts: Mapping[Bound, float]  # the divisor of each loss, over the whole step
    statistics: Mapping[Bound, Any]  # of the parts that couple the whole step
    factor: Factor = unsteered

    def call(self, p: Bound, out: Out, batch: Batch) -> Any:
        handed = {"stat": self.statistics[p]} if p in self.statistics else {}
        return p(out, batch, progress=self.progress, **handed)

    def credited(self, signal: Signal, known_N: Tensor, out: Out, batch: Batch) -> Batch:
        """The batch with the product of the signal's credits: those known beforehand, and those that read outputs."""
        credit_N = known_N
        with torch.no_grad():
            for p in signal.credits:
                if p.waits(self.progress):
                    credit_N = credit_N * self.call(p, out.detach(), batch)
        return replace(batch, credit_N=torch.where(batch.train_N, credit_N, 0.0))

    def loss(self, batch: Batch, known: Sequence[Tensor], out: Out, metrics: StepMetrics) -> Tensor:
        """The weighted sum of the stream's losses on a micro-batch, each over its count; their metrics are added.
        `known` are the credits that read nothing but the batch, one tensor a signal."""
        batch, loss = filled(batch, out), torch.zeros((), device=out.logp_N.device)
        for signal, known_N in zip(self.stream.signals, known, strict=True):
            ready = self.credited(signal, known_N, out, batch)
            weight = scheduled(signal.weight, self.progress)
            prefix = f"{signal.name}/" if signal.name else ""
            for p in signal.losses:
                # `share` is a sum over this micro-batch, and the count that of the whole step, so the losses of all
                # micro-batches add up to the mean, however the batch is split. A mean per micro-batch would weight
                # tokens of short micro-batches more. If the count is 0, so is the sum: the bound only avoids 0 / 0.
                share, found = self.call(p, out, ready)
                loss = loss + self.factor(p, signal.name) * weight * share / max(self.counts[p], 1e-8)
                metrics.add(prefix, found)
                metrics.add_for(p, found)
        return loss


def step_context(engine: Engine, stream: Stream, batch: Batch, progress: float, factor: Factor) -> StepContext:
    """Counts over the whole batch, of all ranks, and the statistics of parts that couple the step, from a pass without
    gradients."""
    losses = [p for signal in stream.signals for p in signal.losses]
    summed = sum_over_ranks({k: p.count(batch, progress) for k, p in enumerate(losses)})
    counts = {p: summed[k] for k, p in enumerate(losses)}
    asking = [p for p in stream.parts if p.part.couples == "step"]
    if asking and ranks() > 1:
        raise ValueError(
            f"{asking[0].part.axis} {asking[0].part.name!r} compares all sequences of a step, which lie on {ranks()} "
            "processes here: train it in one process"
        )
    if not asking:
        return StepContext(stream, progress, counts, {}, factor)
    needs = frozenset().union(*(p.declared("needs", progress) for p in asking))
    batch = batch.to(engine.device)
    out = clean(engine.score(batch, needs=needs), batch)
    whole = filled(batch, out)
    found = {p: p.part.statistic(out, whole, **p.at(progress)) for p in asking if p.part.statistic}
    return StepContext(stream, progress, counts, found, factor)


def backward(
    engine: Engine,
    stream: Stream,
    batch: Batch,
    progress: float,
    accumulation: int,
    metrics: StepMetrics,
    factor: Factor = unsteered,
) -> float:
    """Adds the gradients of a stream's signals on one batch and returns its loss. Each loss is divided by the
    count that its part declares for the whole batch, so that the split into micro-batches doesn't matter."""
    context = step_context(engine, stream, batch, progress, factor)
    needs, total = stream.needs(progress), 0.0
    trains = bool(batch.train_N.any())  # a rank takes part in the others' passes even where its own share is empty
    left = credited_part(stream, batch, progress) if trains else CreditedPart(batch, ())
    if stream.vanishing(progress):
        metrics.add("", {"tokens_left_out_share": (torch.tensor(left.left_out), float(batch.train_N.sum()))})
    pieces = engine.micro(left.batch, stream.unit, accumulation) if trains else []
    for micro, known in equally_many(engine, left.pieces(pieces, engine.device), len(pieces), needs):
        loss_of = partial(context.loss, micro, known)
        slope_N = known_slope(stream, micro, progress, partial(loss_of, metrics=StepMetrics()))
        out = clean(engine.forward(micro, needs, slope_N), micro)
        loss = loss_of(out, metrics)
        metrics.add_rows(stream.source, micro, out)
        add_of_pass(metrics, stream, micro, out, progress)
        if not torch.isfinite(loss):
            raise NonFiniteLoss(f"the loss is {float(loss.detach())} on {described(engine, micro)}")
        if loss.requires_grad:
            loss.backward()
        total += float(loss.detach())
    return total


def add_of_pass(metrics: StepMetrics, stream: Stream, batch: Batch, out: Out, progress: float) -> None:
    """Adds metrics of the forward pass: entropy, and staleness (mean log-ratio of the behaviour policy to the
    present)."""
    if out.entropy_N is not None:
        metrics.add("", {"entropy": (out.entropy_N.detach().sum(), float(batch.train_N.sum()))})
    if "behaviour" in stream.reads(progress) and batch.behaviour_N is not None:
        drawn_N = batch.train_N & (batch.author_N == POLICY)
        old_N = out.logp_N if batch.old_N is None else batch.old_N
        metrics.add("", {"staleness": mean_of(batch.behaviour_N - old_N, drawn_N)})


def described(engine: Engine, batch: Batch) -> str:
    """A description of the batch: its size, and the beginning of its first sequences."""
    texts = [engine.tokens.text(batch.ids_N[batch.seq_N == s].tolist())[:60] for s in range(min(batch.S, 3))]
    return f"a batch of {batch.S} sequences that begins with {', '.join(map(repr, texts))}"


def prepare(
    engine: Engine, stream: Stream, batch: Batch, progress: float, remembered: LogprobCache | None = None
) -> Batch:
    """Adds what is scored once per batch: the reference's log-probs, unless they are cached, and old log-probs if the
    batch is used for several steps."""
    if not bool(batch.train_N.any()):
        return batch
    reads = stream.reads(progress)
    if "reference" in reads:
        remembered = LogprobCache(most=0) if remembered is None else remembered
        reference_N = remembered.logps(batch, lambda new: engine.score(new, "reference").logp_N)
        batch = replace(batch, reference_N=reference_N)
    if stream.steps_per_batch > 1 and reads & {"old", "old_value"}:
        out = engine.score(batch, needs={"value"} if "old_value" in reads else set())
        value_N = None if out.value_NK is None else out.value_NK[:, 0].cpu()
        batch = replace(batch, old_N=out.logp_N.cpu(), old_value_N=value_N)
    return batch


def parameter_penalty(
    anchors: tuple[Bound, ...],
    now: Mapping[str, Tensor],
    at: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]],
    home: Mapping[str, Tensor],
    progress: float,
    step_metrics: StepMetrics,
    factor: Factor = unsteered,
) -> float:
    """Adds the gradients of anchors on parameters, once per optimiser step, to those that were gathered. `at` maps
    whole weights to their trainable entries."""
    total = 0.0
    for p in anchors:
        weighed = {"state": at(p.memory.state)} if p.part.weigh else {}
        penalty, metrics = p(now, at(home), progress=progress, **weighed)
        penalty = factor(p, "") * penalty
        penalty.backward()
        step_metrics.add("", metrics)
        total += float(penalty.detach())
    return total


def outlook(batch: Batch) -> Metrics:
    """Metrics of a batch that need no forward pass: rewards, their spread, lengths."""
    metrics: Metrics = {"tokens_trained_share": mean_of(batch.train_N.float())} if batch.N else {}
    if batch.reward_SK is None or not batch.S:
        return metrics
    first_E, _ = batch.episodes()
    std_E = batch.group_moments(batch.reward_S)[1][first_E]
    return metrics | {
        "reward": mean_of(batch.reward_S[first_E]),
        "reward_std": mean_of(std_E),
        "reward/equal_groups": mean_of((std_E == 0).float()),
        "completion_length": mean_of(batch.episode_sum(batch.length_S)[first_E]),
    }
