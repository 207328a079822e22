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
    """A table with exactly these keys: unknown keys, values of another type and infinite numbers raise."""

    # infinite hyper-parameters of parts are allowed, and must survive writing (JSON would make them null)
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
    """Source × credits × objective, with a weight. A signal without a source uses the batch of the previous signal; one
    without an objective has only the loss of its anchors."""

    name: str = ""
    source: PartSpec | None = None
    corrupt: list[PartSpec] = []
    credit: list[PartSpec] = []
    objective: PartSpec | None = None
    weight: Weight | dict[str, Any] = 1.0
    task: dict[str, Any] | None = None  # the task that its prompts come from (default: the recipe's)
    # reward functions; "data" stands for those of [data], which are the default
    rewards: list[str | dict[str, Any]] | None = None
    select: PartSpec | None = None  # the selection of its prompts
    anchored: bool = True  # whether anchors without `on` act on it; anchors that name it always do
    batch: Count | None = None  # prompts per batch (default: the stage's)
    updates_per_batch: Few = 1  # epochs on each batch, with `old` log-probs fixed before the first
    mini_batches: Few = 1  # optimiser steps per epoch on a batch; a batch is split by whole groups
    lag: int = Field(0, ge=0, le=10_000)  # number of batches sampled ahead, as by an asynchronous sampler


class SamplingSpec(Strict):
    max_tokens: Tokens = 64
    temperature: Temperature = 1.0
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0, le=10_000_000)
    stop: list[str] = []
    # in nats per token: the temperature is adjusted until samples have this entropy
    target_entropy: Annotated[float, Field(gt=0, le=100)] | None = None
    temperature_rate: float = Field(0.3, gt=0, le=1)  # maximum change of log temperature per step

    @model_validator(mode="after")
    def something_to_follow(self) -> SamplingSpec:
        if self.target_entropy and not self.temperature:
            raise ValueError("target_entropy needs a temperature above 0, since greedy samples have no entropy")
        return self


class ValidateSpec(Strict):
    """Validation and early stopping: accuracy on `items` tuning items every `every` steps. Training stops after
    `patience` validations without a new best, and restores the best weights; with patience 0 it only records."""

    every: Steps
    items: Count = 64
    patience: int = Field(0, ge=0, le=1_000_000)


class KeepSpec(Strict):
    """The floor: at least this share of what the base gets right in every keep set must remain right; 0 turns it off.

    Every `every` steps `items` items of each set are scored, and the strength (a dual variable) of what `steer` names
    is adjusted: signals by name, anchors by their part's name. If `steer` is empty, a signal "keep" is added and
    steered: the exact KL divergence from the base on `documents` self-generated texts of the base, `batch` per step.
    """

    floor: float = Field(0.98, ge=0, le=1)
    sets: list[dict[str, Any]] = []
    steer: list[str] = []
    every: Steps = 5  # steps between measurements
    items: Count = 48  # items of each set per measurement
    ema: float = Field(0.3, gt=0, le=1)  # weight of the newest measurement in the moving average
    integral_gain: float = Field(2.4, gt=0, le=100)  # of log strength: at most e^gain-fold over a stage
    proportional_gain: float = Field(0.7, ge=0, le=100)  # of log strength, for the last measurement's error
    strength: float = Field(20.0, gt=0, le=1e6)  # the initial value
    max_strength: float = Field(100.0, gt=0, le=1e6)
    batch: Count | None = None  # self-generated texts per step (default: the stage's batch)
    documents: Count = 1024
    max_tokens: Tokens = 128  # of a self-generated text

    @model_validator(mode="after")
    def room_to_rise(self) -> KeepSpec:
        if self.strength > self.max_strength:
            raise ValueError(
                f"strength is {self.strength:g}, which is above max_strength = {self.max_strength:g}: lower strength "
                "or raise max_strength"
            )
        return self


class BudgetSpec(Strict):
    """The budget of a stage: FLOPs, tokens (processed and sampled) or seconds of training. With `of` = "run", what
    earlier stages spent counts too."""

    unit: Literal["flops", "tokens", "seconds"] = "flops"
    amount: Annotated[float, Field(gt=0, le=1e30)]
    of: Literal["stage", "run"] = "stage"


class StageSpec(Strict):
    """A weighted list of signals on one scope, with anchors, an optimiser and a number of steps or a budget."""

    name: str = ""
    method: str | None = None
    signals: list[SignalSpec] = []
    scope: PartSpec = PartSpec(name="all")
    anchors: list[PartSpec] = []
    environment: PartSpec | None = None  # what replies to the policy in multi-turn episodes
    start: Folder = "previous"  # initial weights: "previous", "base" or a folder
    reference: Folder = "base"  # reference model: "base", "start" or a folder
    keep_optimiser: bool = False
    repeat: Annotated[int, Field(ge=1, le=1000)] = 1
    blend: float = Field(1.0, gt=0, le=1)  # final weights between the base (0) and the trained ones (1), as in WiSE-FT
    # length and batch
    steps: Steps = 100  # optimiser steps
    batch: Count = 16  # prompts per batch; a batch is used for one optimiser step unless a signal sets more updates
    accumulation: Count = 1  # gradient accumulation: minimum number of micro-batches per optimiser step
    # maximum number of tokens per forward pass, including padding; auto: by model and device
    micro_tokens: Tokens | Literal["auto"] = "auto"
    # recompute activations in the backward pass to save memory; auto: if memory would not suffice
    gradient_checkpointing: Literal["auto"] | bool = "auto"
    budget: BudgetSpec | None = None  # replaces `steps`: training stops when it is spent
    # optimiser
    optimizer: Literal["adamw", "rmsprop", "sgd"] = "adamw"
    learning_rate: LearningRate = 1e-5
    head_lr_multiplier: LearningRate = 10.0  # for modules that parts own, such as a value head
    head_warmup: float = Field(0.0, ge=0, lt=1)  # initial share of the steps in which only these are trained
    learning_starts: float = Field(0.0, ge=0, lt=1)  # initial share of the steps in which nothing is updated
    betas: Betas = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0, le=1)
    weight_decay: float = Field(0.0, ge=0, le=1000)
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    warmup: float = Field(0.03, ge=0, lt=1)  # share of the steps with rising learning rate
    decay: float = Field(1.0, gt=0, le=1)  # share of the steps after warm-up in which the learning rate falls
    clip: float = Field(1.0, ge=0, le=1e12)  # maximum gradient norm; 0 turns clipping off
    max_length: Annotated[int, Field(ge=2, le=10_000_000)] | None = None
    truncation: Literal["error", "drop", "keep_start", "keep_end"] = "error"
    sampling: SamplingSpec = SamplingSpec()
    sampler: Literal["own", "vllm"] = "own"  # the engine's own sampler, or vLLM if installed, on a GPU
    sampler_memory: float = Field(0.3, gt=0, lt=1)  # share of the GPU's memory for vLLM
    validation: ValidateSpec | None = Field(None, alias="validate")
    keep: KeepSpec | None = None
    # steps between checkpoints; 0: none; unset: by time, see checkpoint.Saver
    checkpoint_every: Annotated[int, Field(ge=0, le=100_000_000)] | None = None
    log_completions: int = Field(2, ge=0, le=1_000_000)  # prompts per step whose completions are logged

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
            raise ValueError("a stage needs a `method` or `signals`; `scalpel methods` lists the methods")
        if self.signals[0].source is None:
            raise ValueError(
                "the first signal needs a `source`, since there is no earlier one whose batch it could use"
            )
        return self

    @model_validator(mode="after")
    def something_to_decay(self) -> StageSpec:
        if self.schedule == "constant" and self.decay < 1:
            raise ValueError(
                f"decay is {self.decay:g}, but schedule is constant: use linear or cosine, or leave out decay"
            )
        return self

    @model_validator(mode="after")
    def entropies_are_known(self) -> StageSpec:
        if self.sampler == "vllm" and self.sampling.target_entropy:
            raise ValueError("vLLM doesn't return entropies: leave out sampling.target_entropy, or use sampler 'own'")
        return self


class ModelSpec(Strict):
    path: Folder
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # of matrix products (autocast)
    device: Name = "auto"
    trust_remote_code: bool = False
    chat_template: str | None = None  # a file with a chat template that replaces the model's own
    chat_template_kwargs: dict[str, Any] = {}  # arguments of the chat template
    control_tokens: Literal["text", "read"] = "text"  # how control tokens spelt out in data are tokenised

    @model_validator(mode="before")
    @classmethod
    def short_form(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value


class DataSpec(Strict):
    """The number of training items (default: all rows of a data set, 1,024 of a task that generates them), their seed,
    and the reward functions (default: the task's verifier)."""

    items: Items | None = None
    seed: Seed = 0
    rewards: list[str | dict[str, Any]] = []


class MeasureSpec(Strict):
    """The probes of the ledger, and how often they are measured during a run (besides before and after it)."""

    probes: list[dict[str, Any]] = []
    target: str = ""  # the probe that shows the gain (default: the first one)
    max_tokens: Tokens | None = None  # of an answer, for probes that don't set it (default: as the stages sample)
    points: int = Field(4, ge=0, le=10_000)  # number of measurements during a run
    curve_items: Count = 64  # items per probe in these measurements
    recovery_samples: Few = 8  # k of "recovered within k samples"
    recovery_items: int = Field(32, ge=0, le=1_000_000)  # lost items per probe that are tested for recovery


class CompareSpec(Strict):
    """Arms × seeds at equal budget: what the arm named in `equal_to` spends on its own steps, or `amount`."""

    seeds: Annotated[list[Seed], Field(min_length=1)] = [0, 1, 2]
    arms: list[dict[str, Any]] = []  # each {name, …keys of a stage} or {name, stages = […]}
    shared: dict[str, Any] = {}  # keys of a stage that apply to all arms
    budget: Literal["flops", "tokens", "seconds", "steps"] = "flops"
    equal_to: str = ""  # default: the first arm
    amount: Annotated[float, Field(gt=0, le=1e30)] | None = None
    learning_rates: list[LearningRate] = []  # the grid; an arm may set its own; empty: no tuning
    tuning_seed: Seed = 1000
    tuning_items: Count = 64  # from the tuning split of the target
    tuning_margin: Share = 0.05  # of all rates within this of the best accuracy, the lowest is chosen
    price: float = Field(1.0, ge=0, le=1e6)  # points of gain that a point of forgetting costs in the verdict
    limit: Share | None = None  # arms that forgot more than this can't win
    workers: Threads = 0  # processes; 0 = one per core
    until_decided: bool = False  # add seeds until the verdict is decided
    most: Count = 16  # with until_decided: maximum number of seeds per arm
    looks: list[Count] = []  # numbers of seeds at which the verdict is tested; empty: `seeds`, twice as many, and so on

    @field_validator("looks")
    @classmethod
    def looks_grow(cls, value: list[int]) -> list[int]:
        if any(later <= earlier for earlier, later in pairwise(value)):
            raise ValueError(f"looks are numbers of seeds, each greater than the one before, not {value}")
        return value

    @model_validator(mode="after")
    def seeds_differ(self) -> CompareSpec:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds has a duplicate: {self.seeds}; the same seed gives the same run, so remove it")
        return self


class Recipe(Strict):
    name: Name = "run"
    seed: Seed = 0
    threads: Threads = 0  # 0 = all cores
    model: ModelSpec
    models: dict[str, ModelSpec] = {}  # models by role: teacher, weak, judge, …
    task: dict[str, Any]
    data: DataSpec = DataSpec()
    stages: list[StageSpec] = []
    keep: KeepSpec | None = None  # default of all stages; a stage's own keys override it
    measure: MeasureSpec = MeasureSpec()
    compare: CompareSpec | None = None
    track: Literal["", "tensorboard"] = ""  # a tracker that gets the metrics too

    @field_validator("name")
    @classmethod
    def name_of_a_folder(cls, value: str) -> str:
        return path_name(value, "the recipe's name")

    @property
    def answer_tokens(self) -> int:
        """The maximum length of a measured answer, for probes and keep sets that don't set it: `measure.max_tokens`,
        else the longest completion that a stage samples."""
        return self.measure.max_tokens or max((stage.sampling.max_tokens for stage in self.stages), default=256)

    @model_validator(mode="after")
    def optimisers_to_keep(self) -> Recipe:
        for earlier, stage in zip([None, *self.stages], self.stages, strict=False):
            if not stage.keep_optimiser or (earlier is None and stage.repeat > 1):
                continue
            if earlier is None:
                raise ValueError("the first stage has no earlier optimiser state to keep: leave out `keep_optimiser`")
            if earlier.optimizer != stage.optimizer:
                raise ValueError(
                    f"keep_optimiser can't convert the state of {earlier.optimizer} to that of {stage.optimizer}: use "
                    "the same optimizer in both stages, or leave out keep_optimiser"
                )
        return self
