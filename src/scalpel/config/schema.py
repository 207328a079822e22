"""The schema of a recipe: its tables and keys with their types, defaults and bounds."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from scalpel.binding.bounds import (
    BelowOne,
    Count,
    Few,
    Items,
    LearningRate,
    Name,
    PartName,
    Seed,
    Share,
    Steps,
    Temperature,
    Tokens,
    Weight,
)
from scalpel.methods import ROWS
from scalpel.registry import unknown
from scalpel.runs.files import path_name

Folder = Annotated[str, Field(min_length=1, max_length=4096)]
Betas = Annotated[
    tuple[BelowOne, BelowOne], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
]
Threads = Annotated[int, Field(ge=0, le=1024)]


class Strict(BaseModel):
    """A table with exactly these keys: unknown keys, values of another type and infinite numbers are refused."""

    # an infinite number of a part stays one: as JSON has it, it would be none
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        ser_json_inf_nan="constants",
    )


class PartSpec(BaseModel):
    """A part by name with the hyper-parameters that differ from its defaults: "kl" or {name = "kl", beta = 0.1}."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    name: PartName

    @model_validator(mode="before")
    @classmethod
    def short_form(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def hyper(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class SignalSpec(Strict):
    """Source × credits × objective, with a weight. Without a source it learns from the batch of the signal
    before it; without an objective only anchors act on it."""

    name: str = ""
    source: PartSpec | None = None
    corrupt: list[PartSpec] = []
    credit: list[PartSpec] = []
    objective: PartSpec | None = None
    weight: Weight | dict[str, Any] = 1.0
    task: dict[str, Any] | None = None  # where its prompts come from, if not from the recipe's task
    rewards: list[str | dict[str, Any]] | None = None  # how completions are rewarded; "data" stands for
    # what [data] says
    select: PartSpec | None = None  # which prompts it learns from
    anchored: bool = True  # whether anchors act on it that name no signal; those that name it do anyway
    batch: Count | None = None  # prompts of a batch, if not the stage's
    updates_per_batch: Few = 1  # how many times a batch is trained on, with `old` as it was before the first
    mini_batches: Few = 1  # optimiser steps that it is split over each time, by whole groups
    lag: int = Field(0, ge=0, le=10_000)  # batches that the source is ahead, as asynchronous samplers are


class SamplingSpec(Strict):
    max_tokens: Tokens = 64
    temperature: Temperature = 1.0
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0, le=10_000_000)
    stop: list[str] = []
    # nats a token that the temperature is steered towards, from where it starts
    target_entropy: Annotated[float, Field(gt=0, le=100)] | None = None
    temperature_rate: float = Field(0.3, gt=0, le=1)  # how fast it follows: of its logarithm, a step

    @model_validator(mode="after")
    def something_to_follow(self) -> SamplingSpec:
        if self.target_entropy and not self.temperature:
            raise ValueError("at temperature 0 there is no entropy to keep: start from a temperature above it")
        return self


class ValidateSpec(Strict):
    """Validation and early stopping: accuracy on tuning items every so many steps; training stops after `patience`
    validations without a new best and restores the best weights. With `patience` 0 it only records."""

    every: Steps
    items: Count = 64
    patience: int = Field(0, ge=0, le=1_000_000)


class KeepSpec(Strict):
    """The floor: at least this share of what the base gets right in every keep set is to remain; 0 is off.

    A look at `items` items a set, each `every` steps, moves the strength of what is named in `steer` (signals by
    name, anchors by their part's name). Nothing named: a signal "keep" is added, text that the base writes itself,
    `batch` of `documents` a step, with the exact divergence from the base.
    """

    floor: float = Field(0.98, ge=0, le=1)
    sets: list[dict[str, Any]] = []
    steer: list[str] = []
    every: Steps = 5  # steps between looks
    items: Count = 48  # of each set, a look
    ema: float = Field(0.3, gt=0, le=1)  # weight of the newest measurement in the moving average
    integral_gain: float = Field(2.4, gt=0, le=100)  # of the dual variable's level: e^gain-fold a stage, at most
    proportional_gain: float = Field(0.7, ge=0, le=100)  # of its answer to the last measurement, in logarithms
    strength: float = Field(20.0, gt=0, le=1e6)  # where it starts
    max_strength: float = Field(100.0, gt=0, le=1e6)  # what it rises to at most
    batch: Count | None = None  # texts a step, if not the stage's batch
    documents: Count = 1024
    max_tokens: Tokens = 128  # of a text that the base writes

    @model_validator(mode="after")
    def room_to_rise(self) -> KeepSpec:
        if self.strength > self.max_strength:
            raise ValueError(
                f"strength starts at {self.strength:g}, above max_strength, {self.max_strength:g}: lower it or raise "
                "max_strength"
            )
        return self


class BudgetSpec(Strict):
    """What a stage may spend: operations, tokens (processed and sampled) or seconds of training. With `of` "run",
    what earlier stages spent counts too."""

    unit: Literal["flops", "tokens", "seconds"] = "flops"
    amount: Annotated[float, Field(gt=0, le=1e30)]
    of: Literal["stage", "run"] = "stage"


class StageSpec(Strict):
    """A weighted list of signals on one scope, with anchors, and how to optimise."""

    name: str = ""
    method: str | None = None
    signals: list[SignalSpec] = []
    scope: PartSpec = PartSpec(name="all")
    anchors: list[PartSpec] = []
    environment: PartSpec | None = None  # what answers the policy, turn after turn
    start: Folder = "previous"  # "previous", "base" or a folder
    reference: Folder = "base"  # "base", "start" or a folder
    keep_optimiser: bool = False
    repeat: Annotated[int, Field(ge=1, le=1000)] = 1
    blend: float = Field(1.0, gt=0, le=1)  # where it ends between the base, 0, and what it learnt, 1 (WiSE-FT)
    # how much
    steps: Steps = 100  # updates by the optimiser
    batch: Count = 16  # prompts that a source draws at once, for one step unless a signal has more updates a batch
    accumulation: Count = 1  # at least so many micro-batches an optimiser step
    # tokens of a forward pass, at most; padding counts where there is any; auto: by model and device
    micro_tokens: Tokens | Literal["auto"] = "auto"
    # layers run twice and keep less for the backward pass; auto: where memory would not do
    gradient_checkpointing: Literal["auto"] | bool = "auto"
    budget: BudgetSpec | None = None  # in place of steps: stop when so much is spent
    # how
    optimizer: Literal["adamw", "rmsprop", "sgd"] = "adamw"
    learning_rate: LearningRate = 1e-5
    head_lr_multiplier: LearningRate = 10.0  # times it, for modules that parts own, such as a value head
    head_warmup: float = Field(0.0, ge=0, lt=1)  # share of the run at its beginning in which only they move
    betas: Betas = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0, le=1)
    weight_decay: float = Field(0.0, ge=0, le=1000)
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    warmup: float = Field(0.03, ge=0, lt=1)  # share of the steps
    decay: float = Field(1.0, gt=0, le=1)  # share of what follows the warm-up in which the rate falls
    clip: float = Field(1.0, ge=0, le=1e12)  # gradient norm; 0 is off
    max_length: Annotated[int, Field(ge=2, le=10_000_000)] | None = None
    truncation: Literal["error", "drop", "keep_start", "keep_end"] = "error"
    sampling: SamplingSpec = SamplingSpec()
    sampler: Literal["own", "vllm"] = "own"  # what samples from the policy; vllm: where it is installed, on a GPU
    sampler_memory: float = Field(0.3, gt=0, lt=1)  # the share of the GPU that vllm takes
    validation: ValidateSpec | None = Field(None, alias="validate")
    keep: KeepSpec | None = None
    # steps; 0 is never; unset: by time, see checkpoint.Saver
    checkpoint_every: Annotated[int, Field(ge=0, le=100_000_000)] | None = None
    log_completions: int = Field(2, ge=0, le=1_000_000)  # prompts a step whose completions go into completions.jsonl

    @property
    def parts(self) -> list[PartSpec]:
        """Every part that the stage names."""
        own = [spec for s in self.signals for spec in (s.source, s.objective, s.select, *s.corrupt, *s.credit) if spec]
        return [*own, self.scope, *self.anchors, *([self.environment] if self.environment else [])]

    @field_validator("method")
    @classmethod
    def known_method(cls, value: str | None) -> str | None:
        if value is not None and value not in ROWS:
            raise ValueError(unknown("method", value, ROWS))
        return value

    @model_validator(mode="after")
    def something_to_learn(self) -> StageSpec:
        if not self.signals:
            raise ValueError("a stage needs a `method`, or `signals` of its own; see `scalpel methods`")
        if self.signals[0].source is None:
            raise ValueError("the first signal needs a `source`")
        return self

    @model_validator(mode="after")
    def something_to_decay(self) -> StageSpec:
        if self.schedule == "constant" and self.decay < 1:
            raise ValueError(f"decay is {self.decay:g}, but a constant rate never falls: take linear or cosine")
        return self

    @model_validator(mode="after")
    def entropies_are_known(self) -> StageSpec:
        if self.sampler == "vllm" and self.sampling.target_entropy:
            raise ValueError(
                "vllm gives no entropies to keep: leave out sampling.target_entropy, or take sampler 'own'"
            )
        return self


class ModelSpec(Strict):
    path: Folder
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # of the arithmetic
    device: Name = "auto"
    trust_remote_code: bool = False
    chat_template: str | None = None  # a file with a chat template, in place of the model's own
    chat_template_kwargs: dict[str, Any] = {}  # arguments that the chat template is always given
    control_tokens: Literal["text", "read"] = "text"  # what text in data is that spells a control token

    @model_validator(mode="before")
    @classmethod
    def short_form(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value


class DataSpec(Strict):
    """How many training items (unset: all rows of a data set, 1,024 of a task that makes them as they are asked for),
    from which seed, and how completions are rewarded (the task's own verifier unless `rewards` says otherwise)."""

    items: Items | None = None
    seed: Seed = 0
    rewards: list[str | dict[str, Any]] = []


class MeasureSpec(Strict):
    """The probes of the ledger, and how often they are taken along a run (besides before and after)."""

    probes: list[dict[str, Any]] = []
    target: str = ""  # the probe that shows the gain; the first one unless said
    max_tokens: Tokens | None = None  # of an answer to a probe that says nothing of it; unset: as the stages sample
    points: int = Field(4, ge=0, le=10_000)  # measurements along a run
    curve_items: Count = 64  # items a probe at those points
    recovery_samples: Few = 8  # k, for 'within k samples'
    recovery_items: int = Field(32, ge=0, le=1_000_000)  # lost items tested, a probe


class CompareSpec(Strict):
    """Arms × seeds, at equal budget: what the arm named in `equal_to` spends on its own steps, or `amount`."""

    seeds: Annotated[list[Seed], Field(min_length=1)] = [0, 1, 2]
    arms: list[dict[str, Any]] = []  # each {name, …keys of a stage} or {name, stages = […]}
    shared: dict[str, Any] = {}  # keys of a stage that all arms start from
    budget: Literal["flops", "tokens", "seconds", "steps"] = "flops"
    equal_to: str = ""  # the first arm unless said
    amount: Annotated[float, Field(gt=0, le=1e30)] | None = None
    learning_rates: list[LearningRate] = []  # the grid; an arm may have one of its own; none: the arm's learning rate
    tuning_seed: Seed = 1000
    tuning_items: Count = 64  # of the target's tuning split
    tuning_margin: Share = 0.05  # rates within it of the best accuracy count as equal: the least wins
    price: float = Field(1.0, ge=0, le=1e6)  # what a point of forgetting costs, in points of gain
    limit: Share | None = None  # arms that forgot more are not considered
    workers: Threads = 0  # processes; 0 = one a core
    until_decided: bool = False  # seeds are added until it is decided which arm to take, or that none is
    most: Count = 16  # seeds an arm, at most, that way
    looks: list[Count] = []  # after how many seeds the verdict is made; none: after `seeds`, twice as many, and so on

    @field_validator("looks")
    @classmethod
    def looks_grow(cls, value: list[int]) -> list[int]:
        if any(later <= earlier for earlier, later in pairwise(value)):
            raise ValueError(f"looks are numbers of seeds, each greater than the one before, not {value}")
        return value

    @model_validator(mode="after")
    def seeds_differ(self) -> CompareSpec:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds has one twice: {self.seeds}; the same seed gives the same run")
        return self


class Recipe(Strict):
    name: Name = "run"
    seed: Seed = 0
    threads: Threads = 0  # 0 = all cores
    model: ModelSpec
    models: dict[str, ModelSpec] = {}  # other roles: teacher, weak, reward
    task: dict[str, Any]
    data: DataSpec = DataSpec()
    stages: list[StageSpec] = []
    keep: KeepSpec | None = None  # of every stage that has none of its own
    measure: MeasureSpec = MeasureSpec()
    compare: CompareSpec | None = None
    track: Literal["", "tensorboard"] = ""  # where the record goes, beside metrics.jsonl

    @field_validator("name")
    @classmethod
    def name_of_a_folder(cls, value: str) -> str:
        return path_name(value, "the recipe's name")

    @property
    def answer_tokens(self) -> int:
        """How long an answer may be that is measured, where its probe or keep set says nothing of it: as long as the
        longest that a stage samples."""
        return self.measure.max_tokens or max((stage.sampling.max_tokens for stage in self.stages), default=256)

    @model_validator(mode="after")
    def optimisers_to_keep(self) -> Recipe:
        for earlier, stage in zip([None, *self.stages], self.stages, strict=False):
            if not stage.keep_optimiser or (earlier is None and stage.repeat > 1):
                continue
            if earlier is None:
                raise ValueError("the first stage has no earlier optimiser to keep: leave out `keep_optimiser`")
            if earlier.optimizer != stage.optimizer:
                raise ValueError(
                    f"keep_optimiser can't turn the states of {earlier.optimizer} into those of {stage.optimizer}: "
                    "give both stages the same optimizer, or leave it out"
                )
        return self
