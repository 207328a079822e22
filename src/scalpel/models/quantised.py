"""Quantised models: they are dequantised when they are loaded.

Weights of bitsandbytes, FP8 and MXFP4 are dequantised, so that every scope, measurement and comparison works on them;
the saved model is then a plain one, and its config says so. Other formats are refused with the package that could
dequantise them.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig, PreTrainedModel
from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING
from transformers.utils.quantization_config import FineGrainedFP8Config, Mxfp4Config

from scalpel.models.files import headers

log = logging.getLogger("scalpel")
ENTRIES = ("quantization_config", "compression_config")
PLAIN = {"F64", "F32", "F16", "BF16"}
MARKS = (
    ".absmax", ".quant_map", ".SCB", ".qweight", ".qzeros", ".weight_scale", ".weight_scale_inv", ".weight_packed",
    "_blocks", "_scales", ".codebooks", ".scales",
)  # fmt: skip
PACKAGES = {
    "gptq": "gptqmodel", "awq": "gptqmodel", "compressed-tensors": "compressed-tensors", "hqq": "hqq",
    "quanto": "optimum-quanto", "aqlm": "aqlm", "eetq": "eetq", "torchao": "torchao", "vptq": "vptq",
    "spqr": "spqr_quant",
    "fbgemm_fp8": "fbgemm-gpu", "quark": "amd-quark", "auto-round": "auto-round", "fp_quant": "fp_quant",
    "higgs": "flute-kernel", "bitsandbytes": "bitsandbytes",
}  # fmt: skip
TRACES = (
    "hf_quantizer", "quantization_method", "is_loaded_in_4bit", "is_loaded_in_8bit", "is_quantized",
    "_weight_conversions",  # conversions on loading, which saving would reverse
)  # fmt: skip
MULTIPLIED_OUT = ("bitsandbytes", "fp8", "mxfp4")


def entry(config: PretrainedConfig) -> dict[str, Any] | None:
    """The quantisation config, at the top level or in the text config; None if there is none."""
    for part in (config, config.get_text_config()):
        for name in ENTRIES:
            found = getattr(part, name, None)
            if found is not None:
                return found if isinstance(found, dict) else found.to_dict()
    return None


def drop(config: PretrainedConfig) -> None:
    """Removes the quantisation config, since the weights are not quantised any more."""
    for part in (config, config.get_text_config()):
        for name in ENTRIES:
            if name in vars(part):
                delattr(part, name)


def method_of(said: dict[str, Any]) -> str:
    if said.get("quant_method"):
        return str(said["quant_method"])
    return "bitsandbytes" if said.get("load_in_4bit") or said.get("load_in_8bit") else "without a name"


def is_plain(folder: Path) -> bool:
    """Whether the weights in a folder are not quantised, whatever its config says."""
    return all(kind in PLAIN and not name.endswith(MARKS) for name, kind in headers(folder))


def options(config: PretrainedConfig, source: Path | str) -> dict[str, Any]:
    """The arguments of from_pretrained. Removes the quantisation config if the weights are not quantised after all;
    raises ValueError if they can't be dequantised."""
    said = entry(config)
    if said is None:
        return {}
    method = method_of(said)
    if isinstance(source, Path) and is_plain(source):
        drop(config)
        log.warning(
            "%s: its config says that the weights are quantised with %s, but they are not; they are loaded unchanged, "
            "and the entry is removed from the config of the saved model", source, method,
        )  # fmt: skip
        return {}
    if method not in MULTIPLIED_OUT:
        raise ValueError(refusal(method, source))
    if method == "bitsandbytes" and find_spec("bitsandbytes") is None:
        raise ValueError(refusal(method, source))
    log.warning(
        "%s: its weights are quantised (%s); they are dequantised on loading, which takes more memory, and the saved "
        "model will not be quantised", source, method,
    )  # fmt: skip
    made: dict[str, Any] = {"fp8": FineGrainedFP8Config, "mxfp4": Mxfp4Config}
    return {"quantization_config": made[method](dequantize=True)} if method in made else {}


def refusal(method: str, source: Path | str) -> str:
    plain = "use the unquantised version of the model (bfloat16 or float32)"
    if method in PACKAGES:
        needs = f"{PACKAGES[method]} could dequantise them; {plain}"
        if method == "bitsandbytes":
            needs = f"dequantising needs the package bitsandbytes: pip install bitsandbytes, or {plain}"
    elif method in AUTO_QUANTIZER_MAPPING:
        needs = f"{plain}"
    else:
        needs = f"transformers doesn't know that method; {plain}"
    return (
        f"{source}: its weights are quantised with {method}, which can't be trained or compared here; {needs}, or, if "
        "they are not quantised after all, remove quantization_config from its config.json"
    )


def plain(model: PreTrainedModel) -> PreTrainedModel:
    """The model with all weights dequantised, and no trace of quantisation in what is saved."""
    if getattr(model, "hf_quantizer", None) is not None and getattr(model, "is_quantized", False):
        model = model.dequantize()
    log.warning(
        "dequantised, the weights take %.3g MB of memory in %s",
        model.get_memory_footprint() / 1e6, str(model.dtype).removeprefix("torch."),
    )  # fmt: skip
    drop(model.config)
    for name in TRACES:
        if name in vars(model):
            delattr(model, name)
    return model
