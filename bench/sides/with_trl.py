"""TRL's side: its trainers as documented, told by callbacks when to go on."""

from __future__ import annotations

from typing import Any

import torch
import trl
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, TrainerCallback

from bench.common.machine import now_bytes
from bench.sides.prepare import lines
from bench.sides.recipes import RATES
from bench.sides.reward import length

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Paced(TrainerCallback):
    """Waits for this side's turn before training and after each optimiser step's log, the last thing of a step."""

    def __init__(self, turn: Any, counts: list[int], device: str) -> None:
        self.turn, self.counts, self.device, self.rest = turn, counts, device, 0

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.rest = now_bytes(self.device)
        self.turn()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if "loss" in logs:
            seen = {"loss": float(logs["loss"]), "gradient_norm": float(logs["grad_norm"])}
            self.turn(**seen, reward=logs.get("reward"), trained=sum(self.counts))
            self.counts.clear()


def counted(base: type, field: str, counts: list[int]) -> Any:
    """The trainer, noting how many tokens each micro-batch trains."""

    class Counted(base):  # type: ignore[valid-type,misc]
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            marks = inputs[field]
            counts.append(int(((marks != -100) if field == "labels" else marks.bool()).sum()))
            return super().compute_loss(model, inputs, *args, **kwargs)

    return Counted


def common(kind: str, asked: dict[str, Any], micro: int, pieces: int, checkpointing: bool) -> dict[str, Any]:
    """Arguments of all three trainers: the same optimiser as the recipe, batches in the order of the rows."""
    return dict(
        output_dir=asked["scratch"], per_device_train_batch_size=micro, gradient_accumulation_steps=pieces,
        learning_rate=RATES[kind], lr_scheduler_type="constant", warmup_steps=0, weight_decay=0.0, max_grad_norm=1.0,
        max_steps=asked["steps"], bf16=asked["precision"] == "bfloat16", use_cpu=asked["device"] == "cpu",
        gradient_checkpointing=checkpointing, logging_steps=1, report_to=[], save_strategy="no", disable_tqdm=True,
        dataloader_pin_memory=asked["device"] == "cuda", seed=asked["seed"], **asked.get("extra", {}),
    )  # fmt: skip


def training(
    turn: Any, *, kind: str, micro: int, pieces: int, checkpointing: bool = False, **asked: Any
) -> dict[str, Any]:
    counts: list[int] = []
    torch.set_num_threads(asked["threads"])
    arguments = common(kind, asked, micro, pieces, checkpointing)
    model = AutoModelForCausalLM.from_pretrained(asked["model"], dtype=getattr(torch, asked["dtype"]))
    more: dict[str, Any] = {
        "train_dataset": Dataset.from_list(list(lines(asked["met"]))),
        "processing_class": AutoTokenizer.from_pretrained(asked["model"]),
    }
    pace = Paced(turn, counts, asked["device"])
    trainer = MAKERS[kind](model, arguments, asked, counts, {**more, "callbacks": [pace]})
    trainer.train()
    states = sorted({str(x.dtype)[6:] for s in trainer.optimizer.state.values() for x in s.values() if x.dim()})
    return {"at_rest": pace.rest, "precision": precision_of(trainer, arguments["bf16"], states),
            "threads": torch.get_num_threads(), "optimiser": type(trainer.optimizer).__name__}  # fmt: skip


def sft(model: PreTrainedModel, arguments: Any, asked: Any, counts: list[int], more: Any) -> Any:
    order = {"train_sampling_strategy": "sequential", "max_length": asked["max_length"], "completion_only_loss": True}
    return counted(trl.SFTTrainer, "labels", counts)(model, args=trl.SFTConfig(**arguments, **order), **more)


def lora(model: PreTrainedModel, arguments: Any, asked: Any, counts: list[int], more: Any) -> Any:
    adapters = LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, target_modules=LINEAR, task_type="CAUSAL_LM")
    return sft(model, arguments, asked, counts, {**more, "peft_config": adapters})


def dpo(model: PreTrainedModel, arguments: Any, asked: Any, counts: list[int], more: Any) -> Any:
    order = {"train_sampling_strategy": "sequential", "max_length": asked["max_length"], "beta": 0.1}
    return counted(trl.DPOTrainer, "completion_mask", counts)(model, args=trl.DPOConfig(**arguments, **order), **more)


def grpo(model: PreTrainedModel, arguments: Any, asked: Any, counts: list[int], more: Any) -> Any:
    own = dict(
        num_generations=asked["group"], max_completion_length=asked["tokens"], temperature=1.0, top_p=1.0, top_k=0,
        beta=0.0, loss_type="grpo", shuffle_dataset=False, mask_truncated_completions=False,
    )  # fmt: skip
    made = counted(trl.GRPOTrainer, "completion_mask", counts)
    return made(model, reward_funcs=length, args=trl.GRPOConfig(**arguments, **own), **more)


MAKERS: dict[str, Any] = {"sft": sft, "lora": lora, "dpo": dpo, "grpo": grpo}


def precision_of(trainer: Any, bf16: bool, states: list[str]) -> str:
    weights = sorted({str(p.dtype)[6:] for p in trainer.model.parameters()})
    arithmetic = "bfloat16" if bf16 else "float32"
    return f"weights {' and '.join(weights)}, arithmetic {arithmetic}, optimiser states {' and '.join(states)}"
