"""Loading a model and its tokenizer from a folder, the hub, or a package.

`load` takes a hub id, a folder, one of the names in `SHIPPED`, or `smollm2-135m-instruct`. Weights are read from
safetensors only, and a model's own code runs only with `trust_remote_code`. Offline mode (HF_HUB_OFFLINE=1) works,
since every file is read through transformers.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import cached_file

from scalpel.data.tokenizer import Tokens
from scalpel.models.adapter_folder import (
    base_of,
    check_adapter,
    first,
    folded,
)
from scalpel.models.files import (
    ADAPTER,
    check_folder,
    check_json,
    check_tensors,
    has_tokenizer,
    headers,
    is_adapter,
)
from scalpel.models.owned import LANGUAGE, read_owned, scorer
from scalpel.models.quantised import entry, is_plain, options, plain
from scalpel.models.quiet import log_level, quiet
from scalpel.models.smollm2 import NAME as SMOLLM2
from scalpel.models.smollm2 import converted
from scalpel.models.state_dict import overwrite
from scalpel.models.weight_checks import (
    check_finite,
    check_loaded,
    check_tied,
    check_vocabulary,
    say_left_out,
)
from scalpel.runs.files import nearest

PACKAGE = Path(__file__).resolve().parents[1]
log = logging.getLogger("scalpel")
WITHIN = {
    r"^model\.language_model\.": "model.",
    r"^language_model\.": "",
}  # prefixes of the text model's weights in a multimodal model
SHIPPED = ("world-1m", "world-300k")


def load(
    spec: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    trust_remote_code: bool = False,
) -> tuple[PreTrainedModel, Tokens]:
    """A causal language model in evaluation mode, and its tokenizer. `dtype` None means float32. From an adapter folder
    the base model is loaded, and the adapter is merged into it."""
    with quiet():
        source = of_hub(locate(spec))
    model, tokenizer = read(source, str(spec), dtype or torch.float32, trust_remote_code)
    check_vocabulary(model, tokenizer, str(spec))
    tokens = Tokens(tokenizer, stop_ids(model, str(spec)))
    model.to(torch.device(device))  # type: ignore[arg-type]  # transformers annotates `to` as if unbound
    return model.eval(), tokens


def read(
    source: str | Path, spec: str, dtype: torch.dtype, trusted: bool, above: tuple[str, ...] = ()
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model and tokenizer from a folder or the hub; `above` are the adapters whose base this is."""
    if isinstance(source, Path) and is_adapter(source):
        return read_adapter(source, dtype, trusted, (*above, str(source)))
    if isinstance(source, Path):
        check_folder(source)
    asked: dict[str, Any] = {"trust_remote_code": trusted}
    with quiet(), explained(spec, "config.json"):
        config = AutoConfig.from_pretrained(source, **asked)
    config, within = text_of(config, source)
    beside = beside_classifier(config, source)
    text_only = within or (beside is None and is_text_of(config, spec))
    asked |= {"key_mapping": WITHIN} if within else {}
    with quiet(), explained(spec, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(source, **asked)
    asked |= options(config, source)
    quantised = entry(config) is not None
    # which tensors have no place is known where they lie beside the weights, so transformers' table of them is left out
    known = beside is not None
    reported = log_level("transformers.modeling_utils", logging.ERROR) if known else nullcontext()
    with quiet(), explained(spec, "weights"), reported:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that `check_loaded` can name them in its error
            **asked,
        )
    model, info = loaded
    if beside is not None:
        info = put_back(model, info, beside, spec)
    check_loaded(model, info, spec, text_only)
    if within:
        model._weight_conversions = None  # so that it is saved under the text model's names
    if isinstance(source, Path):
        say_left_out(model, (name for name, _ in headers(source)), spec)
    model = plain(model) if quantised else model
    check_tied(model, spec)
    check_finite(model, spec)
    if model.base_model is model and hasattr(model, "model"):
        model.base_model_prefix = "model"  # the class has the prefix of the multimodal model
    if config.model_type == "rwkv":
        model.config.rescale_every = 0  # in eval mode it would divide weights, and save the result
    return model, tokenizer


def read_adapter(
    folder: Path, dtype: torch.dtype, trusted: bool, above: tuple[str, ...]
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The base with the adapter merged in, with the adapter's tokenizer if it has one, else the base's."""
    check_json(folder)
    check_adapter(folder)
    base = base_of(folder)
    if base in above:
        raise ValueError(
            f"the adapters {', '.join(above)} name each other as their base: set base_model_name_or_path of one of "
            "them to a model's folder"
        )
    try:
        with quiet():
            source = of_hub(locate(base))
        model, tokenizer = read(source, base, dtype, trusted, above)
    except ValueError as error:
        raise ValueError(f"the base model of the adapter {folder} can't be loaded: {error}") from None
    if has_tokenizer(folder):
        with quiet(), explained(str(folder), "tokenizer"):
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trusted)
    with quiet():
        model = folded(model, folder, base)
    check_finite(model, str(folder))
    model.name_or_path = model.config.name_or_path = str(folder)
    return model, tokenizer


def of_hub(source: str | Path) -> str | Path:
    """For a hub id with an adapter and no model, the folder of its download; anything else unchanged."""
    if isinstance(source, Path):
        return source
    reached: dict[str, Any] = {
        f"_raise_exceptions_for_{what}": False for what in ("missing_entries", "connection_errors", "gated_repo")
    }
    try:
        if cached_file(source, "config.json", **reached) or not cached_file(source, ADAPTER, **reached):
            return source
        return Path(
            snapshot_download(source, allow_patterns=["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"])
        )
    except (OSError, ValueError):  # loading the model then raises the error with its explanation
        return source


def locate(spec: str | Path) -> str | Path:
    """Where to load from: a folder, or the hub id unchanged."""
    name = str(spec)
    if name in SHIPPED:
        folder = PACKAGE / "world" / "models" / name
        if not folder.is_dir():
            raise ValueError(
                f"{name} ships inside the package, but {folder} is missing: reinstall scalpel-lm, or pretrain the "
                "model again with `scalpel world build`"
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


def is_plain_folder(folder: Path) -> bool:
    """Whether a folder's tensors are the model's weights: no adapter, no quantisation, no reward model. Raises
    ValueError if its files are damaged."""
    if not folder.is_dir() or is_adapter(folder) or scorer(folder):
        return False
    check_json(folder)
    check_tensors(folder)
    return is_plain(folder)


def text_of(config: Any, source: str | Path) -> tuple[Any, bool]:
    """The config of the text model inside a multimodal one, and True, if transformers has a causal language model for
    the text part only; otherwise the config unchanged, and False."""
    text: Any = getattr(config, "text_config", None)
    if config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or getattr(config, "auto_map", None) or entry(config):
        return config, False
    known = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(getattr(text, "model_type", ""))
    if known is None or not any(n.endswith("ForConditionalGeneration") for n in config.architectures or []):
        return config, False
    words = "%s is a multimodal model (%s): only its text model, %s, is loaded and saved"
    log.info(words, source, config.model_type, known)
    if isinstance(source, Path):  # the two configs may differ in whether the head is tied
        text.tie_word_embeddings = not any(name.endswith("lm_head.weight") for name, _ in headers(source))
    return text, True


def beside_classifier(config: Any, source: str | Path) -> dict[str, torch.Tensor] | None:
    """For a reward model that was saved by scalpel, the tensors of its language model that lie beside it; else None."""
    classifies = any(name.endswith("ForSequenceClassification") for name in config.architectures or [])
    if not classifies or not scorer(source):
        return None
    return read_owned(source).get(LANGUAGE, {})


def put_back(
    model: PreTrainedModel, info: dict[str, Any], beside: dict[str, torch.Tensor], spec: str
) -> dict[str, Any]:
    """Loads the tensors that the classifier's files lack into the language model, and removes them from the list of
    missing keys."""
    log.info("%s is a reward model: its language model is loaded, without the score", spec)
    overwrite(model, beside)
    missing = {name for name in map(str, info["missing_keys"]) if name not in beside}
    odd = {name for name in map(str, info["unexpected_keys"]) if name != "score.weight"}
    return {**info, "missing_keys": missing, "unexpected_keys": odd}


def is_text_of(config: Any, spec: str) -> bool:
    """Whether transformers loads the text model of a multimodal one. Raises ValueError unless the config is that of a
    causal language model, or of a model that transformers can load as one."""
    known = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type)
    remote = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    names = config.architectures or []
    fits = not names or any(n == known or n.endswith(("ForCausalLM", "LMHeadModel")) for n in names)
    if remote or (known is not None and fits):
        return False
    if known is not None and any(n.endswith("ForConditionalGeneration") for n in names):
        words = "%s is a multimodal model (%s): only its text model, %s, is loaded and saved"
        log.info(words, spec, names[0], known)
        return True
    raise ValueError(
        f"{spec} is {' / '.join(names) or config.model_type}, not a causal language model: use a decoder such as "
        "Llama, Qwen, Gemma or GPT-2"
    )


def stop_ids(model: PreTrainedModel, spec: str = "the model") -> list[int]:
    """The stop token ids of the model's generation config, without those that are beyond its vocabulary (logged)."""
    given = getattr(model.generation_config, "eos_token_id", None)
    ids = [] if given is None else given if isinstance(given, list | tuple) else [given]
    if not all(isinstance(i, int) and not isinstance(i, bool) for i in ids):
        raise ValueError(
            f"{spec}: eos_token_id in its generation_config.json is {given!r}: it must be a token id or a list of "
            "token ids"
        )
    rows = model.get_input_embeddings().get_parameter("weight").shape[0]
    beyond = [i for i in ids if not 0 <= i < rows]
    if beyond:
        log.warning(
            "%s: eos_token_id in its generation_config.json has %s, which is ignored: the model's token ids are 0-%d",
            spec, ", ".join(map(str, beyond)), rows - 1,
        )  # fmt: skip
    return [i for i in ids if i not in beyond]


@contextmanager
def explained(spec: str, what: str) -> Iterator[None]:
    """Turns any exception of transformers on an unreadable model into a ValueError that names the model and the cause.
    Out-of-memory errors pass through."""
    try:
        yield
    except MemoryError:
        raise
    except OSError as error:
        offline = os.environ.get("HF_HUB_OFFLINE", "") in ("1", "true", "TRUE", "True", "yes", "YES", "ON", "on")
        hint = "offline mode is on (HF_HUB_OFFLINE), so it must be in the cache" if offline else "is the name right?"
        raise ValueError(
            f"can't load the model {spec!r}: {first(error)} ({hint}; otherwise give a folder, or one of "
            f"{', '.join([*SHIPPED, SMOLLM2])})"
        ) from error
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error):
            raise
        raise ValueError(f"{spec}: its {what} can't be used ({type(error).__name__}: {first(error)})") from error
