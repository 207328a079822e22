"""The plan of a stage: its bound parts. Combinations that can't work raise here, before a model is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

import scalpel.anchors
import scalpel.credits
import scalpel.objectives
import scalpel.scopes
import scalpel.selections
import scalpel.sources  # noqa: F401  (importing an axis registers its parts)
from scalpel import environments
from scalpel.binding.bind import keys_of
from scalpel.binding.bounds import Weight
from scalpel.binding.schedules import hyper_value
from scalpel.config.recipe import (
    PartSpec,
    Recipe,
    SignalSpec,
    StageSpec,
)
from scalpel.engine.vllm_sampler import hindrance
from scalpel.environments import Environment
from scalpel.extensions import find
from scalpel.keep import refuse_sets
from scalpel.part import Bound, HeadTerm, Need, Part, Unit, bind
from scalpel.registry import AXES, unknown
from scalpel.rewards.declared import roles as judges
from scalpel.rewards.reward import read as readable

SCORED = frozenset({"old", "old_value", "reference"})  # batch fields that the training loop computes
BESIDE = frozenset({"base", "reference", "previous", "earlier"})  # roles that need no entry under [models]
UNITS: tuple[Unit, ...] = ("token", "sequence", "pair", "group")


@dataclass(frozen=True)
class Signal:
    """A loss on a batch: credits, an objective, anchors on its outputs, and a weight."""

    name: str
    credits: tuple[Bound, ...]
    objective: Bound | None
    anchors: tuple[Bound, ...]
    weight: Any

    @property
    def parts(self) -> tuple[Bound, ...]:
        """All parts that read the model's outputs: first credits, then those with a loss."""
        return (*self.credits, *self.losses)

    @property
    def losses(self) -> tuple[Bound, ...]:
        return (*((self.objective,) if self.objective else ()), *self.anchors)


@dataclass(frozen=True)
class Stream:
    """A source and the signals that learn from its batches."""

    source: Bound
    corrupt: tuple[Bound, ...]
    task: Mapping[str, Any] | None
    batch: int
    updates_per_batch: int
    signals: tuple[Signal, ...]
    lag: int = 0
    mini_batches: int = 1
    rewards: Sequence[str | Mapping[str, Any]] = ()
    select: Bound | None = None

    @property
    def steps_per_batch(self) -> int:
        """The number of optimiser steps on one batch: its updates times its mini-batches."""
        return self.updates_per_batch * self.mini_batches

    @property
    def parts(self) -> tuple[Bound, ...]:
        return tuple(p for signal in self.signals for p in signal.parts)

    def needs(self, progress: float) -> frozenset[Need]:
        return frozenset().union(*(p.declared("needs", progress) for p in self.parts))

    def reads(self, progress: float) -> frozenset[str]:
        return frozenset().union(*(p.declared("reads", progress) for p in self.parts))

    @property
    def tempered(self) -> bool:
        """Whether log-probs and entropies of sampled tokens are those of the distribution that they were drawn from, at
        the sampling temperature. One part that means the model itself makes it so for all of them."""
        return "behaviour" in self.source.part.gives and all(p.part.tempered for p in self.parts)

    @property
    def compares(self) -> Literal["group", "run"] | None:
        """The samples among which rewards must differ to give a gradient: a group, or all of a run. None if no part
        reads rewards."""
        reading = [p for p in self.parts if "reward" in p.declared("reads")]
        return None if not reading else "group" if any(p.part.couples == "group" for p in reading) else "run"

    def vanishing(self, progress: float) -> Literal["token", "sequence"] | None:
        """The unit that can be skipped in the forward pass where its credit is zero, because its loss and gradient are
        zero too; None if some loss doesn't vanish there (an anchor, for example)."""
        losses = [p for signal in self.signals for p in signal.losses]
        waiting = [p.part.couples for signal in self.signals for p in signal.credits if p.waits(progress)]
        if any(p.part.by_credit is None or p.part.couples not in ("token", "sequence") for p in losses):
            return None
        if {"pair", "group"} & set(waiting):  # these compare outputs of several sequences, so none can be skipped
            return None
        by_token = all(p.part.by_credit == "token" for p in losses) and set(waiting) <= {"token"}
        return "token" if by_token else "sequence"

    @property
    def unit(self) -> Unit:
        """The largest unit that must not be split over micro-batches. Parts that couple a whole step don't count: their
        statistic is computed in a pass of its own."""
        return max((p.part.couples for p in self.parts if p.part.couples != "step"), key=UNITS.index, default="token")


@dataclass(frozen=True)
class Plan:
    """A stage with all its parts bound: what the training loop runs."""

    spec: StageSpec
    streams: tuple[Stream, ...]
    scope: Bound
    on_parameters: tuple[Bound, ...]
    environment: Environment | None = None
    steered: frozenset[tuple[str, Bound]] = frozenset()  # (signal, part) whose strength the floor controls

    @property
    def remembering(self) -> tuple[Bound, ...]:
        """The parts that keep a state during the run, each once."""
        every = [p for stream in self.streams for p in (stream.source, *stream.parts)] + list(self.on_parameters)
        return tuple(dict.fromkeys(p for p in every if p.part.state is not None))

    @property
    def roles(self) -> frozenset[str]:
        """The roles of the other models that this stage runs."""
        needs = [need for stream in self.streams for need in stream.needs(0.0)]
        roles = {need.other for need in needs if isinstance(need, HeadTerm) and need.other}
        if any("reference" in stream.reads(0.0) for stream in self.streams):
            roles.add("reference")
        for stream in self.streams:
            roles |= (stream.source.declared("asks") - {"policy"}) | judges(stream.rewards)
        return frozenset(roles)

    @property
    def owned(self) -> dict[str, Any]:
        """The modules that parts own, by name. Parts that own a module of the same name share it."""
        return {name: make for stream in self.streams for p in stream.parts for name, make in p.part.owns.items()}

    @property
    def scores(self) -> str:
        """The owned module that is the head of the saved model; empty if that is a language model."""
        return next((p.part.scores for stream in self.streams for p in stream.parts if p.part.scores), "")

    @property
    def owners(self) -> dict[str, tuple[str, ...]]:
        """For each owned module a description of the parts that own it."""
        found: dict[str, dict[str, None]] = {name: {} for name in self.owned}
        for p in (p.part for stream in self.streams for p in stream.parts):
            for name in p.owns:
                found[name][f"{p.axis} {p.name!r}"] = None
        return {name: tuple(words) for name, words in found.items()}


def assemble(spec: StageSpec, recipe: Recipe) -> Plan:
    """Binds every part of the stage. Raises ValueError, with an alternative, for unknown parts and keys and for
    incompatible combinations."""
    anchors = [(a.hyper.get("on"), bound("anchor", a, ("on",), spec)) for a in spec.anchors]
    outputs = [(on, a) for on, a in anchors if a.part.over == "output"]
    streams: list[tuple[SignalSpec, list[Signal]]] = []
    unnamed = sum(not s.name for s in spec.signals)
    for k, s in enumerate(spec.signals):
        name = s.name or (f"signal{k}" if unnamed > 1 else "")
        signal = Signal(
            name,
            tuple(bound("credit", c, stage=spec) for c in s.credit),
            bound("objective", s.objective, stage=spec) if s.objective else None,
            tuple(a for on, a in outputs if on == name or (on is None and s.source and s.anchored)),  # once a batch
            hyper_value(f"the weight of signal {name!r}", s.weight, Weight),
        )
        if s.source is not None:
            streams.append((s, []))
        streams[-1][1].append(signal)
    names = {signal.name for _, signals in streams for signal in signals}
    for on, _ in anchors:
        if on is not None and on not in names:
            raise ValueError(
                f"an anchor has on = {on!r}, but the stage has the signals {', '.join(sorted(names))}: name one of them"
            )
    plan = Plan(
        spec,
        tuple(stream_of(s, signals, spec, recipe) for s, signals in streams),
        bound("scope", spec.scope, stage=spec),
        tuple(a for _, a in anchors if a.part.over == "parameters"),
        environments.make({"name": spec.environment.name, **spec.environment.hyper}) if spec.environment else None,
        steered(spec, [signal for _, signals in streams for signal in signals], [a for _, a in anchors]),
    )
    refuse(plan, recipe)
    return plan


def steered(spec: StageSpec, signals: Sequence[Signal], anchors: Sequence[Bound]) -> frozenset[tuple[str, Bound]]:
    """The losses that `keep.steer` names: an anchor on every signal on which it acts, or all losses of a signal. If a
    signal is named, an anchor that acts on several signals is steered only there."""
    found: set[tuple[str, Bound]] = set()
    for name in spec.keep.steer if spec.keep and spec.keep.floor else ():
        losses = [(signal.name, p) for signal in signals if signal.name == name for p in signal.losses]
        losses += [(place, a) for a in anchors if a.part.name == name for place in ("", *(s.name for s in signals))]
        if not losses:
            known = [*(signal.name for signal in signals if signal.name), *(a.part.name for a in anchors)]
            raise ValueError(
                f"keep.steer names {name!r}, but this stage has the signals and anchors {', '.join(known)}: name one "
                "of them"
            )
        found.update(losses)
    return frozenset(found)


def stream_of(s: SignalSpec, signals: Sequence[Signal], spec: StageSpec, recipe: Recipe) -> Stream:
    assert s.source is not None
    corrupt = tuple(bound("corruption", c, stage=spec) for c in s.corrupt)
    given: list[str | dict[str, Any]] = recipe.data.rewards or ["task"]
    rewards = tuple(r for spec in s.rewards or ["data"] for r in (given if spec == "data" else [spec]))
    readable(rewards)  # raises for invalid weights and time limits
    select = bound("selection", s.select, stage=spec) if s.select else None
    source, batch = bound("source", s.source, stage=spec), s.batch or spec.batch
    if s.mini_batches > batch:
        raise ValueError(
            f"mini_batches is {s.mini_batches}, but a batch of {batch} prompts can't be split into more mini-batches "
            f"than that: raise batch to {s.mini_batches} or more, or lower mini_batches"
        )
    return Stream(
        source, corrupt, s.task, batch, s.updates_per_batch, tuple(signals), s.lag, s.mini_batches, rewards, select
    )


def bound(axis: str, spec: PartSpec, ignore: Iterable[str] = (), stage: StageSpec | None = None) -> Bound:
    """The part with its hyper-parameters checked against its signature. Those that default to a number of the stage
    (`Part.stage`) are filled in from there."""
    found: Part = find(axis, spec.name)
    hyper = {k: v for k, v in spec.hyper.items() if k not in ignore}
    for key in hyper:
        if key not in found.schema:
            raise ValueError(f"{axis} {spec.name!r} {unknown('key', key, found.schema)}")
    keys = keys_of(found.fn)
    checked = {k: hyper_value(f"{k!r} of {axis} {spec.name!r}", v, keys[k].wanted) for k, v in hyper.items()}
    if stage is not None:
        checked |= {k: attrgetter(at)(stage) for k, at in found.stage.items() if checked.get(k) is None}
    return bind(axis, found, **checked)


def refuse(plan: Plan, recipe: Recipe) -> None:
    """Raises ValueError for a plan whose parts are incompatible."""
    if plan.spec.keep and plan.spec.keep.floor:
        refuse_sets(plan.spec.keep.sets)
    for stream in plan.streams:
        available = stream.source.part.gives | SCORED
        for p in stream.parts:
            for field in sorted(p.declared("reads") - available):
                raise ValueError(unfed(p.part, field, stream.source.part))
        for p in stream.parts:
            if "value" in p.declared("needs") and "value" not in plan.owned:
                raise ValueError(valueless(p.part))
        for signal in stream.signals:
            if signal.objective is None and not signal.anchors:
                raise ValueError(
                    f"signal {signal.name!r} has neither an objective nor an anchor, so it has no loss: add one of "
                    "them, or leave the signal out"
                )
    if plan.spec.head_warmup and not plan.owned:
        raise ValueError(
            f"head_warmup is {plan.spec.head_warmup:g}, but no part of this stage owns a module that could be trained "
            "first: leave it out, or add a signal with objective 'value'"
        )
    if plan.spec.learning_starts and not any(buffers(stream.source.part) for stream in plan.streams):
        keeping = sorted(name for name, p in AXES["source"].items() if isinstance(p, Part) and buffers(p))
        raise ValueError(
            f"learning_starts is {plan.spec.learning_starts:g}, but no source of this stage keeps what is sampled "
            f"until then: leave it out, or take a source that does ({', '.join(keeping)})"
        )
    if plan.environment:
        refuse_deaf([stream.source.part for stream in plan.streams])
    if plan.spec.sampler == "vllm" and (why := hindrance()):
        raise ValueError(f"sampler 'vllm' can't be used: {why}; leave it out to use the engine's own sampler")
    for role in sorted(plan.roles - BESIDE - set(recipe.models)):
        raise ValueError(
            f'this stage needs a {role!r} model: name one under [models], as in {role} = "folder or hub id"'
        )


def buffers(source: Part) -> bool:
    """Whether a source keeps samples for later steps."""
    return source.follow is not None and "behaviour" in source.gives


def refuse_deaf(sources: Sequence[Part]) -> None:
    """Raises ValueError if a stage has an environment, but a source that samples can't produce episodes, or if no
    source of the stage samples."""
    deaf = [p for p in sources if "reward" in p.gives and not p.plays] or sources
    if any(p.plays for p in deaf):
        return
    playing = sorted(name for name, p in AXES["source"].items() if isinstance(p, Part) and p.plays)
    raise ValueError(
        f"this stage has an environment, but source {deaf[0].name!r} can't sample episodes: use one that can "
        f"({', '.join(playing)}), or leave out `environment`"
    )


def valueless(reader: Part) -> str:
    """The error message for a part that needs values in a stage without a value head."""
    bring = sorted(f"{axis} {name!r}" for axis in AXES for name, p in AXES[axis].items() if "value" in owned(p))
    others = sorted(n for n, p in AXES[reader.axis].items() if callable(p.needs) or "value" not in p.needs)
    return (
        f"{reader.axis} {reader.name!r} needs values, but no part of this stage owns a value head: add a signal on the "
        f"same batch with {' or '.join(bring)}, or use another {reader.axis} ({', '.join(others)})"
    )


def owned(registered: Any) -> Mapping[str, Any]:
    return registered.owns if isinstance(registered, Part) else {}


def unfed(reader: Part, field: str, source: Part) -> str:
    """The error message for a part that reads a field which its source doesn't provide, with both ways out."""
    sources = sorted(name for name, p in AXES["source"].items() if field in p.gives)
    others = sorted(
        name
        for name, p in AXES[reader.axis].items()
        if not callable(p.reads) and frozenset(p.reads) <= source.gives | SCORED
    )
    return (
        f"{reader.axis} {reader.name!r} reads {field!r}, which source {source.name!r} doesn't provide: use a source "
        f"that does ({', '.join(sources) or 'none is registered'}), or another {reader.axis} ({', '.join(others)})"
    )
