"""Our rows of the method table beside TRL's trainers: the same weights and tokens give the same loss and the same
gradient of every weight.

TRL's own loss code runs on a trainer made for a tiny model; ours goes through engine, credits, objective and step.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

import material
import tiny
from beside_trl import QUIET, advantages, agree, as_trl, nothing, ours, rows, stream_of
from scalpel.data.tokenizer import Tokens
from scalpel.engine import Engine
from scalpel.training.step import prepare

trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.filterwarnings("ignore")

PREFERENCES = [dict(prompt="a", chosen="b", rejected="c"), dict(prompt="d", chosen="e", rejected="f")]


@pytest.mark.parametrize(("loss", "loss_type", "pieces"), [("logistic", "sigmoid", 1), ("logistic", "sigmoid", 3),
                                                           ("hinge", "hinge", 3)])  # fmt: skip
def test_dpo_is_trl_s(tmp_path: Path, loss: str, loss_type: str, pieces: int) -> None:
    engine = material.engine(seed=0, reference=1)
    objective = dict(name="dpo", beta=0.3, loss=loss)
    signal = dict(source="preference-pairs", credit=["constant"], objective=objective)
    stream = stream_of(method="dpo", signals=[signal])
    batch = stream.source(material.context(engine))
    args = trl.DPOConfig(str(tmp_path), beta=0.3, loss_type=[loss_type], **QUIET)
    trainer = trl.DPOTrainer(
        tiny.model(seed=0), tiny.model(seed=1), args, train_dataset=datasets.Dataset.from_list(PREFERENCES),
        processing_class=tiny.tokenizer(None),
    )  # fmt: skip
    found = list(rows(batch))
    pairs = [
        dict(prompt_ids=w[0], chosen_ids=w[1], rejected_ids=l[1]) for w, l in zip(found[::2], found[1::2], strict=True)
    ]
    theirs = trainer.compute_loss(trainer.model, trainer.data_collator(pairs))
    agree(trainer, theirs, ours(engine, stream, batch, pieces))


@pytest.mark.parametrize("pieces", [1, 4])
def test_kto_is_trl_s_mismatched_answers_and_baseline_included(tmp_path: Path, pieces: int) -> None:
    engine = material.engine(seed=0, reference=2)  # the seed of a reference from which z₀ is above 0
    objective = dict(name="kto", beta=0.3, desirable=1.2, undesirable=0.7)
    stream = stream_of(method="kto", signals=[dict(source="labelled", credit=["constant"], objective=objective)])
    batch = stream.source(material.context(engine))
    args = trl.KTOConfig(str(tmp_path), beta=0.3, desirable_weight=1.2, undesirable_weight=0.7, **QUIET,
                         per_device_train_batch_size=3)  # fmt: skip
    data = [dict(prompt=e.prompt, completion=e.completion, label=e.label) for e in material.EXAMPLES]
    trainer = trl.KTOTrainer(
        tiny.model(seed=0), tiny.model(seed=2), args, train_dataset=datasets.Dataset.from_list(data),
        processing_class=tiny.tokenizer(None),
    )  # fmt: skip
    found = list(rows(batch))
    judged = zip(found[::2], found[1::2], material.EXAMPLES, strict=True)
    items = [dict(prompt_ids=y[0], completion_ids=y[1], KL_completion_ids=m[1], label=e.label) for y, m, e in judged]
    theirs = trainer.compute_loss(trainer.model, trainer.data_collator(items))
    assert trainer._metrics["eval"]["kl"][-1] > 0
    agree(trainer, theirs, ours(engine, stream, batch, pieces))


@pytest.mark.parametrize(
    ("method", "loss_type", "objective", "beta"),
    [
        ("grpo", "grpo", {}, 0.0),
        ("grpo", "grpo", {"epsilon_high": 0.28}, 0.0),
        ("grpo", "bnpo", {"average": "token"}, 0.0),
        ("grpo", "bnpo", {"average": "token"}, 0.04),
        ("grpo", "grpo", {}, 0.04),
        ("dr-grpo", "dr_grpo", {"average": "constant", "length": 8}, 0.0),
    ],
)
def test_grpo_its_averages_and_its_penalty_are_trl_s(
    tmp_path: Path, method: str, loss_type: str, objective: dict[str, Any], beta: float
) -> None:
    engine = material.engine(seed=0, reference=1)
    credit = "group-mean" if method == "dr-grpo" else "group-zscore"
    signal = dict(source=dict(name="groups", size=4), credit=[credit], objective=dict(name="clipped-pg", **objective))
    average = "token" if objective.get("average") == "token" else "sequence"  # TRL averages both alike
    anchors = [dict(name="kl", estimator="k3", beta=beta, average=average)] if beta else []
    stream = stream_of(method=method, signals=[signal], anchors=anchors)
    batch = stream.source(material.uneven(material.context(engine)))
    assert len(batch.length_S.unique()) > 3
    generator = torch.Generator().manual_seed(3)
    moved_N = 0.4 * torch.randn(batch.N, generator=generator)  # ratios on both sides of the clip
    batch = replace(batch, old_N=engine.score(batch).logp_N + moved_N)
    batch = prepare(engine, stream, batch, 0.0)
    args = trl.GRPOConfig(
        str(tmp_path), loss_type=loss_type, beta=beta, epsilon=0.2, epsilon_high=objective.get("epsilon_high"),
        use_bias_correction_kl=False,
        max_completion_length=8, num_generations=4, per_device_train_batch_size=12, **QUIET,
    )  # fmt: skip
    trainer = trl.GRPOTrainer(
        AutoModelForCausalLM.from_pretrained(tiny.folder(tmp_path / "base")), nothing, args,
        train_dataset=datasets.Dataset.from_list([dict(prompt="a")] * 4), processing_class=tiny.tokenizer(None),
    )  # fmt: skip
    trainer.current_gradient_accumulation_steps = 1
    theirs = trainer._compute_loss(trainer.model, as_trl(batch, advantages(batch, 4, scaled=method == "grpo")))
    agree(trainer, theirs, ours(engine, stream, batch))


@pytest.mark.parametrize(("method", "loss_type"), [("sft", "nll"), ("dft", "dft")])
@pytest.mark.parametrize("pieces", [1, 3])
def test_sft_and_dft_are_trl_s(tmp_path: Path, method: str, loss_type: str, pieces: int) -> None:
    engine = Engine(tiny.model(), Tokens(tiny.tokenizer()))
    stream = stream_of(method=method)
    batch = stream.source(material.context(engine))
    args = trl.SFTConfig(str(tmp_path), loss_type=loss_type, **QUIET)
    data = [dict(prompt=e.prompt, completion=e.completion) for e in material.EXAMPLES]
    trainer = trl.SFTTrainer(
        tiny.model(), args, train_dataset=datasets.Dataset.from_list(data), processing_class=tiny.tokenizer(None)
    )
    items = [
        dict(input_ids=prompt + completion, labels=[-100] * len(prompt) + completion)
        for prompt, completion in rows(batch)
    ]
    theirs = trainer.compute_loss(trainer.model, trainer.data_collator(items))
    agree(trainer, theirs, ours(engine, stream, batch, pieces))
