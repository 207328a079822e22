"""Policy gradients beside TRL's trainers, and by hand where TRL has none: the same weights and tokens give the same
loss and the same gradient of every weight. Samples are of unequal lengths, so that it shows what is divided by what."""

from dataclasses import replace
from math import exp, log
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

import material
import tiny
from beside_trl import QUIET, advantages, agree, as_trl, laid, nothing, ours, stream_of
from scalpel.anchors.context import ImportanceContext
from scalpel.batch import Batch
from scalpel.data.trajectory import completion
from scalpel.engine import Engine
from scalpel.engine.squared_gradients import squared_slopes
from scalpel.part import bind, zero_head
from scalpel.sources.groups import overlong_penalty
from scalpel.training.step import StepMetrics, backward, prepare
from scalpel.worked_cases import case

trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.filterwarnings("ignore")
SIZE = 4


def sampled(engine: Engine, stream: Any, spread: float) -> Batch:
    """Samples of the policy, as if it had moved since: ratios on both sides of the clip."""
    batch = stream.source(material.uneven(material.context(engine)))
    assert len(batch.length_S.unique()) > 3
    moved_N = spread * torch.randn(batch.N, generator=torch.Generator().manual_seed(3))
    return prepare(engine, stream, replace(batch, old_N=engine.score(batch).logp_N + moved_N), 0.0)


def grpo_trainer(at: Path, **config: Any) -> Any:
    args = trl.GRPOConfig(
        str(at), max_completion_length=8, num_generations=SIZE, per_device_train_batch_size=12, **config, **QUIET
    )
    trainer = trl.GRPOTrainer(
        AutoModelForCausalLM.from_pretrained(tiny.folder(at / "base")), nothing, args,
        train_dataset=datasets.Dataset.from_list([dict(prompt="a")] * 4), processing_class=tiny.tokenizer(None),
    )  # fmt: skip
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def row(method: str, **objective: Any) -> Any:
    """The row's flow with groups of four and these keys of its objective over the row's own."""
    signal: dict[str, Any] = {"source": {"name": "groups", "size": SIZE}, "objective": objective}
    return stream_of(method=method, signals={"0": signal})


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize(
    ("method", "config", "spread"),
    [
        ("gspo", dict(loss_type="grpo", importance_sampling_level="sequence"), 2e-3),
        ("gspo-token", dict(loss_type="grpo", importance_sampling_level="sequence"), 2e-3),
        ("luspo", dict(loss_type="luspo", importance_sampling_level="sequence"), 2e-3),
        ("dapo", dict(loss_type="dapo"), 0.4),
    ],
)
def test_sequence_ratios_and_dapo_are_trl_s(
    tmp_path: Path, method: str, config: dict[str, Any], spread: float, pieces: int
) -> None:
    engine, stream = material.engine(seed=0), row(method)
    assert stream.signals[0].objective is not None
    hyper = stream.signals[0].objective.hyper
    batch = sampled(engine, stream, spread)
    trainer = grpo_trainer(tmp_path, beta=0.0, epsilon=hyper["epsilon"], epsilon_high=hyper["epsilon_high"], **config)
    inputs = as_trl(batch, advantages(batch, SIZE, scaled=True))
    inputs["num_items_in_batch"] = batch.train_N.sum()
    agree(trainer, trainer._compute_loss(trainer.model, inputs), ours(engine, stream, batch, pieces))


def test_a_dynamic_divergence_is_trl_s_at_its_strength_of_the_moment(tmp_path: Path) -> None:
    engine = material.engine(seed=0, reference=1)
    stream = stream_of(method="grpo-d", signals={"0": {"source": {"size": SIZE}}})
    batch = prepare(engine, stream, sampled(engine, stream, 0.4), 0.5)
    trainer = grpo_trainer(tmp_path, loss_type="grpo", beta=0.02, use_bias_correction_kl=False)  # half of 0.04
    loss = backward(engine, stream, batch, 0.5, 1, StepMetrics())
    mine = {name: p.grad for name, p in engine.model.named_parameters() if p.grad is not None}
    inputs = as_trl(batch, advantages(batch, SIZE, scaled=True))
    agree(trainer, trainer._compute_loss(trainer.model, inputs), (loss, mine))


def test_the_dual_clip_is_trl_s_two_sided_one(tmp_path: Path) -> None:
    engine, stream = material.engine(seed=0), row("grpo", dual=1.5)
    batch = sampled(engine, stream, 1.0)
    trainer = grpo_trainer(tmp_path, loss_type="grpo", beta=0.0, delta=1.5)
    inputs = as_trl(batch, advantages(batch, SIZE, scaled=True))
    mine = ours(engine, stream, batch)
    assert mine[0] != pytest.approx(ours(material.engine(seed=0), row("grpo"), batch)[0])
    agree(trainer, trainer._compute_loss(trainer.model, inputs), mine)


@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("outside", ["truncate", "mask"])
def test_the_importance_correction_is_trl_s(tmp_path: Path, level: str, outside: str) -> None:
    engine = material.engine(seed=0)
    keys = dict(name="importance", level=level, outside=outside, low=0.6, high=1.5)
    signal: dict[str, Any] = {"source": {"name": "groups", "size": SIZE}, "credit": ["group-zscore", keys]}
    stream = stream_of(method="grpo-async", signals={"0": signal})
    batch = sampled(engine, stream, 0.3)
    trainer = grpo_trainer(tmp_path, loss_type="grpo", beta=0.0)
    trainer.use_vllm, trainer.vllm_importance_sampling_correction = True, True
    difference_ST = laid(batch, batch.old_N) - laid(batch, batch.behaviour_N)
    if level == "sequence":
        difference_ST = difference_ST.sum(1, keepdim=True)
    ratio_ST = difference_ST.exp()
    far_ST = (ratio_ST < 0.6) | (ratio_ST > 1.5)
    assert bool(far_ST.any()) and not bool(far_ST.all())
    inputs = as_trl(batch, advantages(batch, SIZE, scaled=True))
    kept_ST = ratio_ST.clamp(0.6, 1.5) if outside == "truncate" else ratio_ST.masked_fill(far_ST, 0.0)
    inputs["importance_sampling_ratio"] = kept_ST
    agree(trainer, trainer._compute_loss(trainer.model, inputs), ours(engine, stream, batch))


@pytest.mark.parametrize("kl_beta", [0.0, 0.03, 0.3])
def test_rloo_is_trl_s_with_its_penalty_in_the_reward(tmp_path: Path, kl_beta: float) -> None:
    engine = material.engine(seed=0, reference=1)
    stream = stream_of(method="rloo")  # its own penalty is that of TRL's run on TL;DR, 0.03
    if kl_beta != 0.03:
        signal: dict[str, Any] = {"credit": [{"name": "leave-one-out", "kl_beta": kl_beta}]}
        stream = stream_of(method="rloo", signals={"0": signal})
    batch = sampled(engine, stream, 0.1)
    args = trl.RLOOConfig(
        str(tmp_path), epsilon=0.2, beta=0.0, max_completion_length=8, num_generations=SIZE,
        per_device_train_batch_size=12, **QUIET,
    )  # fmt: skip
    trainer = trl.RLOOTrainer(
        AutoModelForCausalLM.from_pretrained(tiny.folder(tmp_path / "base")), nothing, args,
        train_dataset=datasets.Dataset.from_list([dict(prompt="a")] * 4), processing_class=tiny.tokenizer(None),
    )  # fmt: skip
    reward_S = batch.reward_S
    if kl_beta:
        assert batch.old_N is not None and batch.reference_N is not None
        reward_S = reward_S - kl_beta * laid(batch, batch.old_N - batch.reference_N).sum(1)
    reward_GK = reward_S.view(-1, SIZE)
    baseline_GK = (reward_GK.sum(1, keepdim=True) - reward_GK) / (SIZE - 1)
    inputs = as_trl(batch, (reward_GK - baseline_GK).reshape(-1))
    inputs["old_logps"] = inputs.pop("old_per_token_logps").sum(1)
    agree(trainer, trainer._compute_loss(trainer.model, inputs), ours(engine, stream, batch))


def test_the_soft_penalty_on_length_is_trl_s() -> None:
    from trl.rewards import get_soft_overlong_punishment

    punished = get_soft_overlong_punishment(max_completion_len=20, soft_punish_cache=4)
    for length in (1, 15, 16, 17, 19, 20):
        (theirs,) = punished(completion_ids=[[0] * length])
        assert overlong_penalty(completion((), [0] * length), 20, 0.2) == pytest.approx(theirs)


def test_reinforce_is_the_mean_of_minus_reward_less_baseline_times_log_prob() -> None:
    engine, stream = material.engine(seed=0), stream_of(method="reinforce")
    stream.signals[0].credits[0].memory.state = {"reward": 0.05, "weight": 0.1}  # b = ½
    batch = stream.source(material.uneven(material.context(engine)))
    assert len(material.EXAMPLES) == batch.S == len(batch.length_S.unique())  # one sample a prompt
    loss, gradients = ours(engine, stream, batch)
    model = tiny.model(seed=0)
    total = torch.zeros(())
    for s in range(batch.S):
        ids, trained = batch.ids_N[batch.seq_N == s], batch.train_N[batch.seq_N == s]
        logp = model(ids[None]).logits[0, :-1].log_softmax(-1).gather(1, ids[1:, None])[:, 0]
        total = total - (batch.reward_S[s] - 0.5) * logp[trained[1:]].sum() / batch.train_N.sum()
    total.backward()
    assert loss == pytest.approx(float(total.detach()), rel=1e-5)
    for name, p in model.named_parameters():
        torch.testing.assert_close(gradients[name], p.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("pieces", [1, 3])
def test_ppo_is_what_loops_over_tokens_say_of_weights_and_of_the_zero_head(pieces: int) -> None:
    gamma, lam, kl_beta, generator = 0.9, 0.8, 0.3, torch.Generator().manual_seed(4)
    engine, head = material.engine(seed=0, reference=1), zero_head(16)
    torch.nn.init.normal_(head.weight, std=0.3, generator=generator)
    engine.owned = torch.nn.ModuleDict({"value": head})
    keys = dict(gamma=gamma, lam=lam, kl_beta=kl_beta)
    signals = {"0": {"source": {"size": SIZE}, "credit": [{"name": "gae", **keys}]}, "1": {"objective": keys}}
    stream = stream_of(method="ppo", signals=signals)
    batch = stream.source(material.uneven(material.context(engine)))
    train_N = batch.train_N & (torch.arange(batch.N) % 5 != 0)  # as if these were an environment's words
    batch = prepare(engine, stream, replace(batch, train_N=train_N), 0.0)
    assert batch.old_N is not None and batch.old_value_N is not None and batch.reference_N is not None
    moved = 0.4 * torch.randn(2, batch.N, generator=generator)  # beyond both clips, on either side
    batch = replace(batch, old_N=batch.old_N + moved[0], old_value_N=batch.old_value_N + moved[1])
    assert batch.old_N is not None and batch.old_value_N is not None and batch.reference_N is not None
    loss = backward(engine, stream, batch, 0.0, pieces, StepMetrics())
    mine = {n: p.grad for n, p in engine.model.named_parameters() if p.grad is not None}
    own, model = head.weight.grad, tiny.model(seed=0)
    head.weight.grad = None
    found: list[tuple[Any, ...]] = []  # of each token its log-prob and value, return, advantage, old log-prob and value
    for s in range(batch.S):
        at = (batch.seq_N == s).nonzero()[:, 0]
        ids, trained = batch.ids_N[at], [t for t in range(len(at)) if batch.train_N[at[t]]]
        logp_TV, h_TD = model(ids[None]).logits[0].log_softmax(-1), model.base_model(ids[None]).last_hidden_state[0]
        after, later = 0.0, 0.0  # value and advantage of the token behind
        for t in reversed(trained):
            old, reference, V = (float(x[at[t]]) for x in (batch.old_N, batch.reference_N, batch.old_value_N))
            r = float(batch.reward_S[s]) * (t == trained[-1]) - kl_beta * (old - reference)
            later = r + gamma * after - V + gamma * lam * later
            after = V
            found.append((logp_TV[t - 1, ids[t]], head(h_TD[t - 1])[0], later + V, later, old, V))
    logps, values, *numbers = zip(*found, strict=True)
    logp, V = torch.stack(logps), torch.stack(values)
    R, A, old, V_old = (torch.tensor(x) for x in numbers)
    A, ratio = (A - A.mean()) / (A.std() + 1e-8), (logp - old).exp()
    policy = -torch.minimum(ratio * A, ratio.clamp(0.8, 1.2) * A).mean()
    held = V_old + (V - V_old).clamp(-0.2, 0.2)
    total = policy + 0.1 * 0.5 * torch.maximum((V - R) ** 2, (held - R) ** 2).mean()
    assert bool((held != V).any()) and bool(((ratio - 1).abs() > 0.2).any())
    total.backward()
    assert loss == pytest.approx(float(total.detach()), rel=1e-4)
    assert own is not None and float(own.abs().max()) > 1e-4
    torch.testing.assert_close(own, head.weight.grad, rtol=1e-3, atol=1e-6)
    for name, p in model.named_parameters():
        torch.testing.assert_close(mine[name], p.grad, rtol=1e-3, atol=1e-6)


def test_ppo_on_three_tokens_is_the_arithmetic() -> None:
    # γ = 1, λ = ½, V_old = (0.2, 0.4, 0.6), reward 1 at the end, kl_beta 0.1 with log π_old/π_ref = (1, 0, −1)
    # r = (−0.1, 0, 1 + 0.1);  δ = (−0.1 + 0.4 − 0.2, 0.6 − 0.4, 1.1 − 0.6) = (0.1, 0.2, 0.5)
    # Â = (0.1 + ½·0.45, 0.2 + ½·0.5, 0.5) = (0.325, 0.45, 0.5);  R = Â + V_old = (0.525, 0.85, 1.1)
    ratio = [1.5, 1.0, 0.5]  # clipped to 1.2, and where the advantage is positive a low ratio stays: 0.5
    old = [-1.0, -1.0, -1.0]
    numbers: dict[str, Any] = dict(
        old=[old], old_value=[[0.2, 0.4, 0.6]], reference=[[-2.0, -1.0, 0.0]], reward=[1.0],
        value=[[0.3, 0.9, 0.6]],
    )  # fmt: skip
    out, batch = case([[o + log(r) for o, r in zip(old, ratio, strict=True)]], **numbers)
    hyper = dict(lam=0.5, kl_beta=0.1)
    credit = bind("credit", "gae", whiten=False, **hyper)
    assert credit.part.statistic is not None
    stat = credit.part.statistic(out, batch, gamma=1.0, whiten=False, **hyper)
    credit_N = credit(out, batch, stat=stat)
    assert credit_N[batch.train_N].tolist() == pytest.approx([0.325, 0.45, 0.5])
    pushed = bind("objective", "clipped-pg", average="token")
    loss, _ = pushed(out, replace(batch, credit_N=credit_N))
    assert float(loss) / 3 == pytest.approx(-(1.2 * 0.325 + 1.0 * 0.45 + 0.5 * 0.5) / 3)
    # V held within 0.2 of V_old: (0.3, 0.6, 0.6); the worse of both squares: (0.225², max(0.05², 0.25²), 0.5²) / 2
    taught, _ = bind("objective", "value", **hyper)(out, batch)
    assert float(taught) == pytest.approx((0.225**2 + 0.25**2 + 0.5**2) / 2)


def test_the_adaptive_coefficient_is_ziegler_s() -> None:
    anchor = bind("anchor", "adaptive-kl", beta=0.2, target=0.1, rate=0.1, estimator="k3")
    out, batch = case([[-1.0]], reference=[[-1.0]])
    expected = 0.2
    for kl, error in ((0.11, 0.1), (0.5, 0.2), (0.0, -0.2), (0.1, 0.0)):  # errors of more than a fifth count as one
        anchor.follow({"kl": kl}, batch, 0.0)
        expected *= 1 + 0.1 * error
        assert anchor.memory.state == pytest.approx(expected)
    away, there = case([[0.0]], reference=[[-1.0]])
    assert float(anchor(away, there)[0]) == pytest.approx(expected / exp(1.0))


def test_elastic_weights_are_the_mean_squared_gradient_of_each_text_s_log_likelihood() -> None:
    engine = material.engine(seed=0)
    batch = bind("source", "demonstrations")(material.context(engine))
    model = tiny.model(seed=0)
    expected = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for s in range(batch.S):
        ids, trained = batch.ids_N[batch.seq_N == s], batch.train_N[batch.seq_N == s]
        logp = model(ids[None]).logits[0, :-1].log_softmax(-1).gather(1, ids[1:, None])[:, 0]
        slopes = torch.autograd.grad(logp[trained[1:]].sum(), list(model.parameters()))
        for name, g in zip(expected, slopes, strict=True):
            expected[name] += g**2 / batch.S
    weights = dict(engine.model.named_parameters())
    importance = ImportanceContext(
        frozenset(weights), lambda *asked: batch, lambda b: squared_slopes(engine, weights, b)
    )
    anchor = bind("anchor", "elastic", strength=2.0)
    assert anchor.part.weigh is not None
    fisher = anchor.part.weigh({}, importance, **anchor.hyper)
    for name in expected:
        torch.testing.assert_close(fisher[name], expected[name], rtol=1e-3, atol=1e-7)
    assert all(p.grad is None for p in weights.values())
    home = {name: p.detach() for name, p in weights.items()}
    now = {name: (p + 0.5).requires_grad_() for name, p in home.items()}
    penalty, _ = anchor(now, home, state=fisher)
    size, whole = sum(f.numel() for f in fisher.values()), sum(float(f.sum()) for f in fisher.values())
    assert float(penalty) == pytest.approx(0.5 * 2.0 * 0.25 * size, rel=1e-4)  # Σ F̂ is the number of weights
    penalty.backward()
    for name, f in fisher.items():
        torch.testing.assert_close(now[name].grad, 2.0 * f * size / whole * 0.5, rtol=1e-4, atol=1e-6)
