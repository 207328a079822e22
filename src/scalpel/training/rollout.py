"""What a run has in stock: policy, prompts, rewards and texts, opened from disk, and what sources are handed of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from scalpel import models, tasks
from scalpel.batch import Batch
from scalpel.config.recipe import ModelSpec, Recipe, StageSpec
from scalpel.data.example import (
    Example,
    Prompt,
    Task,
    asked,
)
from scalpel.data.tokenized import Tokenized
from scalpel.data.tokenizer import Tokens
from scalpel.device import choose_device, choose_dtype, choose_precision
from scalpel.engine import Engine, Sample, Sampling
from scalpel.engine.embeddings import embed
from scalpel.engine.padded_forward import context, learned_positions
from scalpel.keep import Begin, write_documents
from scalpel.rewards import Early, Rewards, TrainerState
from scalpel.seeding import derive, others, window
from scalpel.sources.context import SourceContext
from scalpel.training.completions import completion_rows
from scalpel.training.lengths import Limit
from scalpel.training.sample_shares import SampleShares
from scalpel.training.stage import StageRun

log = logging.getLogger("scalpel")
Reward = Callable[[Sequence[Example], Sequence[Sequence[Sample]]], list[list[list[float]]]]


class Rollout:
    """The models and data of a recipe; stages are the job's. Parts get at it through `SourceContext` only."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.device = choose_device(recipe.model.device)
        self.task = tasks.make(recipe.task)
        self._frozen: Engine | None = None  # the base, where texts are compared as vectors
        self.recalled: dict[str, dict[str, Any]] = {}  # what reward functions remember, by the data that they reward
        self._written: dict[tuple, Sequence[Tokenized]] = {}
        self.paid: set[str] = set()  # which of them the meter has counted; a resumed run writes them again
        self.unpaid = 0.0  # seconds of writing that no step has taken
        self._examples: dict[str, tuple[Task, list[Example], Rewards]] = {}
        model, tokens = self.load(recipe.model)
        self.engine = Engine(model, tokens, precision=choose_precision(recipe.model.precision, model, self.device))
        self.meter = self.engine.meter  # the run's own; a look ahead has another
        self.noted: dict[str, float] = {}  # what reward functions logged in this step
        self.samples = SampleShares()  # that were judged in this step
        self.completions: list[dict[str, Any]] = []  # some of what the policy wrote in this step, with its rewards

    def load(self, spec: ModelSpec) -> tuple[PreTrainedModel, Tokens]:
        dtype = choose_dtype(spec.dtype, self.device)
        trusted = spec.trust_remote_code
        model, tokens = models.load(spec.path, device=self.device, dtype=dtype, trust_remote_code=trusted)
        return model, tokens.templated(spec.chat_template, spec.chat_template_kwargs, spec.control_tokens)

    def engine_of(self, model: PreTrainedModel) -> Engine:
        return Engine(model, self.engine.tokens, precision=self.engine.precision)

    def base(self) -> PreTrainedModel:
        """The base, opened anew: the policy may have moved."""
        return self.load(self.recipe.model)[0].requires_grad_(False).eval()

    def written(self, total: int, n: int, max_tokens: int, temperature: float, begin: Begin) -> Sequence[Tokenized]:
        """Texts that the base wrote by itself, written once. Before the first step the policy is the base."""
        key = (n, max_tokens, temperature, begin)
        if key not in self._written:
            moved = total or self.recipe.stages[0].start not in ("previous", "base")
            writer, started = self.engine_of(self.base()) if moved else self.engine, perf_counter()
            log.info("the base writes %d texts of up to %d tokens, which will stand for what it is", n, max_tokens)
            aside = self.engine.meter is not self.meter  # a look ahead asks first, and the run pays all the same
            meter = writer.meter
            if str(key) not in self.paid:
                self.paid, writer.meter = {*self.paid, str(key)}, self.meter
            self._written[key] = write_documents(
                writer, n, max_tokens=max_tokens, temperature=temperature, begin=begin, seed=self.recipe.seed
            )
            writer.meter = meter
            self.unpaid += (perf_counter() - started) * aside
        return self._written[key]

    def data(
        self, spec: Mapping[str, Any] | None, rewards: Sequence[str | Mapping[str, Any]] | None = None
    ) -> tuple[Task, list[Example], Rewards]:
        """A task, its training items, and how completions are rewarded; opened once."""
        chosen = tuple(self.recipe.data.rewards if rewards is None else rewards)
        key = repr((spec, chosen))
        if key not in self._examples:
            task = self.task if spec is None else tasks.make(dict(spec))
            examples = asked(task, "train", self.recipe.data.items, self.recipe.data.seed, 1024)
            if not examples:
                raise ValueError(f"task {task.name!r} has no training items")
            memory = self.recalled.setdefault(key, {})
            made = Rewards(chosen, task, self.chances, self.vectors, memory)
            made.suits(examples)
            self._examples[key] = (task, examples, made)
        return self._examples[key]

    def survey(self, stage: StageRun) -> None:
        """Renders the rows that the stage will meet, so that what is to be said of them is said before its first step,
        and a row that can't be rendered is refused then."""
        spec = stage.spec
        for k, stream in enumerate(stage.plan.streams):
            examples = stage.data[k][1]
            most = len(examples) if spec.budget else min(len(examples), -(-spec.steps // stream.reuse) * stream.batch)
            order = derive(self.recipe.seed, "order", stage.index, k)
            trained = bool({"demonstration", "pair"} & stream.source.part.gives)
            self.engine.tokens.survey(window(examples, 0, most, order), trained)

    def chances(self, role: str, prompts: Sequence[Prompt], answers: Sequence[str]) -> list[list[float]]:
        """For each prompt how likely each of these answers is to the model of a role, if it gives one of them."""
        tokens = self.engine.tokens
        rows = [(tokens.prompt(prompt), tokens.completion(a, prompt)) for prompt in prompts for a in answers]
        with self.engine.standing_in(role):
            logp = torch.tensor([sum(row) for row in self.engine.logps(rows)], dtype=torch.float64)
        return logp.view(len(prompts), len(answers)).softmax(1).tolist()

    def vectors(self, texts: Sequence[str]) -> Tensor:
        """Where texts lie in the base's own space, which stays as it was while the policy learns."""
        if self._frozen is None:
            self._frozen = self.engine_of(self.base())
        self._frozen.meter = self.engine.meter
        room = context(self.engine.model) - 1
        return embed(self._frozen, [self.engine.tokens.prompt(text)[-room:] for text in texts])

    def select(self, stage: StageRun) -> None:
        """Lets the flows that choose their prompts do so, once, with the policy as it is when the stage begins."""
        for k, stream in enumerate(stage.plan.streams):
            if stream.select is None:
                continue
            _, examples, rewards = stage.data[k]
            reward = partial(self.reward, rewards, TrainerState(), 0, trial=True)
            seed = derive(self.recipe.seed, "select", stage.index, k) % 2**31
            keeps = stream.select(self.material(stage, examples, reward, seed, 0.0))
            kept = [i for i, keep in enumerate(keeps) if keep]
            log.info("%s: %d of %d prompts selected", stage.name, len(kept), len(examples))
            if not kept:
                raise ValueError(
                    f"selection {stream.select.part.name!r} keeps none of {len(examples)} prompts: take easier ones or "
                    "more samples of each, ask less of them, or begin with a method that shows how, such as prefix-rft"
                )
            stage.narrow(k, kept)

    def draw(
        self,
        stage: StageRun,
        k: int,
        step: int,
        total: int,
        done: float,
        hand: Callable[[SourceContext], SourceContext] = lambda d: d,
    ) -> Batch:
        """The batch of flow k for this step: from its source, then shown as its corruptions say. `hand` may change
        what the source is handed."""
        stream, (_, examples, rewards) = stage.plan.streams[k], stage.data[k]
        seed = derive(self.recipe.seed, "draw", total, k) % 2**31
        order = derive(self.recipe.seed, "order", stage.index, k)
        chosen = window(examples, step // stream.reuse, stream.batch, order)
        epoch = (step // stream.reuse) * stream.batch / len(examples)
        state = TrainerState(total, sum(spec.steps * spec.repeat for spec in self.recipe.stages), epoch)
        early = rewards.while_sampling(state)
        judge = partial(self.reward, rewards, state, stage.spec.log_completions, early=early)
        aside = self.engine.meter is not self.meter  # a look ahead: the step itself will be watched
        reward = judge if aside else stage.reward_monitors[k].watching(judge)
        material = replace(self.material(stage, chosen, reward, seed, done), written=partial(self.written, total))
        trial = partial(self.reward, rewards, state, 0, trial=True)
        material = replace(material, more=partial(others, examples, chosen, seed), on_trial=trial)
        if early.functions:
            material = replace(material, early=partial(self.ask, early))
        with early:
            batch = stream.source(hand(material), progress=done).rewarded()
        self.noted |= stage.temperature_controller.settle() if stage.temperature_controller else {}
        if not batch.train_N.any():
            self.count("data/empty")
        for c, corruption in enumerate(stream.corrupt):
            handed: dict[str, Any] = {"mask_id": self.engine.tokens.mask_id, "seed": derive(seed, c) % 2**31}
            if needs := corruption.declared("needs", done):
                handed["out"] = self.engine.score(batch, needs=needs)
            batch = corruption(batch, progress=done, **handed)
        return batch

    def material(
        self, stage: StageRun, examples: Sequence[Example], reward: Reward, seed: int, done: float
    ) -> SourceContext:
        spec, temperature_controller = stage.spec, stage.temperature_controller
        sampling = self.sampling(spec)
        if temperature_controller:
            sampling = replace(sampling, temperature=temperature_controller.temperature, entropy=True)

        limit = self.limit(spec)

        def fit(rendered: Tokenized, example: Example | None = None) -> Tokenized | None:
            found = limit.cut(rendered, example)
            if found is None or len(found) < len(rendered):
                self.count("data/dropped" if found is None else "data/shortened")
            return found

        def sample(
            prompts: Sequence[Sequence[int]],
            n: int,
            seed: int,
            limits: Sequence[int] | None = None,
            writer: str = "policy",
            done: Callable[[int, list[Sample]], None] | None = None,
        ) -> list[list[Sample]]:
            limits = self.room(prompts, sampling.max_tokens, limits)
            with self.engine.standing_in(writer):
                found = self.engine.sample(prompts, sampling, n, seed, limits, done)
            if temperature_controller and writer == "policy":
                temperature_controller.note(found)
            return found

        return SourceContext(
            examples=examples,
            seed=seed,
            progress=done,
            tokens=self.engine.tokens,
            sample=sample,
            reward=reward,
            fit=fit,
            max_tokens=sampling.max_tokens,
        )

    def limit(self, spec: StageSpec) -> Limit:
        """How long a sequence of the stage may be: as it says, else as the model's context is."""
        own = self.context()
        if spec.max_length is None:
            return Limit(own, f"the model's context is {own:,} tokens", spec.truncation)
        if spec.max_length > own and learned_positions(self.engine.model):
            return Limit(own, f"the model has learned {own:,} positions and no more", spec.truncation)
        return Limit(spec.max_length, f"max_length is {spec.max_length:,}", spec.truncation)

    def context(self) -> int:
        """How many tokens the policy can look back on."""
        return context(self.engine.model)

    def room(self, prompts: Sequence[Sequence[int]], most: int, limits: Sequence[int] | None) -> Sequence[int] | None:
        """How many tokens may be sampled behind each prompt: what is asked, or what the context has room for."""
        own = self.context()
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

    def count(self, name: str) -> None:
        """One more of what the step's record counts."""
        self.noted[name] = self.noted.get(name, 0.0) + 1.0

    def sampling(self, spec: StageSpec) -> Sampling:
        s = spec.sampling
        return Sampling(s.max_tokens, s.temperature, s.top_p, s.top_k, tuple(s.stop))

    def ask(self, early: Early, example: Example, samples: Sequence[Sample]) -> None:
        """Has the rewards that may be asked early look at one prompt's samples."""
        ids = [sample.ids for sample in samples]
        early.ask(example, [self.engine.tokens.text(row) for row in ids], ids)

    def reward(
        self,
        rewards: Rewards,
        state: TrainerState,
        most: int,
        examples: Sequence[Example],
        samples: Sequence[Sequence[Sample]],
        trial: bool = False,
        early: Early | None = None,
    ) -> list[list[list[float]]]:
        """The weighted rewards of each sample of each example; what the functions logged goes into the record, and
        the samples of the first `most` examples into the table of completions. Of a trial nothing is noted."""
        rows = [(example, sample.ids) for example, group in zip(examples, samples, strict=True) for sample in group]
        texts = [self.engine.tokens.text(ids) for _, ids in rows]
        asked = [example for example, _ in rows]
        scored = rewards(asked, texts, [ids for _, ids in rows], state, trial, early)
        if not trial:
            cut_off = [not sample.finished for group in samples for sample in group]
            self.samples.note(scored, cut_off)
            self.noted |= {**scored.metrics, **self.samples.shares}
            self.completions += completion_rows(asked, texts, scored, cut_off, most)
        flat = iter(scored.marks)
        return [[next(flat) for _ in group] for group in samples]
