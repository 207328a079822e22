"""Methods that learn from what a model wrote itself, beside TRL where it has the loss, else beside the formula in plain
torch: the same weights and tokens give the same loss and the same gradient of every weight."""

from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, logsigmoid, one_hot
from transformers import PreTrainedModel

import material
import tiny
from formula_parity import agree, gradients, logits_of, rows, stream_of
from scalpel.batch import DEMONSTRATION, REJECTED, Batch
from scalpel.engine import Sampling
from scalpel.methods import ROWS
from scalpel.part import bind
from scalpel.training.step import StepMetrics, backward


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("iteration", [0, 3])
def test_spin_is_trl_s_dpo_of_the_demonstration_over_the_reference_s_own_answer(
    tmp_path: Path, iteration: int, pieces: int
) -> None:
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    engine = material.engine(seed=0, reference=1, earlier=2)
    stream = stream_of(iteration, method="spin")
    beta = (0.1, 5.0)[iteration > 0]
    batch = stream.source(material.uneven(material.context(engine)))
    found = list(rows(batch))
    args = trl.DPOConfig(
        str(tmp_path), beta=beta, loss_type=["sigmoid"], report_to=[], use_cpu=True, bf16=False,
        gradient_checkpointing=False, disable_tqdm=True,
    )  # fmt: skip
    data = datasets.Dataset.from_list([dict(prompt="a", chosen="b", rejected="c")])
    trainer = trl.DPOTrainer(
        tiny.model(seed=0), tiny.model(seed=1), args, train_dataset=data, processing_class=tiny.tokenizer(None)
    )
    pairs = [
        dict(prompt_ids=w[0], chosen_ids=w[1], rejected_ids=l[1]) for w, l in zip(found[::2], found[1::2], strict=True)
    ]
    theirs = trainer.compute_loss(trainer.model, trainer.data_collator(pairs))
    agree(engine, stream, batch, pieces, theirs, trainer.model)


def test_spin_s_losers_are_what_the_reference_writes_and_for_half_of_the_prompts_what_the_earlier_one_does() -> None:
    engine = material.engine(seed=0, reference=1, earlier=2)
    prompts = [engine.tokens.prompt(e.prompt) for e in material.EXAMPLES]
    context = material.uneven(material.context(engine))

    def losers(batch: Batch) -> list[list[int]]:
        return [c for s, (_, c) in enumerate(rows(batch)) if batch.label_S[s] == REJECTED]

    said = context.by("reference")(prompts, 1, context.seed)
    assert losers(bind("source", "self-play")(context)) == [s.ids for (s,) in said]
    half = losers(bind("source", "self-play", earlier=0.5)(context))
    at_first = context.by("reference")([prompts[0], prompts[2]], 1, context.seed)
    assert [half[0], half[2]] == [s.ids for (s,) in at_first]
    assert half[1] not in [s.ids for (s,) in said]


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize(("labels", "alpha"), [("soft", 0.5), ("soft", 0.0), ("hard", 0.75)])
def test_weak_to_strong_mixes_the_weak_labels_with_its_own_hardened_prediction(
    labels: str, alpha: float, pieces: int
) -> None:
    engine = material.engine(seed=0, weak=1)
    objective = {"name": "confidence", "alpha": alpha, "labels": labels}
    stream = stream_of(method="weak-to-strong", signals={"0": {"objective": objective}})
    batch = stream.source(material.uneven(material.context(engine)))
    strong, weak = tiny.model(seed=0), tiny.model(seed=1)
    for model in (engine.others["weak"].transformer, weak):
        model.lm_head.weight.data *= 8  # labels that are far from what the student believes
    z_nV, y_n = logits_of(strong, batch)
    with torch.no_grad():
        w_nV = logits_of(weak, batch)[0].softmax(-1)
    own_nV = one_hot(z_nV.argmax(-1), z_nV.shape[1]).double()
    if labels == "hard":
        w_nV = one_hot(y_n, z_nV.shape[1]).double()
    target_nV = (1 - alpha) * w_nV + alpha * own_nV  # as the paper has it: one cross entropy to a mixed target
    theirs = cross_entropy(z_nV, target_nV)
    entropy = -(w_nV * w_nV.clamp(min=1e-30).log()).sum(-1).mean()  # ours is a divergence: 0 where the two agree
    agree(engine, stream, batch, pieces, theirs - (1 - alpha) * entropy, strong)


@pytest.mark.parametrize(("pieces", "inverse"), [(1, 0.0), (2, 0.0), (1, 3.0), (2, 3.0)])
def test_superhf_is_cross_entropy_on_the_best_samples_its_inverse_if_asked_and_the_divergence_of_the_reference(
    pieces: int, inverse: float
) -> None:
    engine = material.engine(seed=0, reference=1)
    stream = stream_of(method="superhf")
    if inverse:
        pull = {"objective": "inverse-nll", "weight": inverse}
        stream = stream_of(method="superhf", signals=[*ROWS["superhf"].stage["signals"], pull])
    context = replace(
        material.uneven(material.context(engine)),
        reward=lambda e, groups: [[[-float(s.ids[0])] for s in g] for g in groups],
    )
    batch = stream.source(context)
    prompts = [context.tokens.prompt(e.prompt) for e in context.examples]
    written = [[s for s in group if s.finished] for group in context.sample(prompts, 16, context.seed)]
    best = [min(group, key=lambda s: s.ids[0]).ids for group in written if group]
    assert [completion for _, completion in rows(batch)] == best and batch.S == 3
    policy, reference = tiny.model(seed=0), tiny.model(seed=1)
    z_nV, y_n = logits_of(policy, batch)
    with torch.no_grad():
        r_nV = logits_of(reference, batch)[0].log_softmax(-1)
    divergence = kl_div(z_nV.log_softmax(-1), r_nV, log_target=True, reduction="batchmean")
    loss = cross_entropy(z_nV, y_n)
    agree(engine, stream, batch, pieces, loss + inverse / loss + 0.35 * divergence.clamp(min=0.0), policy)


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize(
    ("method", "stage"),
    [
        ("rejection-sampling", 0),
        ("rft", 1),
        ("rest-em", 0),
        ("expert-iteration", 0),
        ("best-of-n", 0),
        ("s3ft", 0),
        ("self-judged", 0),
        ("self-consistency", 0),
        ("sequence-distillation", 0),
    ],
)
def test_the_gradient_on_kept_samples_is_that_of_cross_entropy(method: str, stage: int, pieces: int) -> None:
    engine = material.engine(seed=0, reference=1, previous=2, teacher=3)
    stream = stream_of(stage, method=method)
    batch = stream.source(material.uneven(material.context(engine)))
    assert len(batch.length_S.unique()) >= 3
    policy = tiny.model(seed=0)
    agree(engine, stream, batch, pieces, cross_entropy(*logits_of(policy, batch)), policy)


def test_rft_gives_a_gold_token_the_weight_of_an_own_one() -> None:
    """One mean over both kinds, which are of unequal numbers and lengths."""
    engine = material.engine(seed=0, previous=2)
    stream = stream_of(1, method="rft", signals={"0": {"source": {"key": ""}}})  # a random model writes no equations
    batch = stream.source(material.uneven(material.context(engine)))
    gold_S = batch.sum_S((batch.author_N == DEMONSTRATION).float()) > 0
    own, gold = (batch.pick(of_S.nonzero()[:, 0]) for of_S in (~gold_S, gold_S))
    tokens = [int(part.train_N.sum()) for part in (own, gold, batch)]
    assert gold.S == 3 and own.S > gold.S and tokens[0] > 2 * tokens[1] and tokens[0] + tokens[1] == tokens[2]
    losses = [cross_entropy(*logits_of(tiny.model(seed=0), part), reduction="sum") for part in (own, gold)]
    loss = backward(engine, stream, batch, 0.0, 2, StepMetrics())
    assert loss == pytest.approx(float(sum(losses).detach()) / tokens[2], rel=1e-5)


def test_expert_iteration_is_policy_gradient_with_rewards_of_0_and_1_but_for_the_average() -> None:
    engine = material.engine()
    context = material.uneven(material.context(engine))
    kept = bind("source", "accepted-samples", size=6, keep=6, dedupe=False, threshold=-inf)(context)
    assert kept.reward_SK is not None
    right = kept.pick((kept.reward_S == 1).nonzero()[:, 0])
    imitated = stream_of(method="rejection-sampling")
    backward(engine, imitated, right, 0.0, 1, StepMetrics())
    expected = gradients(engine.model)
    engine.model.zero_grad(set_to_none=True)
    signal = dict(source="groups", credit=["reward"], objective="nll")
    backward(engine, stream_of(signals=[signal]), kept, 0.0, 1, StepMetrics())
    scale = float(kept.train_N.sum() / right.train_N.sum())
    for name, gradient in gradients(engine.model).items():
        torch.testing.assert_close(scale * gradient, expected[name], rtol=1e-4, atol=1e-6)


def test_samples_of_another_model_are_those_that_it_writes_itself() -> None:
    engine, alone = material.engine(seed=0, weak=1), material.engine(seed=1)
    prompts = [engine.tokens.prompt(e.prompt) for e in material.EXAMPLES]
    with engine.acting_as("weak"):
        found = engine.sample(prompts, Sampling(8), 2, seed=4)
    assert found == alone.sample(prompts, Sampling(8), 2, seed=4)


@pytest.mark.parametrize("pieces", [1, 2])
def test_self_rewarding_is_dpo_of_the_best_over_the_worst_answer_of_the_reference(pieces: int) -> None:
    engine = material.engine(seed=0, reference=1)
    stream = stream_of(method="self-rewarding")
    batch = stream.source(material.uneven(material.context(engine)))
    policy, reference = tiny.model(seed=0), tiny.model(seed=1)

    def logp_of(model: PreTrainedModel) -> Tensor:
        z_nV, y_n = logits_of(model, batch)
        logp_n = z_nV.log_softmax(-1).gather(1, y_n[:, None])[:, 0]
        return torch.stack([part.sum() for part in logp_n.split(batch.length_S.long().tolist())])

    with torch.no_grad():
        home_S = logp_of(reference)
    moved_S = logp_of(policy) - home_S
    margin = moved_S[batch.label_S > 0] - moved_S[batch.label_S < 0]
    agree(engine, stream, batch, pieces, -logsigmoid(0.1 * margin).mean(), policy)
