"""A recipe under way: its models, data and stages, opened from disk and handed to the loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from scalpel import models, tasks
from scalpel.adapters import adapt
from scalpel.assemble import Plan, assemble
from scalpel.batch import Batch
from scalpel.device import choose_device, choose_dtype, choose_precision
from scalpel.draw import Draw, derive, window
from scalpel.engine import Engine, Sample, Sampling
from scalpel.engine.meter import matrix_parameters
from scalpel.example import Example, Task
from scalpel.optimise import make_optimiser, restore_states, states
from scalpel.recipe import ModelSpec, Recipe, StageSpec
from scalpel.rendered import Rendered, truncate
from scalpel.rewards import Rewards
from scalpel.scope import Carry, Hands, Scope
from scalpel.tokens import Tokens


@dataclass
class StageRun:
    """A stage under way: its plan, its prompts, what moves, and the optimiser over it."""

    name: str
    plan: Plan
    data: list[tuple[Task, list[Example], Rewards]]  # for each flow
    scope: Scope
    owned: nn.ModuleDict
    home: dict[str, Tensor]  # the moving values at attach, for anchors on parameters
    flops_at_start: float
    optimiser: torch.optim.Optimizer

    @property
    def spec(self) -> StageSpec:
        return self.plan.spec

    def named(self) -> dict[str, nn.Parameter]:
        """Everything the optimiser moves, by name."""
        moving = {m.name: m.value for m in self.scope.moving}
        return moving | {f"owned.{name}": p for name, p in self.owned.named_parameters()}

    def refresh(self, step: int) -> bool:
        """Lets the scope choose anew what moves; the optimiser's states follow."""
        before = states(self.optimiser, self.named())
        carry: Carry | None = self.scope.refresh(step)
        if carry is None:
            return False
        self.optimiser = make_optimiser(self.spec, self.scope.moving, self.owned)
        restore_states(self.optimiser, self.named(), before, carry)
        return True

    def state(self) -> dict[str, Any]:
        return {
            "optimiser": states(self.optimiser, self.named()),
            "owned": self.owned.state_dict(),
            "scope": self.scope.state(),
            "home": self.home,
            "flops_at_start": self.flops_at_start,
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Takes a checkpoint's masks, modules and optimiser states; the model's weights are in place already."""
        self.scope.restore(saved["scope"])
        self.owned.load_state_dict(saved["owned"])
        self.home, self.flops_at_start = dict(saved["home"]), saved["flops_at_start"]
        self.optimiser = make_optimiser(self.spec, self.scope.moving, self.owned)
        restore_states(self.optimiser, self.named(), saved["optimiser"])


class Job:
    """Everything a run holds, opened from a recipe. Parts get at it through `Draw` and `Hands` only."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        torch.set_num_threads(recipe.threads or torch.get_num_threads())
        torch.manual_seed(derive(recipe.seed, "start") % 2**63)
        self.plans = [assemble(spec, recipe) for spec in recipe.stages for _ in range(spec.repeat)]
        if not self.plans:
            raise ValueError('this recipe trains nothing: add [train] with a method, as in method = "sft"')
        self.device = choose_device(recipe.model.device)
        self.task = tasks.make(recipe.task)
        self._examples: dict[str, tuple[Task, list[Example], Rewards]] = {}
        model, tokens = self.load(recipe.model)
        tokens.check()
        precision = choose_precision(recipe.model.precision, model, self.device)
        self.engine = Engine(model, tokens, precision=precision)
        self.touched: set[str] = set()  # parameters that have moved since the start
        self.noted: dict[str, float] = {}  # what reward functions logged in this step

    def load(self, spec: ModelSpec) -> tuple[PreTrainedModel, Tokens]:
        dtype = choose_dtype(spec.dtype, self.device)
        return models.load(spec.path, device=self.device, dtype=dtype, trust_remote_code=spec.trust_remote_code)

    # --- stages -----------------------------------------------------------------------------------------

    def stage_name(self, index: int) -> str:
        spec = self.plans[index].spec
        name = spec.name or spec.method or "stage"
        earlier = sum((p.spec.name or p.spec.method or "stage") == name for p in self.plans[:index])
        return f"{name}.{earlier + 1}" if earlier else name

    def enter(self, index: int, saved: Mapping[str, Any] | None = None) -> StageRun:
        """Opens a stage: starting weights, the models beside, data, scope and optimiser; or as they were saved."""
        plan, model = self.plans[index], self.engine.model
        if saved is None:
            self.start_from(plan.spec.start)
        self.engine.others = {role: self.other(role, plan.spec) for role in sorted(plan.roles)}
        self.engine.verify_heads()
        self.engine.micro_tokens = plan.spec.micro_tokens
        adapter = partial(adapt, model)
        scope = plan.scope(model, Hands(derive(self.recipe.seed, "scope", index) % 2**31, adapter))
        width = model.config.get_text_config().hidden_size
        torch.manual_seed(derive(self.recipe.seed, "owned", index))
        self.engine.owned = nn.ModuleDict({name: make(width).to(self.device) for name, make in plan.owned.items()})
        home = {m.name: m.value.detach().clone() for m in scope.moving} if plan.on_parameters else {}
        data = [self.data(flow.task) for flow in plan.flows]
        optimiser = make_optimiser(plan.spec, scope.moving, self.engine.owned)
        flops = self.engine.meter.flops
        stage = StageRun(self.stage_name(index), plan, data, scope, self.engine.owned, home, flops, optimiser)
        if saved is not None:
            self.restore(saved)
            stage.restore(saved["stage"])
        self.moves(stage)
        return stage

    def moves(self, stage: StageRun) -> None:
        """Notes what moves now: for checkpoints, and for the cost of a backward pass."""
        self.touched |= {m.name for m in stage.scope.moving}
        matrices = sum(m.weight.numel() for m in stage.scope.moving if m.weight.dim() >= 2)
        self.engine.moving_share = min(1.0, matrices / matrix_parameters(self.engine.model))

    def leave(self, stage: StageRun) -> None:
        """Ends a stage: what its scope holds goes into the plain weights."""
        stage.scope.fold()
        self.touched = {name for name, _ in self.engine.model.named_parameters()}

    def start_from(self, start: str) -> None:
        if start != "previous":
            spec = self.recipe.model if start == "base" else self.recipe.model.model_copy(update={"path": start})
            self.engine.model.load_state_dict(self.load(spec)[0].state_dict())

    def other(self, role: str, spec: StageSpec) -> PreTrainedModel:
        """A frozen model for a role: a named one, or the reference that the stage asks for."""
        if role in self.recipe.models:
            found = self.load(self.recipe.models[role])[0]
        elif spec.reference in ("base", "start"):
            found = self.load(self.recipe.model)[0]
            if spec.reference == "start":
                found.load_state_dict(self.engine.model.state_dict())
        else:
            found = self.load(self.recipe.model.model_copy(update={"path": spec.reference}))[0]
        if found.get_input_embeddings().weight.shape[0] != self.engine.model.get_input_embeddings().weight.shape[0]:
            raise ValueError(f"the {role} model has another vocabulary than the policy: take one of the same family")
        return found.requires_grad_(False).eval()

    # --- data -------------------------------------------------------------------------------------------

    def data(self, spec: Mapping[str, Any] | None) -> tuple[Task, list[Example], Rewards]:
        """A task, its training items, and how completions are rewarded; opened once."""
        key = repr(spec)
        if key not in self._examples:
            task = self.task if spec is None else tasks.make(dict(spec))
            examples = task.examples("train", self.recipe.data.items, self.recipe.data.seed)
            if not examples:
                raise ValueError(f"task {task.name!r} has no training items")
            self._examples[key] = (task, examples, Rewards(self.recipe.data.rewards, task))
        return self._examples[key]

    def draw(self, stage: StageRun, k: int, step: int, total: int, done: float) -> Batch:
        """The batch of flow k for this step: from its source, then shown as its corruptions say."""
        flow, (_, examples, rewards) = stage.plan.flows[k], stage.data[k]
        seed = derive(self.recipe.seed, "draw", total, k) % 2**31
        chosen = window(examples, step // flow.reuse, flow.batch, derive(self.recipe.seed, "order", k))
        batch = flow.source(self.material(stage.spec, chosen, rewards, seed, done), progress=done)
        for c, corruption in enumerate(flow.corrupt):
            mask_id = self.engine.tokens.mask_id
            batch = corruption(batch, mask_id=mask_id, seed=derive(seed, c) % 2**31, progress=done)
        return batch

    def material(self, spec: StageSpec, examples: Sequence[Example], rewards: Rewards, seed: int, done: float) -> Draw:
        s = spec.sampling
        sampling = Sampling(s.max_tokens, s.temperature, s.top_p, s.top_k, tuple(s.stop))

        def fit(rendered: Rendered) -> Rendered | None:
            room = spec.max_length or context(self.engine.model)
            return truncate(rendered, room, spec.truncation)

        return Draw(
            examples=examples,
            seed=seed,
            progress=done,
            tokens=self.engine.tokens,
            sample=lambda prompts, n, seed: self.engine.sample(prompts, sampling, n, seed),
            reward=partial(self.reward, rewards),
            fit=fit,
            max_tokens=s.max_tokens,
        )

    def reward(
        self, rewards: Rewards, examples: Sequence[Example], samples: Sequence[Sequence[Sample]]
    ) -> list[list[list[float]]]:
        """The weighted rewards of each sample of each example; what the functions logged goes into the record."""
        rows = [(example, sample.ids) for example, group in zip(examples, samples, strict=True) for sample in group]
        texts = [self.engine.tokens.text(ids) for _, ids in rows]
        scored = rewards([example for example, _ in rows], texts, [ids for _, ids in rows])
        self.noted |= scored.metrics
        flat = iter(scored.weighted_SK.tolist())
        return [[next(flat) for _ in group] for group in samples]

    # --- checkpoints ------------------------------------------------------------------------------------

    def state(self, stage: StageRun) -> dict[str, Any]:
        """All that a resumed run needs of the models; parameters that never moved are left out."""
        named = dict(self.engine.model.named_parameters())
        state: dict[str, Any] = {
            "weights": {name: named[name] for name in sorted(self.touched)},
            "meter": self.engine.meter.state(),
            "stage": stage.state(),
        }
        if stage.spec.reference == "start" and "reference" in self.engine.others:
            state["reference"] = dict(self.engine.others["reference"].named_parameters())
        return state

    @torch.no_grad()
    def restore(self, saved: Mapping[str, Any]) -> None:
        self.touched = set(saved["weights"])
        pairs = [(self.engine.model, saved["weights"])]
        if "reference" in saved:
            pairs.append((self.engine.others["reference"], saved["reference"]))
        for model, weights in pairs:
            for name, value in weights.items():
                model.get_parameter(name).copy_(value)
        vars(self.engine.meter).update(saved["meter"])


def context(model: PreTrainedModel) -> int:
    return getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2**20
