"""The rollout: draws the batch of a step from a source, which may sample from the policy and have samples rewarded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from scalpel import tasks
from scalpel.batch import Batch
from scalpel.config.recipe import Recipe, StageSpec
from scalpel.data.example import (
    Example,
    Prompt,
    Task,
    items_of,
)
from scalpel.data.next_turn import say_prefix_faults
from scalpel.data.tokenized import Tokenized
from scalpel.data.trajectory import Trajectory
from scalpel.engine import CostMeter, Engine, Sample, Sampling
from scalpel.engine.embeddings import embed
from scalpel.engine.padded_forward import context, learned_positions
from scalpel.environments import Environment, play
from scalpel.keep import Begin, write_documents
from scalpel.rewards import Early, Rewards, TrainerState
from scalpel.seeding import derive, others, places, window
from scalpel.sources.context import Sampler, SourceContext
from scalpel.training.lengths import Limit
from scalpel.training.models import RunModels
from scalpel.training.stage import StageRun
from scalpel.training.step_record import StepRecord, ask_early, judged
from scalpel.training.stream import StreamRun

log = logging.getLogger("scalpel")
Reward = Callable[[Sequence[Example], Sequence[Sequence[Trajectory]]], list[list[list[float]]]]


class Rollout:
    """Draws batches: it gives examples to a source, which may sample from the policy and have samples rewarded. Parts
    have access to it through `SourceContext` only."""

    def __init__(self, recipe: Recipe, models: RunModels) -> None:
        self.recipe, self.models = recipe, models
        self.task = tasks.make(recipe.task)
        self.remembered: dict[str, dict[str, Any]] = {}  # the state of reward functions, by the data that they reward
        self.paid: set[str] = set()  # self-generated texts that the meter has counted; a resumed run writes them again
        self.record = StepRecord()
        self._frozen: Engine | None = None  # the base, for embeddings of texts
        self._written: dict[tuple, Sequence[Tokenized]] = {}
        self._data: dict[str, tuple[Task, Sequence[Example], Rewards]] = {}

    @property
    def engine(self) -> Engine:
        return self.models.engine

    @contextmanager
    def preserving_state(self) -> Iterator[None]:
        """For evaluations that are not part of the run: their cost isn't counted, and random numbers, gradients and the
        step's record are restored afterwards."""
        engine, record, state = self.engine, self.record, torch.get_rng_state()
        meter, engine.meter, self.record = engine.meter, CostMeter(), deepcopy(record)
        training = engine.model.training
        try:
            yield
        finally:
            engine.meter, self.record = meter, record
            engine.model.train(training)
            for module in (engine.model, engine.owned):
                module.zero_grad(set_to_none=True)
            torch.set_rng_state(state)

    def written(
        self, global_step: int, n: int, max_tokens: int, temperature: float, begin: Begin
    ) -> Sequence[Tokenized]:
        """Self-generated texts of the base, written once and cached. Before the first step the policy is the base, so
        no second model has to be loaded."""
        key = (n, max_tokens, temperature, begin)
        if key not in self._written:
            moved = global_step or self.recipe.stages[0].start not in ("previous", "base")
            writer = self.models.engine_of(self.models.base()) if moved else self.engine
            log.info("the base writes %d texts of up to %d tokens, as data that represents it", n, max_tokens)
            meter, writer.meter = writer.meter, CostMeter() if str(key) in self.paid else self.engine.meter
            self.paid = {*self.paid, str(key)}
            self._written[key] = write_documents(
                writer, n, max_tokens=max_tokens, temperature=temperature, begin=begin, seed=self.recipe.seed
            )
            writer.meter = meter
        return self._written[key]

    def data(
        self, spec: Mapping[str, Any] | None, rewards: Sequence[str | Mapping[str, Any]] | None = None
    ) -> tuple[Task, Sequence[Example], Rewards]:
        """A task, its training items and its rewards; opened once and cached."""
        chosen = tuple(self.recipe.data.rewards if rewards is None else rewards)
        key = repr((spec, chosen))
        if key not in self._data:
            task = self.task if spec is None else tasks.make(dict(spec))
            examples = items_of(task, "train", self.recipe.data.items, self.recipe.data.seed, 1024)
            if not examples:
                raise ValueError(f"task {task.name!r} has no training items")
            memory = self.remembered.setdefault(key, {})
            made = Rewards(chosen, task, self.chances, self.vectors, memory)
            made.suits(examples)
            self._data[key] = (task, examples, made)
        return self._data[key]

    def chances(self, role: str, prompts: Sequence[Prompt], answers: Sequence[str]) -> list[list[float]]:
        """For each prompt, the probability of each of these answers under the model of a role, given that it is one of
        them: a softmax of their log-probabilities, in float64 since sums of many tokens lie far below zero."""
        tokens = self.engine.tokens
        rows = [(tokens.prompt(prompt), tokens.completion(a, prompt)) for prompt in prompts for a in answers]
        with self.engine.acting_as(role):
            logp = torch.tensor([sum(row) for row in self.engine.logps(rows)], dtype=torch.float64)
        return logp.view(len(prompts), len(answers)).softmax(1).tolist()

    def vectors(self, texts: Sequence[str]) -> Tensor:
        """Embeddings of texts by the frozen base, so that they stay the same while the policy learns."""
        if self._frozen is None:
            self._frozen = self.models.engine_of(self.models.base())
        self._frozen.meter = self.engine.meter
        longest = context(self.engine.model) - 1
        return embed(self._frozen, [self.engine.tokens.prompt(text)[-longest:] for text in texts])

    def survey(self, stage: StageRun) -> None:
        """Renders the rows that the stage will use, so that warnings about them come before its first step, and a row
        that can't be rendered is refused then."""
        if stage.plan.environment:
            say_prefix_faults(self.engine.tokens, stage.plan.environment.role)
        spec = stage.spec
        for stream in stage.streams:
            examples, plan = stream.examples, stream.plan
            most = (
                len(examples)
                if spec.budget
                else min(len(examples), -(-spec.steps // plan.steps_per_batch) * plan.batch)
            )
            trained = bool({"demonstration", "pair"} & plan.source.part.gives)
            self.engine.tokens.survey(window(examples, 0, most, self.order(stage, stream)), trained)

    def order(self, stage: StageRun, stream: StreamRun) -> int:
        """The seed of the order of a stream's examples."""
        return derive(self.recipe.seed, "order", stage.index, stream.number)

    def select(self, stage: StageRun) -> None:
        """Runs the selections of prompts, once, with the policy at the beginning of the stage. Raises ValueError for
        one that selects none."""
        for stream in stage.streams:
            selection, examples = stream.plan.select, stream.examples
            if selection is None:
                continue
            reward = partial(self.reward, stream.rewards, TrainerState(), 0, trial=True)
            seed = derive(self.recipe.seed, "select", stage.index, stream.number) % 2**31
            keeps = selection(self.context(stage, examples, reward, seed, 0.0))
            kept = [i for i, keep in enumerate(keeps) if keep]
            log.info("%s: %d of %d prompts selected", stage.name, len(kept), len(examples))
            if not kept:
                raise ValueError(
                    f"selection {selection.part.name!r} keeps none of {len(examples)} prompts: take easier ones, more "
                    "samples of each or a lower threshold, or begin with a method with demonstrations, as prefix-rft"
                )
            stream.narrow(kept)

    def draw(
        self,
        stage: StageRun,
        stream: StreamRun,
        step: int,
        global_step: int,
        progress: float,
        hand: Callable[[SourceContext], SourceContext] = lambda given: given,
    ) -> Batch:
        """The stream's batch for this step: drawn by its source, then changed by its corruptions. `hand` may replace
        the source's context."""
        plan, examples, rewards = stream.plan, stream.examples, stream.rewards
        seed = derive(self.recipe.seed, "draw", global_step, stream.number) % 2**31
        at = places(len(examples), step // plan.steps_per_batch, plan.batch, self.order(stage, stream))
        chosen = [examples[place] for place in at]
        epoch = (step // plan.steps_per_batch) * plan.batch / len(examples)
        state = TrainerState(global_step, sum(spec.steps * spec.repeat for spec in self.recipe.stages), epoch)
        early = rewards.while_sampling(state)
        judge = partial(self.reward, rewards, state, stage.spec.log_completions, early=early)
        given = replace(
            self.context(stage, chosen, stream.monitor.watching(judge), seed, progress),
            written=partial(self.written, global_step),
            more=partial(others, examples, at, seed),
            on_trial=partial(self.reward, rewards, state, 0, trial=True),
            early=partial(ask_early, self.engine.tokens, early, chosen) if early.functions else None,
        )
        with early:
            batch = plan.source(hand(given), progress=progress).rewarded()
        if not batch.train_N.any():
            self.record.count("data/empty")
        for c, corruption in enumerate(plan.corrupt):
            handed: dict[str, Any] = {"mask_id": self.engine.tokens.mask_id, "seed": derive(seed, c) % 2**31}
            if needs := corruption.declared("needs", progress):
                handed["out"] = self.engine.score(batch, needs=needs)
            batch = corruption(batch, progress=progress, **handed)
        return batch if plan.tempered else replace(batch, temperature_N=None)

    def context(
        self, stage: StageRun, examples: Sequence[Example], reward: Reward, seed: int, progress: float
    ) -> SourceContext:
        """The context of a source."""
        controller, limit = stage.temperature_controller, self.limit(stage.spec)
        sampling, environment = self.sampling(stage.spec), stage.plan.environment
        if controller:
            sampling = replace(sampling, temperature=controller.temperature, entropy=True)

        def fit(rendered: Tokenized, example: Example | None = None) -> Tokenized | None:
            found = limit.cut(rendered, example)
            if found is None or len(found) < len(rendered):
                self.record.count("data/dropped" if found is None else "data/shortened")
            return found

        def sample(
            prompts: Sequence[Sequence[int]],
            n: int,
            seed: int,
            limits: Sequence[int] | None = None,
            writer: str = "policy",
            done: Callable[[int, list[Trajectory]], None] | None = None,
        ) -> list[list[Trajectory]]:
            def behind(p: int, samples: Sequence[Sample]) -> list[Trajectory]:
                return [sample.behind(prompts[p], sampling.scale) for sample in samples]

            limits = self.token_limits(prompts, sampling.max_tokens, limits)
            told = None if done is None else lambda p, samples: done(p, behind(p, samples))
            with self.engine.acting_as(writer):
                found = self.engine.sample(prompts, sampling, n, seed, limits, told)
            if controller and writer == "policy":
                controller.note(found)
            return [behind(p, samples) for p, samples in enumerate(found)]

        return SourceContext(
            examples=examples,
            seed=seed,
            progress=progress,
            tokens=self.engine.tokens,
            sample=sample,
            reward=reward,
            fit=fit,
            max_tokens=sampling.max_tokens,
            play=partial(self.play, environment) if environment else None,
            turns=environment.max_turns if environment else 1,
        )

    def play(
        self, environment: Environment, sample: Sampler, examples: Sequence[Example], n: int, seed: int
    ) -> list[list[Trajectory]]:
        """n episodes of each example."""
        return play(environment, self.engine.tokens, sample, examples, n, seed, self.context_length())

    def limit(self, spec: StageSpec) -> Limit:
        """The maximal length of a sequence: the stage's `max_length`, else the model's context length."""
        own = self.context_length()
        if spec.max_length is None:
            return Limit(own, f"the model's context is {own:,} tokens", spec.truncation)
        if spec.max_length > own and learned_positions(self.engine.model):
            return Limit(own, f"the model has learned {own:,} positions and no more", spec.truncation)
        return Limit(spec.max_length, f"max_length is {spec.max_length:,}", spec.truncation)

    def context_length(self) -> int:
        """The policy's context length in tokens."""
        return context(self.engine.model)

    def token_limits(
        self, prompts: Sequence[Sequence[int]], most: int, limits: Sequence[int] | None
    ) -> Sequence[int] | None:
        """The maximal number of sampled tokens for each prompt: as asked, or as many as fit the context. Raises
        ValueError for a prompt that fills the context."""
        own = self.context_length()
        longest = max(map(len, prompts), default=0)
        if longest >= own:
            raise ValueError(
                f"a prompt of {longest:,} tokens leaves no room for an answer in the model's context of {own:,}: "
                "shorten or remove it, or take a model with a longer context"
            )
        if longest + most <= own:
            return limits
        asked = limits or [most] * len(prompts)
        return [min(limit, own - len(prompt)) for limit, prompt in zip(asked, prompts, strict=True)]

    def sampling(self, spec: StageSpec) -> Sampling:
        s = spec.sampling
        return Sampling(s.max_tokens, s.temperature, s.top_p, s.top_k, tuple(s.stop))

    def reward(
        self,
        rewards: Rewards,
        state: TrainerState,
        most: int,
        examples: Sequence[Example],
        samples: Sequence[Sequence[Trajectory]],
        trial: bool = False,
        early: Early | None = None,
    ) -> list[list[list[float]]]:
        """The weighted rewards of each trajectory of each example. What the functions logged is recorded, and samples
        of the first `most` examples go into the table of completions; nothing is recorded for a `trial`."""
        found = judged(self.engine.tokens, rewards, state, examples, samples, trial, early)
        if not trial:
            self.record.note(found, most)
        return found.by_group(samples)
