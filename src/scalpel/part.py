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
    """A number per token that a module of the parts' own reads from the hidden state before it: `name` is the
    module's in `owns`. Unlike a value it is no expectation of reward, so that both may stand on one batch.

    With `after` it is read from the state at the token itself, which has seen it: what a score of all that is said so
    far needs, since behind the last token there is none to be predicted.
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
    tempered   for what reads log-probs or entropies: whether those of tokens that the source sampled are of the
               distribution that they were drawn from, logits over the sampling temperature, as in the derivation of a
               policy gradient; False where the model itself is meant. It concerns sources that give `behaviour` alone
    statistic  for couples="step": f(out, batch, *, …) over the whole step, without gradients; its result is
               handed back as the keyword `stat`
    state      f(*, …) → what the part remembers at first, tables of tensors and plain values; it is handed back as the
               keyword `state`, and is in the checkpoints
    follow     f(state, seen, batch, *, …) → the state after a step; `seen` are the step's means of what its batches
               offered and of the part's own metrics, `batch` is the first one of which the part had a share. A source
               is also told, as `rows`, what its sequences came to: for each one its columns, and the sum over its
               trained tokens of the head terms, or of −log p where there are none
    weigh      for anchors on parameters: f(state, opening, *, …) → the state, when weights begin to move
    owns       name → function (width) → module, for parts that bring parameters of their own
    scores     which of these modules is the head of the saved model, a linear one without bias: the folder is then a
               sequence classifier of transformers with one label, and no language model
    gives      for sources: the readable fields that its batches carry
    stage      hyper-parameters whose default, None, stands for a number of the stage: name → field, as in
               {"length": "sampling.max_tokens"}
    samples    for sources: f(draw, *, …) → how many tokens it samples a step at most, where that depends on its finds
    asks       for sources: the roles of those that write for it, or a function of the hyper-parameters that gives them
    plays      for sources that sample: whether what they sample may be episodes, of several turns in an environment
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
        """Its hyper-parameters: the keyword-only arguments, less what the loop itself hands in."""
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
    """What a part remembers along a run; the loop replaces it."""

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
        """Remembers a step, if the part does; `rows` are told to sources only."""
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
    """A schedule's number now: `from` + (`to` − `from`)·shape. It has arrived at the share `until` of the run, the
    whole of it unless said, and stays there."""
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
