"""A run of a recipe, stage by stage."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scalpel import tasks
from scalpel.config.plan import assemble
from scalpel.config.recipe import Recipe, StageSpec
from scalpel.device import choose_micro_tokens
from scalpel.engine import Engine
from scalpel.engine.backward_cost import backward_cost
from scalpel.engine.padded_forward import width_of
from scalpel.engine.vllm_sampler import VllmSampler
from scalpel.evaluation.probes import Probe, make_probes
from scalpel.keep import Dual, RetentionFloor, make_sets
from scalpel.models import Model
from scalpel.models.adapters import adapt
from scalpel.models.classifier import refuse_unclassifiable
from scalpel.models.load import locate
from scalpel.models.owned import Owned, take_over
from scalpel.models.state_dict import overwrite
from scalpel.pair import interpolate
from scalpel.runs.files import put
from scalpel.runs.threads import settle
from scalpel.scope import Scope, ScopeContext
from scalpel.seeding import derive
from scalpel.training.importance import weigh_parameters
from scalpel.training.models import RunModels, Weights
from scalpel.training.reward_monitor import RewardMonitor
from scalpel.training.rollout import Rollout
from scalpel.training.stage import StageRun
from scalpel.training.stream import StreamRun
from scalpel.training.validation import Validation, accuracy

log = logging.getLogger("scalpel")


class TrainingRun:
    """A run of a recipe: its plans, its models, and the rollout that draws batches."""

    def __init__(self, recipe: Recipe, dtype: str = "") -> None:
        if recipe.threads:
            settle(recipe.threads)
        torch.manual_seed(derive(recipe.seed, "start") % 2**63)
        self.recipe = recipe
        self.plans = [assemble(spec, recipe) for spec in recipe.stages for _ in range(spec.repeat)]
        if not self.plans:
            raise ValueError('this recipe trains nothing: add [train] with a method, as in method = "sft"')
        self.models = RunModels(recipe, dtype)
        if any(plan.scores for plan in self.plans):
            refuse_unclassifiable(self.engine.model)
        self.rollout = Rollout(recipe, self.models)
        self.inputs: dict[str, Any] = {}  # digests of the files it reads, for its checkpoints
        self.touched: set[str] = set()  # parameters that were trainable since the start; only these are in checkpoints
        self.earlier: StageRun | None = None  # the previous stage, if the next one keeps its optimiser
        self.ends: dict[str, Weights] = {}  # weights at the end of the previous stage and of the one before it
        self.floors: list[dict[str, Any]] = []  # the result of each stage's retention floor
        self.vllm: VllmSampler | None = None  # shared by the stages that sample with it

    @property
    def engine(self) -> Engine:
        return self.models.engine

    @property
    def device(self) -> torch.device:
        return self.models.device

    # --- stages -----------------------------------------------------------------------------------------

    def stage_name(self, index: int) -> str:
        spec = self.plans[index].spec
        name = spec.name or spec.method or "stage"
        earlier = sum((p.spec.name or p.spec.method or "stage") == name for p in self.plans[:index])
        return f"{name}.{earlier + 1}" if earlier else name

    def enter(self, index: int, saved: Mapping[str, Any] | None = None, seconds: float = 0.0) -> StageRun:
        """Opens a stage: initial weights, models in other roles, data, scope and optimiser; or restores them from a
        checkpoint. `seconds` is the training time so far."""
        plan, model = self.plans[index], self.engine.model
        floor = self.open_floor(plan.spec, index, saved is not None)
        if saved is None or index == 0:
            self.models.start_from(plan.spec.start)
        start = dict(model.state_dict())  # no copy: attaching a scope adds modules, and weights change only in training
        context = ScopeContext(derive(self.recipe.seed, "scope", index) % 2**31, partial(adapt, model))
        scope = plan.scope(model, context)
        if saved is not None:
            self.ends = dict(saved["ends"])
        self.equip(index, scope, start)
        stage = StageRun(
            index=index,
            name=self.stage_name(index),
            plan=plan,
            streams=self.streams(index),
            scope=scope,
            owned=self.engine.owned,
            spent_at_start=self.engine.meter.spent(plan.spec.budget.unit, seconds) if plan.spec.budget else 0.0,
            validation=Validation(plan.spec.validation),
            floor=floor,
        )
        if saved is None:
            self.rollout.survey(stage)
        if index:  # changes by earlier stages are nowhere but in the checkpoint, so all parameters go into it
            self.touched = {name for name, _ in model.named_parameters()}
        if saved is not None:
            self.restore(saved)
            stage.restore(saved["stage"])
        elif plan.spec.keep_optimiser and self.earlier:
            stage.inherit(self.earlier)
        self.trainables_changed(stage, moved=index > 0)
        return stage

    def equip(self, index: int, scope: Scope, start: Weights) -> None:
        """Gives the engine all models and modules of the stage. `start` are the weights with which it starts."""
        plan, model = self.plans[index], self.engine.model
        off = {role: scope.off for role in plan.roles if scope.off and self.is_its_start(role, index)}
        self.engine.equip(
            scope_off=off,
            others=self.frozen(index, plan.roles - off.keys(), start),
            owned=self.owned_modules(index),
            micro_tokens=choose_micro_tokens(plan.spec.micro_tokens, model, self.device),
            external_sampler=self.serving(plan.spec, start),
        )

    def frozen(self, index: int, roles: Iterable[str], start: Weights) -> dict[str, Model]:
        """The frozen models of a stage by role; all roles that the base plays share one."""
        found: dict[str, Model] = {}
        for role in sorted(roles, key=lambda role: (role != "base", role)):
            if self.is_base(role, index) and "base" in found:
                found[role] = found["base"]
            else:
                found[role] = self.models.in_role(role, self.plans[index].spec.reference, start, self.ends)
        return found

    def streams(self, index: int) -> list[StreamRun]:
        found = []
        for number, stream in enumerate(self.plans[index].streams):
            monitor = RewardMonitor(stream.source.part.name, stream.compares)
            found.append(StreamRun(number, stream, *self.rollout.data(stream.task, stream.rewards), monitor))
        return found

    def serving(self, spec: StageSpec, start: Weights) -> VllmSampler | None:
        """vLLM's sampler, if the stage uses it; `start` are the weights without modules of the scope."""
        if spec.sampler == "own":
            return None
        model = self.engine.model
        if added := sorted(name for name, _ in model.named_parameters() if name not in start):
            raise ValueError(
                f"sampler 'vllm' doesn't support a scope that adds modules to the model, here {added[0]}: "
                "take sampler 'own', or a scope that trains the model's weights"
            )
        if self.vllm is None:
            trusted = self.recipe.model.trust_remote_code
            served = [plan.spec.sampling for plan in self.plans if plan.spec.sampler == "vllm"]
            tempered = any(sampling.temperature not in (0, 1) for sampling in served)
            self.vllm = VllmSampler(model, self.engine.precision, spec.sampler_memory, trusted, tempered)
        elif self.vllm.memory != spec.sampler_memory:
            raise ValueError("all stages share one vllm: give them the same sampler_memory")
        self.vllm.stale = True
        return self.vllm

    def owned_modules(self, index: int) -> nn.ModuleDict:
        """The modules of the stage's parts: those saved beside the stage's initial weights, else new ones; or those of
        the previous stage if its optimiser is kept."""
        plan = self.plans[index]
        torch.manual_seed(derive(self.recipe.seed, "owned", index))
        made = {name: make(width_of(self.engine.model, name)).to(self.device) for name, make in plan.owned.items()}
        if (place := self.models.place_of(plan.spec.start, index)) is not None:
            take_over(made, locate(place))
        if plan.spec.keep_optimiser and self.earlier:
            made |= {name: m for name, m in self.earlier.owned.items() if name in made}
        return nn.ModuleDict(made)

    @property
    def owned(self) -> Owned:
        """The modules that the parts of the last stage own, which are saved with the model."""
        last = self.plans[-1]
        return Owned(dict(self.engine.owned.items()), last.owners, last.scores)

    def trainables_changed(self, stage: StageRun, moved: bool) -> None:
        """Updates everything that depends on which parameters are trainable: checkpoints, the cost of a backward pass,
        anchors that weigh parameters. `moved`: whether the policy differs from the base."""
        self.touched |= {m.name for m in stage.scope.trainables}
        self.engine.cost_of_backward = backward_cost(self.engine.model)
        weigh_parameters(self.rollout, stage, moved)

    def leave(self, stage: StageRun, folder: Path | None = None) -> None:
        """Ends a stage: exports the scope's modules, such as an adapter, then folds them into the plain weights."""
        self.engine.external_sampler = None
        stage.validation.go_back(self.validated(stage))
        if folder is not None and stage.scope.export is not None:
            put(folder / "adapter", stage.scope.export)
        stage.scope.fold()
        if stage.spec.blend < 1:
            model = self.engine.model
            base = self.models.base().state_dict()
            model.load_state_dict(interpolate(base, model.state_dict(), stage.spec.blend))
        if stage.floor:
            self.floors.append({"stage": stage.name, **stage.floor.account(self.engine)})
        after = self.plans[stage.index + 1 :]
        self.earlier = stage if after and after[0].spec.keep_optimiser else None
        if any({"previous", "earlier"} & plan.roles for plan in after):
            now = {name: p.detach().to("cpu", copy=True) for name, p in self.engine.model.named_parameters()}
            self.ends = {**({"earlier": self.ends["previous"]} if self.ends else {}), "previous": now}

    def validate(self, stage: StageRun, step: int) -> dict[str, float]:
        """Accuracy on tuning items after this step of the stage, if a validation is due; empty otherwise."""
        if not stage.validation.due(step):
            return {}
        assert stage.spec.validation is not None
        task = self.rollout.task
        examples = task.examples("tune", stage.spec.validation.items, self.recipe.data.seed)
        if not examples:
            raise ValueError(f"task {task.name!r} has no tuning items to validate on: leave out `validate`")
        found = accuracy(self.engine, task, examples, self.rollout.sampling(stage.spec))
        stage.validation.note(found, step, self.validated(stage))
        return {"validation/accuracy": found, "validation/best": stage.validation.best}

    def validated(self, stage: StageRun) -> Mapping[str, Tensor]:
        """What a validation keeps and restores: the parameters that were trainable so far, and those of the modules
        that parts own, such as a value head."""
        named = dict(self.engine.model.named_parameters())
        return {name: named[name] for name in sorted(self.touched)} | stage.owned_parameters()

    def open_floor(self, spec: StageSpec, index: int, saved: bool) -> RetentionFloor | None:
        """The stage's retention floor, with the items that the base gets right; in a resumed stage those come from the
        checkpoint."""
        keep = spec.keep
        if keep is None or not keep.floor:
            return None
        if spec.budget is None and keep.every > spec.steps:
            words = "the floor of %s is never evaluated: the stage has %d steps, but keep.every is %d: lower keep.every"
            log.warning(words, self.stage_name(index), spec.steps, keep.every)
        sets = make_sets(keep.sets, self.engine.tokens, tasks.make, probes_of(self.recipe), self.recipe.answer_tokens)
        dual = Dual(
            keep.floor,
            keep.integral_gain,
            keep.proportional_gain,
            max_strength=keep.max_strength,
            strength=keep.strength,
        )
        floor = RetentionFloor(sets, dual, keep.every, keep.items, keep.ema, derive(self.recipe.seed, "keep") % 2**31)
        if not saved:
            floor.begin(self.engine if index == 0 else self.models.engine_of(self.models.base()))
        return floor

    def update_floor(self, stage: StageRun, step: int, progress: float) -> dict[str, float]:
        """Evaluates some items of the keep sets after this step of the stage, if that is due, and updates the
        strength."""
        return stage.floor.evaluate(self.engine, step, progress) if stage.floor and stage.floor.due(step) else {}

    def starts_from_base(self, index: int) -> bool:
        spec = self.plans[index].spec
        return spec.start == "base" or (index == 0 and spec.start == "previous")

    def is_base(self, role: str, index: int) -> bool:
        """Whether the model in that role is the base, as the reference of a stage is that starts from the base."""
        place = self.plans[index].spec.reference if role == "reference" else role
        bases = {"base", "start"} if self.starts_from_base(index) else {"base"}
        return role not in self.recipe.models and place in bases

    def is_its_start(self, role: str, index: int) -> bool:
        """Whether the model in that role is the one with which the stage starts."""
        spec = self.plans[index].spec
        place = spec.reference if role == "reference" else role
        starts = {"start", "base" if self.starts_from_base(index) else spec.start} - {"previous"}
        return role not in self.recipe.models and place in starts

    # --- checkpoints ------------------------------------------------------------------------------------

    def state(self, stage: StageRun) -> dict[str, Any]:
        """The state of the models for a checkpoint; parameters that were never trainable are left out."""
        named = dict(self.engine.model.named_parameters())
        state: dict[str, Any] = {
            "weights": {name: named[name] for name in sorted(self.touched)},
            "meter": self.engine.meter.state(),
            "precision": self.engine.precision,
            "dtype": str(self.engine.model.dtype).removeprefix("torch."),
            "stage": stage.state(),
            "ends": self.ends,
            "remembered": self.rollout.remembered,
            "paid": sorted(self.rollout.paid),
            "floors": self.floors,
        }
        if stage.index and stage.spec.reference == "start" and "reference" in self.engine.others:
            state["reference"] = dict(self.engine.others["reference"].transformer.named_parameters())
        return state

    def restore(self, saved: Mapping[str, Any]) -> None:
        self.touched = set(saved["weights"])
        pairs = [(self.engine.model, saved["weights"])]
        if "reference" in saved:
            pairs.append((self.engine.others["reference"].transformer, saved["reference"]))
        for model, weights in pairs:
            overwrite(model, weights)
        vars(self.engine.meter).update(saved["meter"])
        for key, memory in saved["remembered"].items():
            self.rollout.remembered.setdefault(key, {}).update(memory)
        self.floors, self.rollout.paid = list(saved["floors"]), set(saved["paid"])
        self.engine.precision = saved["precision"]  # "auto" measures the machine, and the result may vary


def probes_of(recipe: Recipe) -> list[Probe]:
    """The probes of the ledger; a recipe may have none."""
    spec = recipe.measure
    return make_probes(spec.probes, spec.target, tasks.make, recipe.answer_tokens) if spec.probes else []
