"""Batches and outputs that feed any part: groups of a preferred, a rejected and a mismatched sequence, with every
readable field filled, or only those that a part declares."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

import scalpel.anchors
import scalpel.credits
import scalpel.objectives
import scalpel.scopes
import scalpel.sources  # noqa: F401
import tiny
from scalpel.batch import DEMONSTRATION, ENVIRONMENT, POLICY, Batch, Row, pack
from scalpel.data.example import Example
from scalpel.data.tokenized import Tokenized
from scalpel.data.tokenizer import Tokens
from scalpel.data.trajectory import completion
from scalpel.engine import Engine, Sample, Sampling
from scalpel.keep import write_documents
from scalpel.part import Bound, HeadTerm, Out, bind
from scalpel.registry import AXES
from scalpel.sources.context import SourceContext
from scalpel.training.step import clean, filled

READ = {
    "old": "old_N",
    "old_value": "old_value_N",
    "reference": "reference_N",
    "behaviour": "behaviour_N",
    "reward": "reward_SK",
}


def parts(axis: str) -> list[Any]:
    """Each part of an axis with its defaults, and with every set of hyper-parameters that its limits name."""
    variants = []
    for name, part in sorted(AXES[axis].items()):
        hypers: list[dict[str, Any]] = [{}]
        for *_, hyper, _ in part.limits() if part.limits else ():
            hypers += [] if hyper in hypers else [hyper]
        variants += [bind(axis, name, **hyper) for hyper in hypers]
    return variants


def label(bound: Bound) -> str:
    plain = {k: p.default for k, p in bound.part.schema.items()}
    return "-".join([bound.part.name, *(f"{k}={v}" for k, v in bound.hyper.items() if plain[k] != v)])


def batch(groups: int = 3, seed: int = 0, dtype: torch.dtype = torch.float64) -> Batch:
    """Sequences of three to nine tokens; within an answer some tokens belong to the environment."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for g in range(groups):
        for k, mark in enumerate((1, -1, 0)):
            n = int(torch.randint(3, 10, (), generator=generator))
            train = [False, *(t % 4 != 2 for t in range(1, n - 1)), True]
            shown = DEMONSTRATION if k == 0 else POLICY
            author = [shown if trained else ENVIRONMENT for trained in train]
            reward = [float(torch.rand((), generator=generator)), float(k)]
            rows.append(Row(range(7, 7 + n), train, author, group=g, label=mark, rewards=reward))
    made = pack(rows)
    noise = partial(torch.randn, made.N, generator=generator, dtype=dtype)
    return replace(
        made,
        reward_SK=None if made.reward_SK is None else made.reward_SK.to(dtype),
        credit_N=torch.where(made.train_N, noise(), 0.0),
        old_N=-noise().abs(),
        old_value_N=noise(),
        reference_N=-noise().abs(),
        reward_N=torch.where(made.train_N, 0.1 * noise(), 0.0),
        behaviour_N=-noise().abs(),
    )


def numbers(batch: Batch, bound: Bound, seed: int = 1, dtype: torch.dtype = torch.float64) -> dict[Any, Tensor]:
    """A leaf tensor for each output that the part needs, log-probs always; filled off the trained tokens as well."""
    generator = torch.Generator().manual_seed(seed)
    made: dict[Any, Tensor] = {}
    for need in sorted({"logp", *bound.declared("needs")}, key=str):
        shape = (batch.N, 1) if need == "value" else (batch.N,)
        x = torch.randn(shape, generator=generator, dtype=dtype)
        made[need] = (-x.abs() if need == "logp" else x if need == "value" else x.abs()).requires_grad_()
    return made


def out(x: dict[Any, Tensor]) -> Out:
    terms = {need: value for need, value in x.items() if isinstance(need, HeadTerm)}
    return Out(x["logp"], x.get("entropy"), x.get("argmax"), x.get("value"), terms)


def only_declared(batch: Batch, bound: Bound) -> Batch:
    """The batch without the fields that the part doesn't say it reads."""
    hidden: dict[str, Any] = {field: None for read, field in READ.items() if read not in bound.declared("reads")}
    return replace(batch, **hidden, **({} if "reward" in bound.declared("reads") else {"reward_N": None}))


def call(bound: Bound, x: dict[Any, Tensor], batch: Batch, stat: Any = None) -> Any:
    """The part as the loop calls it: outputs cleaned, old ones filled in, the step's statistic handed over."""
    cleaned = clean(out(x), batch)
    ready = filled(batch, cleaned)
    handed = {"stat": statistic(bound, x, batch) if stat is None else stat} if bound.part.statistic else {}
    return bound(cleaned, ready, **handed)


def statistic(bound: Bound, x: dict[Any, Tensor], batch: Batch) -> Any:
    if bound.part.statistic is None:
        return None
    with torch.no_grad():
        cleaned = clean(out(x), batch)
        return bound.part.statistic(cleaned, filled(batch, cleaned), **bound.at(0.0))


def picked(x: dict[Any, Tensor], batch: Batch, index_s: Tensor) -> tuple[dict[Any, Tensor], Batch]:
    """Outputs and batch of these sequences, in this order."""
    places = torch.cat([(batch.seq_N == s).nonzero()[:, 0] for s in index_s.tolist()])
    return {need: value[places] for need, value in x.items()}, batch.pick(index_s)


def same(a: Batch, b: Batch) -> bool:
    """Whether two batches hold the same tensors."""
    pairs = [(getattr(a, f.name), getattr(b, f.name)) for f in fields(a)]
    return all(torch.equal(x, y) for x, y in pairs if isinstance(x, Tensor) and isinstance(y, Tensor))


EXAMPLES = [
    Example("ab", " cdef", "cdef", chosen=" cd", rejected=" ef", label=True, id="0"),
    Example("x", " y", "y", chosen=" y", rejected=" why", label=False, id="1"),
    Example("12+", " 34567890", "34567890", chosen=" 34", rejected=" 5", label=True, id="2"),
]


def engine(kind: str = "llama", seed: int = 0, **others: int) -> Engine:
    """A tiny policy; `others` are models by role with a seed of their own."""
    beside = {role: tiny.model(kind, s).requires_grad_(False) for role, s in others.items()}
    return Engine(tiny.model(kind, seed), Tokens(tiny.tokenizer()), others=beside)


def ended(sample: Sample) -> Sample:
    """Half of the samples stop by themselves; a random model hardly ever would."""
    if sample.finished or sample.ids[0] % 2:
        return sample
    return Sample([*sample.ids[:-1], 3], sample.logp, finished=True)


def uneven(context: SourceContext) -> SourceContext:
    """The same material, its samples cut to two to eight tokens each: a random model stops hardly ever."""

    def sample(prompts, n, seed, limits=None, writer="policy"):
        groups = context.sample(prompts, n, seed, limits, writer)
        lengths = [[2 + (3 * p + 5 * k) % 7 for k in range(n)] for p in range(len(groups))]
        return [
            [
                completion(s.prompt_ids, s.ids[:n], s.behaviour[:n], temperature=s.segments[0].temperature)
                for s, n in zip(*pair, strict=True)
            ]
            for pair in zip(groups, lengths, strict=True)
        ]

    return replace(context, sample=sample)


def written(policy: Engine, seed: int, n: int, max_tokens: int, temperature: float, begin: Any) -> list[Tokenized]:
    """Fewer and shorter texts than asked, so that a test of a random model is quick."""
    return write_documents(policy, min(n, 6), max_tokens=min(max_tokens, 8), begin=begin, seed=seed)


def context(
    policy: Engine,
    examples: list[Example] = EXAMPLES,
    seed: int = 5,
    max_tokens: int = 8,
    temperature: float = 1.0,
    **changes: Any,
) -> SourceContext:
    """A step's material; a sample is rewarded by its parity, so that right and wrong ones are plenty."""
    sampling = Sampling(max_tokens=max_tokens, temperature=temperature)

    def sample(prompts, n, seed, limits=None, writer="policy"):
        with policy.acting_as(writer):
            groups = policy.sample(prompts, sampling, n, seed, limits)
        return [[ended(s).behind(p, sampling.scale) for s in group] for p, group in zip(prompts, groups, strict=True)]

    def fit(rendered: Tokenized, example: Example | None = None) -> Tokenized:
        return rendered

    given = dict(
        examples=examples,
        seed=seed,
        progress=0.5,
        tokens=policy.tokens,
        sample=sample,
        reward=lambda examples, samples: [[[float(sum(s.ids) % 2)] for s in group] for group in samples],
        fit=fit,
        max_tokens=max_tokens,
        written=partial(written, policy, seed),
    )
    return SourceContext(**{**given, **changes})
