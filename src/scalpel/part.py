"""What a part of an axis declares beside its function, and how it is bound to hyper-parameters.

A part is a pure function `f(out, batch, *, …)`; its keyword-only arguments are its schema in the recipe, and
their defaults are the vetted ones. Everything else that the loop must know is declared here, so that the loop
needs no part's name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import cos, pi
from typing import Any, Literal

import torch
from torch import Tensor

from scalpel.batch import Batch
from scalpel.registry import lookup, register

Unit = Literal["token", "sequence", "pair", "group", "step"]
Rows = Sequence[tuple[Mapping[str, Any], float]]  # for each sequence its columns, and what it came to
Metrics = dict[str, tuple[Tensor, Tensor | float]]  # name → (sum, count); the loop adds both, then divides


@dataclass(frozen=True)
class HeadTerm:
    """A number per token that needs the whole distribution over the vocabulary: a registered pure function of logits
    that runs inside the engine, with the logits of another model (`other`: reference, teacher, …) at the same
    positions if it names one."""

    name: str
    other: str | None = None
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class OwnedHead(HeadTerm):
    """A number per token that an owned module computes from the hidden state before the token; `name` is the module's
    name in `owns`. It is separate from `value`, so a part may have its own head beside a value head.

    With `after` it is computed from the hidden state at the token itself. A reward model needs that: its score depends
    on the whole text, including the last token.
    """

    after: bool = False


PARTS = ("selection", "source", "corruption", "credit", "objective", "scope", "anchor")  # axes of which they are
Need = str | HeadTerm  # "logp" | "entropy" | "argmax" | "value" | HeadTerm
HANDED = ("stat", "state", "mask_id", "seed", "out")  # keywords that the loop fills in, not the recipe
READABLE = ("old", "old_value", "reference", "behaviour", "reward", "label", "pair", "demonstration", "progress")


@dataclass(frozen=True)
class Out:
    """The engine's outputs for parts. They are 0 at untrained tokens, so parts may assume finite input; a product with
    a mask alone would not remove a NaN there."""

    logp_N: Tensor
    entropy_N: Tensor | None = None
    argmax_N: Tensor | None = None
    value_NK: Tensor | None = None
    terms: Mapping[HeadTerm, Tensor] = field(default_factory=dict)

    def detach(self) -> Out:
        cut = lambda x: None if x is None else x.detach()  # noqa: E731
        terms = {k: v.detach() for k, v in self.terms.items()}
        return Out(self.logp_N.detach(), cut(self.entropy_N), cut(self.argmax_N), cut(self.value_NK), terms)


@dataclass(frozen=True)
class Part:
    """A registered function and its declarations.

    needs      outputs of the forward pass, or a function of the hyper-parameters that gives them
    reads      fields of the batch that must be filled, or a function likewise
    count      what the loss is divided by: a named count, or a function of (batch, **hyper-parameters)
    couples    the unit that must not be split over micro-batches
    by_credit  for objectives: the unit, token or sequence, whose share of loss and gradient vanishes where its credit
               is zero, so that it need not go through the model; None where it doesn't
    steady     for objectives and anchors on outputs: whether ∂loss/∂logp does not depend on logp as long as old is logp
               itself, so that it is known before the forward pass
    tempered   for parts that read log-probs or entropies: whether those of sampled tokens are of the distribution that
               they were sampled from (logits over the sampling temperature), as in the derivation of a policy gradient;
               False if the untempered model is meant. It matters only for sources that give `behaviour`
    statistic  for couples="step": f(out, batch, *, …) over the whole step, without gradients; its result is
               handed back as the keyword `stat`
    state      f(*, …) → the initial state of the part, tables of tensors and plain values; it is passed as the keyword
               `state`, and saved in checkpoints
    follow     f(state, seen, batch, *, …) → the state after a step; `seen` are the step's means of batch metrics and of
               the part's own metrics, `batch` is the first batch that the part was used on. A source also gets `rows`:
               for each of its sequences the columns, and the sum over its trained tokens of the head terms, or of
               −log p if there are none
    weigh      for anchors on parameters: f(state, context, *, …) → the state, when weights become trainable
    owns       name → function (width) → module, for parts with parameters of their own
    scores     which of these modules is the head of the saved model, a linear layer without bias: the folder is then a
               sequence classifier of transformers with one label instead of a language model
    gives      for sources: the readable fields that their batches have
    stage      hyper-parameters whose default, None, stands for a number of the stage: name → field, as in
               {"length": "sampling.max_tokens"}
    samples    for sources: f(context, *, …) → the maximal number of tokens sampled per step, if it varies
    asks       for sources: the roles of models that sample for them, or a function of the hyper-parameters
    plays      for sources that sample: whether their samples may be multi-turn episodes
    over       for anchors: "output" (per token) or "parameters" (once an optimiser step)
    limits     yields the values that the docstring promises, as rows (the function's two arguments, its
               hyper-parameters, what is expected): for an objective and an anchor on outputs (out, batch, hyper,
               loss / count), for a credit (out, batch, hyper, the credits of the trained tokens), for an anchor
               on parameters (now, home, hyper, penalty). `limits.case` builds out and batch from a few numbers
    """

    axis: str
    name: str
    fn: Callable[..., Any]
    needs: Iterable[Need] | Callable[..., Iterable[Need]] = ()
    reads: Iterable[str] | Callable[..., Iterable[str]] = ()
    count: str | Callable[..., float] = "tokens"
    couples: Unit = "token"
    by_credit: Literal["token", "sequence"] | None = None
    steady: bool = False
    tempered: bool = True
    statistic: Callable[..., Any] | None = None
    state: Callable[..., Any] | None = None
    follow: Callable[..., Any] | None = None
    weigh: Callable[..., Any] | None = None
    owns: Mapping[str, Callable[[int], torch.nn.Module]] = field(default_factory=dict)
    scores: str = ""
    gives: frozenset[str] = frozenset()
    asks: Iterable[str] | Callable[..., Iterable[str]] = ()
    stage: Mapping[str, str] = field(default_factory=dict)
    samples: Callable[..., int] | None = None
    plays: bool = False
    over: Literal["output", "parameters"] = "output"
    limits: Callable[[], Iterable[tuple]] | None = None

    def __post_init__(self) -> None:
        for what in ("reads", "gives"):
            declared = getattr(self, what)
            if not callable(declared) and (other := sorted(set(declared) - set(READABLE))):
                raise ValueError(
                    f"{self.axis} {self.name!r} declares {what} = {other[0]!r}: a batch has {', '.join(READABLE)}"
                )

    @property
    def schema(self) -> dict[str, inspect.Parameter]:
        """Its hyper-parameters: the keyword-only arguments without those that the loop passes."""
        arguments = inspect.signature(self.fn).parameters.values()
        return {p.name: p for p in arguments if p.kind is p.KEYWORD_ONLY and p.name not in HANDED}

    @property
    def effect(self) -> str:
        """The first line of its docstring."""
        return (inspect.getdoc(self.fn) or "").partition("\n")[0]


def part(axis: str, name: str, **declared: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers the decorated function as a part of `axis`; it stays an ordinary function."""

    def enter(fn: Callable[..., Any]) -> Callable[..., Any]:
        register(axis, name)(Part(axis, name, fn, **declared))
        return fn

    return enter


COUNTS: dict[str, Callable[[Batch], float]] = {
    "tokens": lambda batch: float(batch.train_N.sum()),
    "sequences": lambda batch: float(batch.S),
    "groups": lambda batch: float(len(torch.unique(batch.group_S))),
    "pairs": lambda batch: float((batch.label_S > 0).sum()),
}


@dataclass
class PartState:
    """The state of a part during a run. The loop replaces it after each step; the part never changes it in place."""

    state: Any = None


SHAPES: dict[str, Callable[[float, float], float]] = {  # of a schedule, before it arrives
    "linear": lambda progress, until: progress / until,
    "cosine": lambda progress, until: 0.5 * (1 - cos(pi * progress / until)),
    "jump": lambda progress, until: progress,  # as if it took the whole run, then at once all the rest
}


@dataclass(frozen=True, eq=False)
class Bound:
    """A part with its hyper-parameters. A number may be a schedule {from, to, over, until} along the run.

    Each is equal to itself alone, so that what a step knows of it can be looked up by it: the same part may stand in a
    stage twice.
    """

    part: Part
    hyper: Mapping[str, Any]
    memory: PartState = field(default_factory=PartState)

    def at(self, progress: float) -> dict[str, Any]:
        """The hyper-parameters with schedules evaluated at `progress`, the share of the run in [0, 1]."""
        return {k: scheduled(v, progress) for k, v in self.hyper.items()}

    def declared(self, what: str, progress: float = 0.0) -> frozenset:
        value = getattr(self.part, what)
        return frozenset(value(**self.at(progress)) if callable(value) else value)

    def waits(self, progress: float) -> bool:
        """Whether it can't be called before the forward pass."""
        scored = {"old", "old_value"} & self.declared("reads", progress)
        return bool(self.declared("needs", progress) or scored or self.part.statistic)

    def count(self, batch: Batch, progress: float) -> float:
        c = self.part.count
        return COUNTS[c](batch) if isinstance(c, str) else float(c(batch, **self.at(progress)))

    def __call__(self, *args: Any, progress: float = 0.0, **handed: Any) -> Any:
        if self.part.state is not None:
            handed = {"state": self.memory.state, **handed}
        return self.part.fn(*args, **self.at(progress), **handed)

    def follow(self, seen: Mapping[str, float], batch: Batch, progress: float, rows: Rows = ()) -> None:
        """Updates the part's state after a step, if it has one; only sources get `rows`."""
        if self.part.follow is not None:
            told = {"rows": rows} if self.part.axis == "source" else {}
            self.memory.state = self.part.follow(self.memory.state, seen, batch, **told, **self.at(progress))


def bind(axis: str, name: str | Part, **hyper: Any) -> Bound:
    """The part, or the one that is registered under that name, with these hyper-parameters over its defaults."""
    found: Part = lookup(axis, name) if isinstance(name, str) else name
    defaults = {k: p.default for k, p in found.schema.items()}
    made = Bound(found, {**defaults, **hyper})
    if found.state is not None:
        made.memory.state = found.state(**made.at(0.0))
    return made


def scheduled(value: Any, progress: float) -> Any:
    """A schedule's value at this progress: `from` + (`to` − `from`)·shape. It reaches `to` at the share `until` of the
    run (default: its end), and stays there."""
    if not (isinstance(value, Mapping) and "from" in value and "to" in value):
        return value
    until = value.get("until", 1.0)
    share = SHAPES[value.get("over", "linear")](progress, until) if progress < until else 1.0
    return value["from"] + (value["to"] - value["from"]) * share


def zero_head(width: int) -> torch.nn.Module:
    """A linear head with one output, for a part that owns one. It is initialised with zeros, so that its first values
    are 0 rather than noise."""
    head = torch.nn.Linear(width, 1)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    return head


def score_head(width: int) -> torch.nn.Module:
    """One number from a hidden state, without bias: what sequence classifiers of transformers call `score`. Its weights
    are drawn from N(0, 1 / (width + 1))."""
    head = torch.nn.Linear(width, 1, bias=False)
    torch.nn.init.normal_(head.weight, std=(width + 1) ** -0.5)
    return head


def mean_of(x: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor | float]:
    """(sum, count) of a metric, over all entries or those with weight."""
    if weight is None:
        return x.detach().sum(), float(x.numel())
    weight = weight.to(x.dtype)
    return (x.detach() * weight).sum(), weight.sum()
