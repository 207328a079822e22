"""Loading of PEFT adapter folders: the base model with the adapter merged into its weights."""

from __future__ import annotations

import logging
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModelForCausalLM
from peft.tuners.trainable_tokens import TrainableTokensLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import safe_open
from transformers import PreTrainedModel

from scalpel.models.files import ADAPTER, header, read_json
from scalpel.models.weight_checks import some

log = logging.getLogger("scalpel")
WEIGHTS = "adapter_model.safetensors"
COPY = re.compile(r"\.(?:modules_to_save|original_module)\.")  # duplicates that PEFT saves of a resized embedding
ENDS = {"embed_tokens": "input", "wte": "input", "lm_head": "output"}


def base_of(folder: Path) -> str:
    """The base model that the adapter names: a folder beside it or under the working directory, or a hub id."""
    said = read_json(folder / ADAPTER).get("base_model_name_or_path")
    if not isinstance(said, str) or not said:
        raise ValueError(
            f"{folder / ADAPTER} doesn't name its base model: set base_model_name_or_path there to a folder or hub id"
        )
    for near in (folder / said, Path(said).expanduser()):
        if near.is_dir():
            if near.resolve() == folder.resolve():
                raise ValueError(
                    f"{folder / ADAPTER} names the adapter itself as its base model: set base_model_name_or_path to "
                    "the base's folder"
                )
            return str(near)
    return said


def check_adapter(folder: Path) -> None:
    """Raises ValueError unless the folder holds an adapter that can be merged into a model's weights."""
    if not (folder / WEIGHTS).is_file():
        pickled = (folder / "adapter_model.bin").is_file()
        why = "only pickled weights (adapter_model.bin), which can execute code on loading" if pickled else "no weights"
        raise ValueError(f"{folder} is an adapter with {why}: save it again with PEFT, which writes {WEIGHTS}")
    header(folder / WEIGHTS)


def folded(model: PreTrainedModel, folder: Path, base: str) -> PreTrainedModel:
    """The base with the adapter merged into its weights. It is the same model object, with plain modules again."""
    try:
        config = PeftConfig.from_pretrained(str(folder))
    except Exception as error:  # PEFT raises what its config classes raise
        raise ValueError(f"{folder / ADAPTER} can't be read by PEFT ({first(error)})") from None
    if config.is_prompt_learning:
        raise ValueError(
            f"{folder} holds {config.peft_type} parameters, which can't be merged into the base's weights because they "
            "are inputs, not changes of weights: use an adapter such as LoRA"
        )
    config.task_type, config.inference_mode = "CAUSAL_LM", True
    grow(model, folder, base)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wrapped = PeftModelForCausalLM(model, config, "default")
            result = wrapped.load_adapter(str(folder), "default", torch_device=str(model.device))
    except Exception as error:
        raise ValueError(f"the adapter {folder} doesn't fit its base {base}: {cause(error)}") from None
    check_whole(result, folder, base)
    untie(wrapped, folder)
    try:
        whole: Any = wrapped.merge_and_unload(safe_merge=True)
    except (NotImplementedError, AttributeError, RuntimeError) as error:
        raise ValueError(
            f"{folder}: adapters of type {config.peft_type} can't be merged into weights ({error}); use LoRA"
        ) from None
    except ValueError as error:
        raise ValueError(
            f"merging the adapter {folder} gives weights that are NaN or infinite ({first(error)}): take an earlier one"
        ) from None
    for name in ("peft_config", "_hf_peft_config_loaded"):
        if name in vars(whole):
            delattr(whole, name)
    log.info("%s is an adapter: it was merged into its base model %s", folder, base)
    return whole.eval().requires_grad_(True)


@torch.no_grad()
def untie(wrapped: Any, folder: Path) -> None:
    """Gives the embedding and the head separate matrices if they are tied and an adapter is to be merged into one of
    them: merging would otherwise change the other too."""
    ends: tuple[Any, Any] = wrapped.get_input_embeddings(), wrapped.get_output_embeddings()
    if not any(isinstance(end, BaseTunerLayer) and not isinstance(end, TrainableTokensLayer) for end in ends):
        return
    first_end, last = (getattr(end, "base_layer", end) for end in ends)
    if last is None or first_end.weight.data_ptr() != last.weight.data_ptr():
        return
    last.weight = torch.nn.Parameter(last.weight.detach().clone())
    config = wrapped.get_base_model().config
    for part in {id(c): c for c in (config, config.get_text_config())}.values():
        part.tie_word_embeddings = False
    log.info(
        "%s adapts the embedding or the head, which are tied in its base model: they are untied, so that the merged "
        "model computes the same as base and adapter",
        folder,
    )


def check_whole(result: Any, folder: Path, base: str) -> None:
    """Raises ValueError if a tensor of the adapter is missing, or does not belong to any module of the base."""
    names = header(folder / WEIGHTS)
    twice = {name for name in result.unexpected_keys if COPY.search(name) and COPY.sub(".", name) in names}
    missing, odd = sorted(result.missing_keys), sorted({*result.unexpected_keys} - twice)
    if missing or odd:
        raise ValueError(
            f"the adapter {folder} doesn't fit its base {base}: "
            + "; ".join(
                f"{len(names)} tensors {what}: {some(names)}"
                for names, what in ((missing, f"are not in {WEIGHTS}"), (odd, "fit no module of the base"))
                if names
            )
        )


def grow(model: PreTrainedModel, folder: Path, base: str) -> None:
    """Resizes the base's embedding to the rows of the adapter's own embedding, if tokens were added for it."""
    with safe_open(folder / WEIGHTS, framework="pt") as tensors:
        rows = {
            name: tensors.get_slice(name).get_shape()[0]
            for name in tensors.keys()  # noqa: SIM118
            if any(f".{end}." in f".{name}" for end in ENDS) and "lora_" not in name and name.endswith("weight")
        }
    has = model.get_input_embeddings().weight.shape[0]  # type: ignore[union-attr,index]
    wants = set(rows.values()) - {has}
    if len(wants) > 1:
        raise ValueError(
            f"the adapter {folder} holds embeddings of {sorted(wants)} rows, its base {base} has {has}: all of the "
            "adapter's must have the same number of rows"
        )
    if wants:
        (most,) = wants
        log.info("%s holds embeddings of %d rows, its base has %d: the base's are resized", folder, most, has)
        with torch.random.fork_rng([]):
            model.resize_token_embeddings(int(most), mean_resizing=False)


def cause(error: Exception) -> str:
    """The error message of PEFT or torch, shortened to the shapes that differ."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    sizes = [line for line in lines if "size mismatch" in line]
    return some(sizes, 1) if sizes else first(error)


def first(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
