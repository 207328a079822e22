"""The estimate of a stage's time and memory before it starts, with advice where memory would not suffice.

Time is measured: one micro-batch forward and backward, and a few sampled tokens, with the real data and models; the
rest is extrapolated by FLOPs and token counts. Completions count at their maximal length, so the estimate of sampling
is an upper bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from scalpel.batch import Batch
from scalpel.config.plan import Stream
from scalpel.data.trajectory import Trajectory, completion
from scalpel.engine import CostMeter, Engine, Sampling
from scalpel.engine.activation_memory import SavedActivations, kept_twice
from scalpel.engine.cost_meter import span_flops
from scalpel.evaluation.number_words import duration
from scalpel.part import Bound
from scalpel.sources.context import SourceContext
from scalpel.training.known_gradient import steady
from scalpel.training.logprob_cache import keys_of
from scalpel.training.memory import MemoryEstimate, estimate_memory
from scalpel.training.mini_batches import mini_batch
from scalpel.training.run import TrainingRun
from scalpel.training.stage import StageRun
from scalpel.training.step import StepMetrics, backward, prepare
from scalpel.training.stream import StreamRun

ENOUGH = 2048  # padded tokens of a micro-batch that is timed, at most; larger ones are scaled from it
ROWS = 64  # samples that are drawn at once for the timing, at most
SHORT, LONG = 2, 10  # tokens sampled for it


@dataclass(frozen=True)
class Estimate:
    """A stage's cost. Numbers per step are means over the steps on one batch, where a batch is used several times."""

    steps: float
    seconds_a_step: float
    flops_a_step: float
    trained_a_step: float  # tokens
    sampled_a_step: float  # tokens, at most
    memory: MemoryEstimate
    before: float = 0.0  # seconds before the first step, for prompts that are selected by sampling
    further: float = 0.0  # additional seconds per step if adaptive sources sample as much as they may
    unasked: tuple[str, ...] = ()  # users' reward functions, whose time is unknown and not included

    @property
    def seconds(self) -> float:
        return self.before + self.steps * self.seconds_a_step

    @property
    def words(self) -> str:
        most = self.seconds + self.steps * self.further
        further = f" (up to {duration(most)} where little succeeds)" if most > 1.2 * self.seconds else ""
        sampled = f" and at most {self.sampled_a_step:,.0f} are sampled" if self.sampled_a_step else ""
        return (
            f"about {duration(self.seconds)}{further} for {self.steps:,.0f} steps, in each of which "
            f"{self.trained_a_step:,.0f} tokens are trained{sampled} ({self.steps * self.flops_a_step:.2g} operations "
            f"in all); {self.memory.words}{self.without}"
        )

    @property
    def without(self) -> str:
        if not self.unasked:
            return ""
        one = len(self.unasked) == 1
        return (
            f"; what reward{'' if one else 's'} {', '.join(self.unasked)} take{'s' if one else ''} comes on top, since "
            "no function of yours is called for this"
        )


@dataclass
class StreamCost:
    """The cost of one stream per step."""

    seconds: float = 0.0
    flops: float = 0.0
    trained: float = 0.0
    sampled: float = 0.0
    further: float = 0.0  # seconds, if it samples all that it may
    activations: float = 0.0


@dataclass
class DryRunSampler:
    """Replaces sampling and rewards for the estimate: it times a few tokens, and returns completions of maximal length
    that differ in their first token, every other one with a reward, so that sources that select samples find some."""

    engine: Engine
    sampling: Sampling
    rewards: int
    seconds: float = 0.0
    sampled: int = 0
    meter: CostMeter = field(default_factory=CostMeter)
    cache: float = 0.0
    given: SourceContext | None = None  # the last context that it replaced

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        n: int,
        seed: int,
        limits: Sequence[int] | None = None,
        writer: str = "policy",
        done: object = None,  # not called: these aren't completions
    ) -> list[list[Trajectory]]:
        with self.engine.acting_as(writer):
            return self.simulate(prompts, n, seed, limits)

    def simulate(
        self, prompts: Sequence[Sequence[int]], n: int, seed: int, limits: Sequence[int] | None
    ) -> list[list[Trajectory]]:
        few = list(prompts[: max(1, ROWS // n)])
        long = self.sampling.max_tokens
        ends = [long] * len(prompts) if limits is None else [min(limit, long) for limit in limits]
        first, second = (timed(partial(self.drawn, few, n, seed, min(t, long))) for t in (SHORT, LONG))
        each = max(second - first, 0.0) / max(min(LONG, long) - min(SHORT, long), 1)
        self.seconds += sum(first + each * (end - min(SHORT, end)) for end in ends) / len(few)
        lengths = [len(p) for p in prompts]
        self.meter.sampled(self.engine.model, lengths, [end for end in ends for _ in range(n)])
        self.sampled += n * sum(ends)
        at_once = min(self.engine.sample_rows, n * len(prompts))
        self.cache = max(self.cache, cache_bytes(self.engine, at_once * (max(lengths) + long)))
        drawn = [[self.other(p[-1], k, end) for k in range(n)] for p, end in zip(prompts, ends, strict=True)]
        return [[completion(p, ids) for ids in group] for p, group in zip(prompts, drawn, strict=True)]

    def other(self, token: int, k: int, length: int) -> list[int]:
        """The k-th completion of a prompt that ends in that token."""
        return [(token + k) % self.engine.model.config.get_text_config().vocab_size, *[token] * (length - 1)]

    def drawn(self, prompts: Sequence[Sequence[int]], n: int, seed: int, tokens: int) -> None:
        self.engine.sample(prompts, replace(self.sampling, max_tokens=tokens, stop=()), n, seed)

    def reward(self, examples: Any, samples: Sequence[Sequence[Trajectory]]) -> list[list[list[float]]]:
        return [[[float(k % 2 == 0)] + [0.0] * (self.rewards - 1) for k in range(len(group))] for group in samples]

    def hand(self, given: SourceContext) -> SourceContext:
        self.given = replace(given, sample=self.sample, reward=self.reward, on_trial=None, early=None)
        return self.given

    def most(self, source: Bound) -> int:
        """The maximal number of tokens that the source declares to sample; 0 if it declares none."""
        return source.part.samples(self.given, **source.at(0.0)) if source.part.samples and self.given else 0


def estimate(run: TrainingRun, stage: StageRun) -> Estimate:
    """The cost of a stage that has just been entered. The run's state is not changed."""
    with run.rollout.preserving_state():
        run.engine.model.train()
        spent = [of_stream(run, stage, stream) for stream in stage.streams]
        before = sum(of_selection(run, stage, stream) for stream in stage.streams)
    names = ("seconds", "flops", "trained", "sampled", "further")
    total = {name: sum(getattr(s, name) for s in spent) for name in names}
    tokens = total["trained"] + total["sampled"]
    budget, steps = stage.spec.budget, float(stage.spec.steps)
    if budget is not None:
        unit = {"flops": total["flops"], "tokens": tokens, "seconds": total["seconds"]}[budget.unit]
        steps = budget.amount / max(unit, 1e-9)
    sampling = [s.rewards for s, cost in zip(stage.streams, spent, strict=True) if cost.sampled]
    unasked = tuple(dict.fromkeys(name for rewards in sampling for name in rewards.users))
    memory = estimate_memory(run, stage, max(s.activations for s in spent))
    return Estimate(
        steps,
        total["seconds"],
        total["flops"],
        total["trained"],
        total["sampled"],
        memory,
        before,
        total["further"],
        unasked,
    )


def of_selection(run: TrainingRun, stage: StageRun, stream: StreamRun) -> float:
    """Seconds for a stream's selection of prompts, if that is still to come."""
    selection = stream.plan.select
    if selection is None or stream.selected is not None:
        return 0.0
    sampler = DryRunSampler(run.engine, run.rollout.sampling(stage.spec), len(stream.rewards.weight_K))
    selection(sampler.hand(run.rollout.context(stage, stream.examples, sampler.reward, 0, 0.0)))
    return sampler.seconds


def of_stream(run: TrainingRun, stage: StageRun, stream: StreamRun) -> StreamCost:
    """The cost of a stream: simulated sampling, and one timed micro-batch scaled to the whole batch by FLOPs."""
    engine, plan = run.engine, stream.plan
    sampler = DryRunSampler(engine, run.rollout.sampling(stage.spec), len(stream.rewards.weight_K))
    batch = run.rollout.draw(stage, stream, 0, 0, 0.0, sampler.hand)
    sampled, drawn = max(sampler.sampled, sampler.most(plan.source)), drawn_share(stage, plan)
    spent = StreamCost(
        seconds=sampler.seconds * drawn,
        flops=sampler.meter.flops * drawn,
        trained=float(batch.train_N.sum()) / plan.mini_batches,
        sampled=sampled * drawn,
        further=sampler.seconds * (sampled / max(sampler.sampled, 1) - 1) * drawn,
        activations=sampler.cache,
    )
    if not spent.trained:
        return spent
    part = batch.pick(timed_part(engine, plan, batch, stage.spec.accumulation))
    scale = work(engine, batch) / work(engine, part)
    saved = SavedActivations(engine.model)
    with saved.counting():
        once(engine, plan, part)
    engine.meter = CostMeter()
    preparing = timed(lambda: prepare(engine, plan, part, 0.0))
    ready, prepared = prepare(engine, plan, part, 0.0), engine.meter.flops / 2
    often = scored_share(stage, stream, part)
    training = timed(lambda: backward(engine, plan, ready, 0.0, 1, StepMetrics()))
    trained = engine.meter.flops - 2 * prepared
    # forward passes of corruptions that need outputs
    passes = sum(bool(c.declared("needs")) for c in plan.corrupt) * drawn
    corrupting = passes * timed(lambda: engine.score(part)) if passes else 0.0
    part_of_step = mini_batch(batch, 0, plan.mini_batches)
    pieces = [part_of_step.pick(s) for s in engine.micro(part_of_step, plan.unit, stage.spec.accumulation)]
    widest, most = max(map(engine.size, pieces)), max(int(piece.train_N.sum()) for piece in pieces)
    logits = engine.head_bytes(most, plan.needs(0.0), steady(plan, ready, 0.0))
    kept = saved.bytes * widest / engine.size(part)
    if engine.activations.kept * widest > engine.activations.available:
        kept = kept_twice(engine.model, engine.activations.kept) * widest
    return replace(
        spent,
        seconds=spent.seconds + scale * (preparing * often + training / plan.mini_batches + corrupting),
        flops=spent.flops + scale * (prepared * often + trained / plan.mini_batches) + passes * work(engine, batch),
        activations=max(kept + logits, sampler.cache),
    )


def drawn_share(stage: StageRun, stream: Stream) -> float:
    """The share of steps in which a batch is drawn; the last batch is drawn whole, even if the stage ends within it."""
    steps, each = stage.spec.steps, stream.steps_per_batch
    return 1 / each if stage.spec.budget else -(-steps // each) / steps


def scored_share(stage: StageRun, stream: StreamRun, batch: Batch) -> float:
    """The share of steps in which a batch is scored beforehand: the first of its updates; with a reference's cached
    log-probs on fixed data, only steps of the first epoch."""
    plan = stream.plan
    if stage.spec.budget or plan.steps_per_batch > 1 or not all(keys_of(batch)):
        return drawn_share(stage, plan)
    return min(1.0, len(stream.examples) / (plan.batch * stage.spec.steps))


def once(engine: Engine, stream: Stream, batch: Batch) -> None:
    backward(engine, stream, prepare(engine, stream, batch, 0.0), 0.0, 1, StepMetrics())


def timed_part(engine: Engine, stream: Stream, batch: Batch, accumulation: int) -> Tensor:
    """The sequences of one micro-batch, small enough to be timed quickly."""
    limit, engine.micro_tokens = engine.micro_tokens, min(engine.micro_tokens, ENOUGH)
    try:
        pieces = engine.micro(batch, stream.unit, accumulation)
    finally:
        engine.micro_tokens = limit
    return next(p for p in pieces if bool(batch.pick(p).train_N.any()))


def work(engine: Engine, batch: Batch) -> float:
    return span_flops(engine.model, engine.layout(batch).spans)


def cache_bytes(engine: Engine, tokens: int) -> float:
    """Bytes of the KV cache for that many tokens."""
    config = engine.model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2.0 * config.num_hidden_layers * heads * width * tokens * (2 if engine.precision == "bfloat16" else 4)


def timed(run: Callable[[], Any]) -> float:
    """Seconds of a call, including the GPU kernels that it launched, which run asynchronously."""
    start = perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return perf_counter() - start
