"""The models of a run: the policy with its engine, and frozen models in other roles."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from scalpel import models
from scalpel.config.recipe import ModelSpec, Recipe
from scalpel.data.tokenizer import Tokens
from scalpel.device import choose_device, choose_dtype, choose_precision
from scalpel.engine import Engine
from scalpel.models.size import parameters_of
from scalpel.models.state_dict import overwrite, refuse_other_shape, refuse_other_vocabulary

Weights = Mapping[str, Tensor]  # by a parameter's name


class RunModels:
    """Opens the models that a recipe names; `engine` is the policy's. `dtype` is that of the recipe's model where a
    checkpoint says so: "auto" might choose otherwise on another machine."""

    def __init__(self, recipe: Recipe, dtype: str = "") -> None:
        self.recipe = recipe
        self.dtypes = {recipe.model.path: getattr(torch, dtype)} if dtype else {}
        self.device = choose_device(recipe.model.device)
        model, tokens = self.load(recipe.model)
        self.engine = Engine(model, tokens, precision=choose_precision(recipe.model.precision, model, self.device))

    def load(self, spec: ModelSpec) -> tuple[models.Model, Tokens]:
        dtype = self.dtypes.get(spec.path) or choose_dtype(spec.dtype, self.device, parameters_of(spec.path))
        trusted = spec.trust_remote_code
        model, tokens = models.load(spec.path, device=self.device, dtype=dtype, trust_remote_code=trusted)
        return model, tokens.templated(spec.chat_template, spec.chat_template_kwargs, spec.control_tokens)

    def base(self) -> models.Model:
        """The base, loaded again, since the policy's weights may have changed."""
        return self.load(self.recipe.model)[0].requires_grad_(False).eval()

    def engine_of(self, model: models.Model) -> Engine:
        return Engine(model, self.engine.tokens, precision=self.engine.precision)

    def start_from(self, start: str) -> None:
        """Loads the weights with which a stage starts into the policy: those of the base or of a folder; for "previous"
        there is nothing to do."""
        if start == "previous":
            return
        found = self.load(self.spec_of(start))[0]
        refuse_other_shape(found, self.engine.model, f"the start {start!r}")
        self.engine.model.load_state_dict(found.state_dict())

    def place_of(self, start: str, index: int) -> str | None:
        """The folder or hub id whose weights a stage starts with; None where those of the stage before are there."""
        if start == "previous":
            return None if index else self.recipe.model.path
        return self.spec_of(start).path

    def spec_of(self, place: str) -> ModelSpec:
        """The recipe's model, or one from another folder with the same settings."""
        return self.recipe.model if place in ("base", "start") else self.recipe.model.model_copy(update={"path": place})

    def in_role(self, role: str, reference: str, start: Weights, ends: Mapping[str, Weights]) -> models.Model:
        """A frozen model for a role: a named one, what an earlier stage ended with (the base, where there was none), or
        the stage's `reference`. `start` are the weights with which the stage starts, `ends` those of earlier stages."""
        if role in self.recipe.models:
            found = self.load(self.recipe.models[role])[0]
        elif role in ("previous", "earlier"):
            found = self.load(self.recipe.model)[0]
            overwrite(found, ends.get(role, {}))
        elif role == "base":
            found = self.base()
        else:
            found = self.load(self.spec_of(reference))[0]
            if reference == "start":
                found.load_state_dict(start)
        refuse_other_vocabulary(found, self.engine.model, role)
        return found.requires_grad_(False).eval()
