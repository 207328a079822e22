"""vLLM behind the engine's one call for samples, with a stand-in that has its interface and a model to sample from.

The last test asks vLLM itself; it is skipped where that or a GPU is missing.
"""

import sys
from dataclasses import dataclass, field, replace
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest
import torch

import tiny
from running import prepare, ran, tables
from scalpel import models
from scalpel.engine import Engine, Sampling
from scalpel.engine.outputs import completions
from scalpel.engine.policy import Policy
from scalpel.engine.vllm_sampler import VllmSampler, hindrance
from scalpel.registry import lookup
from scalpel.training.run import TrainingRun

PROMPTS = [[7, 8, 9], [20], [30, 31, 32, 33]]


@dataclass
class SamplingParams:
    """The parameters that are used, under vLLM's names and with its defaults."""

    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 16
    seed: int | None = None
    logprobs: int | None = None
    stop_token_ids: list[int] = field(default_factory=list)
    stop: list[str] | None = None
    include_stop_str_in_output: bool = False
    detokenize: bool = True


class LLM:
    """Draws one row after the other, token by token, from a copy of the model in the folder."""

    def __init__(self, model, dtype, logprobs_mode, **options):
        assert dtype == "float32" and logprobs_mode in ("raw_logprobs", "processed_logprobs")
        self.processed = logprobs_mode == "processed_logprobs"
        self.model, self.tokens = models.load(model)
        with torch.no_grad():
            for p in self.model.parameters():
                p.zero_()  # so that only what is handed over can be right
        self.options, self.loads, self.resets, self.requests = options, 0, 0, 0
        worker = SimpleNamespace(model_runner=SimpleNamespace(model=self))
        self.llm_engine = SimpleNamespace(model_executor=SimpleNamespace(driver_worker=worker))
        LLM.last = self

    @torch.no_grad()
    def load_weights(self, weights):
        self.loads += 1
        for name, value in weights:
            self.model.get_parameter(name).copy_(value)

    def reset_prefix_cache(self):
        self.resets += 1

    def generate(self, prompts, sampling_params, use_tqdm):
        self.requests += len(prompts)
        rows = zip(prompts, sampling_params, strict=True)
        return [SimpleNamespace(outputs=[self.row(p["prompt_token_ids"], how)]) for p, how in rows]

    @torch.no_grad()
    def row(self, prompt, how):
        assert how.n == 1 and how.logprobs == 0 and how.include_stop_str_in_output
        generator, ids, logprobs = torch.Generator().manual_seed(how.seed), [], []
        while len(ids) < how.max_tokens:
            logp_V = self.model(torch.tensor([[*prompt, *ids]])).logits[0, -1].log_softmax(-1)
            p_V = (logp_V / how.temperature).softmax(-1) if how.temperature else None
            token = int(logp_V.argmax() if p_V is None else torch.multinomial(p_V, 1, generator=generator))
            ids.append(token)
            said_V = p_V.log() if self.processed and p_V is not None else logp_V
            logprobs.append({token: SimpleNamespace(logprob=float(said_V[token]), rank=1)})
            if token in how.stop_token_ids or self.said(ids, how):
                return SimpleNamespace(token_ids=tuple(ids), logprobs=logprobs, finish_reason="stop")
        return SimpleNamespace(token_ids=tuple(ids), logprobs=logprobs, finish_reason="length")

    def said(self, ids, how):
        assert how.detokenize or not how.stop
        return any(stop in self.tokens.text(ids) for stop in how.stop or ())


@pytest.fixture
def vllm(monkeypatch):
    """vLLM's stand-in, where there would be a GPU."""
    module = ModuleType("vllm")
    module.LLM, module.SamplingParams, module.__spec__ = LLM, SamplingParams, ModuleSpec("vllm", None)
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setattr("scalpel.config.plan.hindrance", lambda: "")
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "0")


@pytest.fixture
def engine(vllm, tmp_path) -> Engine:
    """An engine whose policy is served, and no longer what is on disk."""
    model, tokens = models.load(tiny.folder(tmp_path / "llama", "llama"))
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(3.0)
    made = Engine(model, tokens)
    made.external_sampler = VllmSampler(model, "float32", 0.3)
    return made


def own(engine: Engine) -> Engine:
    return Engine(engine.model, engine.tokens)


def test_greedy_samples_are_those_of_the_engines_own_sampler(engine):
    written = own(engine).sample(PROMPTS, Sampling(max_tokens=12, temperature=0.0))
    middle = engine.tokens.text(written[0][0].ids)[4:6]
    for sampling in (
        Sampling(max_tokens=12, temperature=0.0),
        Sampling(max_tokens=12, temperature=0.0, stop=(middle,)),
    ):
        served, plain = (e.sample(PROMPTS, sampling, n=2, limits=[12, 5, 12]) for e in (engine, own(engine)))
        for a, b in zip(sum(served, []), sum(plain, []), strict=True):
            assert (a.ids, a.finished) == (b.ids, b.finished)
            assert a.logp == pytest.approx(b.logp, abs=1e-5)
    assert len(served[0][0].ids) < 12 and served[0][0].finished and [len(g[0].ids) for g in served][1] == 5


def test_the_stop_token_is_part_of_a_sample(engine):
    stop = own(engine).sample([PROMPTS[0]], Sampling(max_tokens=3, temperature=0.0))[0][0].ids[-1]
    engine.tokens.stop_ids = frozenset({stop})
    found = engine.sample([PROMPTS[0]], Sampling(max_tokens=9, temperature=0.0))[0][0]
    assert found.finished and found.ids[-1] == stop and len(found.ids) <= 3 and len(found.logp) == len(found.ids)


def test_log_probs_are_those_at_the_sampling_temperature_and_rows_have_seeds_of_their_own(engine):
    engine.external_sampler = VllmSampler(engine.model, "float32", 0.3, tempered=True)
    hot = Sampling(max_tokens=8, temperature=1.7)
    found, again, other = (engine.sample(PROMPTS, hot, n=4, seed=s) for s in (5, 5, 6))
    assert found == again and found != other
    assert len({tuple(s.ids) for s in found[0]}) > 1
    rows = [(PROMPTS[p], s.ids) for p, group in enumerate(found) for s in group]
    batch = completions(rows)
    batch = replace(batch, temperature_N=torch.where(batch.train_N, 1.7, 1.0))
    scored = own(engine).score(batch).logp_N[batch.train_N].tolist()
    assert [x for sample in sum(found, []) for x in sample.logp] == pytest.approx(scored, abs=1e-4)


def test_each_prompt_is_told_of_and_tokens_are_counted(engine):
    told = {}
    found = engine.sample(PROMPTS, Sampling(max_tokens=4), n=2, done=lambda p, samples: told.update({p: samples}))
    assert [told[p] for p in range(3)] == found
    assert engine.meter.tokens_sampled == sum(len(s.ids) for group in found for s in group)


def test_weights_are_handed_over_once_after_they_moved(engine):
    greedy = Sampling(max_tokens=6, temperature=0.0)
    for _ in range(2):
        engine.sample(PROMPTS, greedy)
    assert (LLM.last.loads, LLM.last.resets) == (1, 1)
    with torch.no_grad():
        for p in engine.model.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    engine.moved()
    assert engine.sample(PROMPTS, greedy)[0][0].ids == own(engine).sample(PROMPTS, greedy)[0][0].ids
    assert LLM.last.loads == 2


def test_another_model_in_the_policys_place_samples_the_engines_own_way(engine):
    engine.others["reference"] = Policy(models.load(engine.model.name_or_path)[0])
    with engine.acting_as("reference"):
        engine.sample(PROMPTS, Sampling(max_tokens=2))
    assert LLM.last.requests == 0


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("material"))


def test_a_recipe_trains_on_its_samples_and_hands_weights_over_after_each_step(at, vllm, tmp_path):
    stage = {"method": "grpo", "sampler": "vllm", "sampler_memory": 0.4, "steps": 3, "batch": 2}
    _, records = ran(tables(at, stage), tmp_path / "run")
    assert len(records) == 3 and all(r["gradient_norm"] > 0 for r in records)
    assert LLM.last.loads == 3 and LLM.last.options["gpu_memory_utilization"] == 0.4
    assert LLM.last.requests == 3 * 2 * lookup("source", "groups").schema["size"].default


def test_a_scope_with_weights_of_its_own_is_refused(at, vllm):
    run = TrainingRun(tables(at, {"method": "reinforce", "sampler": "vllm", "scope": "lora"}))
    with pytest.raises(ValueError, match="doesn't support a scope that adds modules .* here model.*'own'"):
        run.enter(0)


def test_stages_with_different_shares_of_one_vllm_are_refused(at, vllm):
    stage = {"method": "reinforce", "sampler": "vllm"}
    run = TrainingRun(tables(at, [stage, {**stage, "sampler_memory": 0.5}]))
    run.leave(run.enter(0))
    assert run.engine.external_sampler is None
    with pytest.raises(ValueError, match="give them the same sampler_memory"):
        run.enter(1)


def test_without_vllm_it_is_refused_before_anything_is_loaded(at, monkeypatch):
    monkeypatch.setattr("scalpel.engine.vllm_sampler.find_spec", lambda name: None)
    monkeypatch.setattr("scalpel.training.models.models.load", lambda *a, **k: pytest.fail("a model was loaded"))
    with pytest.raises(ValueError, match="sampler 'vllm' can't be used: the package vllm is not installed here; leave"):
        TrainingRun(tables(at, {"method": "grpo", "sampler": "vllm"}))


def test_an_entropy_to_keep_is_refused(at):
    with pytest.raises(ValueError, match="vLLM doesn't return entropies: leave out sampling.target_entropy"):
        tables(at, {"method": "grpo", "sampler": "vllm", "sampling": {"entropy": 1.0}})


@pytest.mark.skipif(bool(hindrance()), reason=hindrance())
def test_vllm_itself_agrees_with_the_engine():
    model, tokens = models.load("smollm2-135m-instruct", device="cuda")
    engine = Engine(model, tokens, precision="bfloat16")
    engine.external_sampler = VllmSampler(model, "bfloat16", 0.3)
    prompts = [tokens.prompt(({"role": "user", "content": text},)) for text in ("Name a fruit.", "Count to three.")]
    found = engine.sample(prompts, Sampling(max_tokens=16, temperature=1.3), n=4, seed=1)
    rows = [(prompts[p], s.ids) for p, group in enumerate(found) for s in group]
    served = torch.tensor([x for group in found for s in group for x in s.logp])
    scored = torch.tensor([x for row in engine.logps(rows) for x in row])
    assert (served - scored).abs().mean() < 0.1  # bfloat16 on both sides
