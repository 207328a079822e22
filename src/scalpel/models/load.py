"""Loading a model and its tokenizer from a folder, the hub, or a package.

`load` takes a hub id, a folder, one of the names in `SHIPPED`, or `smollm2-135m-instruct`. Weights are read from
safetensors only, and code that comes with a model runs only if asked for. Offline mode (HF_HUB_OFFLINE=1) is
respected, since all reading goes through transformers.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging as hf_logging

import scalpel
from scalpel.folders import listed, nearest
from scalpel.models.smollm2 import NAME as SMOLLM2
from scalpel.models.smollm2 import converted
from scalpel.tokens import Tokens

SHIPPED = ("world-1m", "world-300k")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "vocab.txt")


def load(
    spec: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    trust_remote_code: bool = False,
) -> tuple[PreTrainedModel, Tokens]:
    """A causal language model in evaluation mode and its tokens. `dtype` None means float32."""
    with quiet():
        source = locate(spec)
    if isinstance(source, Path):
        check_folder(source)
    asked: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    with quiet(), explained(str(spec)):
        config = AutoConfig.from_pretrained(source, **asked)
        check_causal(config, str(spec))
        tokenizer = AutoTokenizer.from_pretrained(source, **asked)
        model = AutoModelForCausalLM.from_pretrained(
            source, config=config, dtype=dtype or torch.float32, use_safetensors=True, **asked
        )
    tokens = Tokens(tokenizer, stop_ids(model))
    check_vocabulary(model, tokenizer, str(spec))
    model.to(torch.device(device))  # type: ignore[arg-type]  # transformers annotates `to` as if unbound
    return model.eval(), tokens


def locate(spec: str | Path) -> str | Path:
    """Where to read from: a folder, or a hub id as it came."""
    name = str(spec)
    if name in SHIPPED:
        folder = Path(scalpel.__file__).parent / "world" / "models" / name
        if not folder.is_dir():
            raise ValueError(
                f"{name} is shipped inside the package, but {folder} is not there: reinstall scalpel-lm, or make the "
                "model anew with `scalpel world build`"
            )
        return folder
    if name == SMOLLM2:
        return converted()
    path = Path(name).expanduser()
    if path.exists():
        return path
    looks_like_hub_id = not isinstance(spec, Path) and name.count("/") <= 1 and not name.startswith((".", "/", "~"))
    if not looks_like_hub_id:
        raise ValueError(f"no model folder {name}: {nearest(path)}")
    close = get_close_matches(name, [*SHIPPED, SMOLLM2], n=1, cutoff=0.75)
    if close:
        raise ValueError(f"unknown model {name!r}: did you mean {close[0]!r}?")
    return name


def check_folder(folder: Path) -> None:
    """Raises ValueError unless the folder holds config, tokenizer and safetensors of a whole model."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file: give the folder that holds config.json and the weights")
    if (folder / "adapter_config.json").exists() and not (folder / "config.json").exists():
        base = json.loads((folder / "adapter_config.json").read_text()).get("base_model_name_or_path")
        raise ValueError(
            f"{folder} is an adapter, not a model: merge it into its base ({base}) and save that as a folder"
        )
    if not (folder / "config.json").exists():
        raise ValueError(
            f"{folder} has no config.json, so it is no Hugging Face model folder: it holds {listed(folder)}"
        )
    if not any(folder.glob("*.safetensors")):
        pickled = [p.name for p in [*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")]]
        why = (
            f"only pickled weights ({', '.join(pickled)}), which can run code when opened" if pickled else "no weights"
        )
        raise ValueError(f"{folder} holds {why}: save the model again with save_pretrained, which writes safetensors")
    if not any((folder / f).exists() for f in TOKENIZER_FILES):
        raise ValueError(
            f"{folder} has no tokenizer (none of {', '.join(TOKENIZER_FILES)}): save the tokenizer of the model's "
            "base into the same folder with tokenizer.save_pretrained"
        )


def check_causal(config: Any, spec: str) -> None:
    """Raises ValueError unless the config is that of a causal language model."""
    known = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type)
    remote = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    names = config.architectures or []
    fits = not names or any(n == known or n.endswith(("ForCausalLM", "LMHeadModel")) for n in names)
    if remote or (known is not None and fits):
        return
    raise ValueError(
        f"{spec} is {' / '.join(names) or config.model_type}, not a causal language model: take one that writes text "
        "from left to right, such as Llama, Qwen, Gemma or GPT-2"
    )


def check_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, spec: str) -> None:
    """Raises ValueError if the tokenizer knows ids for which the model has no embedding."""
    rows, last = model.get_input_embeddings().get_parameter("weight").shape[0], max(tokenizer.get_vocab().values())
    if last >= rows:
        raise ValueError(
            f"{spec}: the tokenizer knows ids up to {last}, but the model has {rows} embeddings: tokenizer and "
            "weights come from different models"
        )


def stop_ids(model: PreTrainedModel) -> list[int]:
    """The ids at which the model's own generation config stops."""
    ids = getattr(model.generation_config, "eos_token_id", None)
    return [] if ids is None else [ids] if isinstance(ids, int) else list(ids)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars of transformers, which would tear our own, and without the hub's tale of its retries:
    if all of them fail, the error says so."""
    were_on, hub = hf_logging.is_progress_bar_enabled(), logging.getLogger("huggingface_hub")
    hf_logging.disable_progress_bar()
    level = hub.level
    hub.setLevel(logging.ERROR)
    try:
        yield
    finally:
        hub.setLevel(level)
        if were_on:
            hf_logging.enable_progress_bar()


@contextmanager
def explained(spec: str) -> Iterator[None]:
    """Turns what transformers raises on an unreadable model into the user's terms."""
    try:
        yield
    except OSError as error:
        offline = os.environ.get("HF_HUB_OFFLINE", "") in ("1", "true", "TRUE", "True", "yes", "YES", "ON", "on")
        hint = "offline mode is on (HF_HUB_OFFLINE), so it must be in the cache" if offline else "is the name right?"
        raise ValueError(
            f"can't load the model {spec!r}: {str(error).splitlines()[0]} ({hint}; else give a folder, or one of "
            f"{', '.join([*SHIPPED, SMOLLM2])})"
        ) from error
