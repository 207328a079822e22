"""Log-probs of samples at a sampling temperature other than 1 are TRL's, of logits / τ: current, old and reference
alike; and which tokens of which batches have one."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

import material
import running
import tiny
from beside_trl import QUIET, advantages, agree, as_trl, laid, nothing, ours, stream_of
from formula_parity import logits_of
from scalpel.batch import DEMONSTRATION, POLICY, Batch
from scalpel.registry import AXES
from scalpel.training.run import TrainingRun
from scalpel.training.step import prepare

TAU = 0.6


def drawn(stream: Any, temperature: float = TAU, **others: int) -> tuple[material.Engine, Batch]:
    """Samples of the policy at that temperature, as the rollout gives them to a stream."""
    engine = material.engine(seed=0, **others)
    batch = stream.source(material.uneven(material.context(engine, temperature=temperature)))
    return engine, batch if stream.tempered else replace(batch, temperature_N=None)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("pieces", [1, 3])
def test_grpo_at_a_temperature_is_trl_s_loss_gradients_old_and_reference_log_probs(tmp_path: Path, pieces: int) -> None:
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    signal = dict(source=dict(name="groups", size=4), credit=["group-zscore"], objective="clipped-pg")
    anchors = [dict(name="kl", estimator="k3", beta=0.04, average="sequence")]
    stream = stream_of(signals=[{**signal, "updates_per_batch": 2}], anchors=anchors)
    engine, batch = drawn(stream, reference=1)
    batch = prepare(engine, stream, batch, 0.0)  # the reference's log-probs, and old ones
    args = trl.GRPOConfig(
        str(tmp_path), loss_type="grpo", beta=0.04, epsilon=0.2, use_bias_correction_kl=False, temperature=TAU,
        max_completion_length=8, num_generations=4, per_device_train_batch_size=12, **QUIET,
    )  # fmt: skip
    trainer = trl.GRPOTrainer(
        AutoModelForCausalLM.from_pretrained(tiny.folder(tmp_path / "base")), nothing, args,
        train_dataset=datasets.Dataset.from_list([dict(prompt="a")] * 4), processing_class=tiny.tokenizer(None),
    )  # fmt: skip
    trainer.current_gradient_accumulation_steps = 1
    inputs = as_trl(batch, advantages(batch, 4, scaled=True))
    ids, mask = (
        torch.cat([inputs[f"{side}_{what}"] for side in ("prompt", "completion")], 1) for what in ("ids", "mask")
    )
    trained_ST = inputs["completion_mask"].bool()
    with torch.no_grad():
        theirs_ST = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, trained_ST.shape[1])[0]
        z_nV, y_n = logits_of(tiny.model(seed=1), batch)
    close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-4)
    close(inputs["old_per_token_logps"][trained_ST], theirs_ST[trained_ST])
    close(laid(batch, batch.behaviour_N)[trained_ST], theirs_ST[trained_ST])
    reference_n = (z_nV / TAU).log_softmax(-1).gather(1, y_n[:, None])[:, 0]
    close(inputs["ref_per_token_logps"][trained_ST], reference_n.float())
    moved_N = 0.4 * torch.randn(batch.N, generator=torch.Generator().manual_seed(3))  # ratios on both sides of the clip
    batch = replace(batch, old_N=batch.old_N + moved_N)
    inputs["old_per_token_logps"] = laid(batch, batch.old_N)
    agree(trainer, trainer._compute_loss(trainer.model, inputs), ours(engine, stream, batch, pieces))


@pytest.mark.parametrize("objective", ["nll", "entropy", {"name": "clipped-pg", "average": "token"}])
def test_the_gradient_of_a_sample_is_that_of_the_distribution_that_it_was_drawn_from(objective: Any) -> None:
    """In the first update also where the head makes its gradients in the forward pass."""
    stream = stream_of(signals=[dict(source=dict(name="groups", size=4), credit=["group-mean"], objective=objective)])
    engine, batch = drawn(stream)
    model = tiny.model(seed=0)
    z_nV, y_n = logits_of(model, batch)
    p_nV = (z_nV / TAU).log_softmax(-1)
    mean_S = torch.stack([batch.reward_S[batch.group_S == g].mean() for g in batch.group_S])
    credit_n = (batch.reward_S - mean_S).repeat_interleave(batch.length_S.long())
    numbers_n = -(p_nV.exp() * p_nV).sum(-1) if objective == "entropy" else p_nV.gather(1, y_n[:, None])[:, 0]
    (-(credit_n * numbers_n).mean()).backward()
    _, gradients = ours(engine, stream, batch)
    for name, p in model.named_parameters():
        torch.testing.assert_close(gradients[name], p.grad, rtol=1e-4, atol=1e-6)


def test_only_what_the_policy_sampled_has_a_temperature_and_only_where_it_differs_from_1() -> None:
    hybrid = stream_of(method="luffy", signals={"0": {"source": {"size": 4}}})
    _, batch = drawn(hybrid)
    sampled_N = batch.train_N & (batch.author_N == POLICY)
    assert batch.temperature_N is not None and bool((batch.temperature_N == torch.where(sampled_N, TAU, 1.0)).all())
    assert bool((batch.train_N & (batch.author_N == DEMONSTRATION)).any())
    for temperature in (1.0, 0.0):  # a greedy sample was drawn from no distribution
        assert drawn(hybrid, temperature)[1].temperature_N is None


@pytest.mark.parametrize("method", ["rejection-sampling", "gflow-tb", "gflow-subtb", "gflow-db", "mrt-star"])
def test_a_method_that_means_the_model_itself_has_log_probs_at_1(method: str) -> None:
    """Imitation of samples, and objectives whose optimum is a distribution of the model's own."""
    stream = stream_of(method=method)
    assert not stream.tempered
    engine, batch = drawn(stream, reference=1, previous=2)
    _, plain = material.engine(seed=0), replace(batch, temperature_N=None)
    assert torch.equal(engine.score(batch).logp_N, engine.score(plain).logp_N)


def test_every_policy_gradient_of_the_table_takes_the_temperature() -> None:
    for method in ("reinforce", "rloo", "grpo", "dr-grpo", "dapo", "gspo", "ppo", "luffy", "srft", "hpt", "prefix-rft"):
        assert stream_of(method=method).tempered, method
    untempered = {
        (axis, name) for axis in ("credit", "objective", "anchor") for name, p in AXES[axis].items() if not p.tempered
    }
    assert untempered == {("objective", "tb"), ("objective", "subtb"), ("objective", "db"), ("credit", "made-progress")}


def test_a_run_trains_on_the_temperature_that_it_sampled_at(tmp_path: Path) -> None:
    at = running.prepare(tmp_path)
    for method, tempered in (("grpo", True), ("rejection-sampling", False)):
        run = TrainingRun(running.tables(at, {"method": method, "sampling": {"temperature": TAU}}))
        stage = run.enter(0)
        batch = run.rollout.draw(stage, stage.streams[0], 0, 0, 0.0)
        assert (batch.temperature_N is not None) == tempered
        if tempered:
            scored = run.engine.score(batch).logp_N
            torch.testing.assert_close(batch.behaviour_N[batch.train_N], scored[batch.train_N], rtol=1e-4, atol=1e-4)
