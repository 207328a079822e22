"""The device and the precision: chosen from the machine, and logged with the reason."""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path
from time import perf_counter

import torch
from torch import nn

SMALL = 20_000_000  # parameters; below it bfloat16 arithmetic gains nothing on a CPU
MICRO_TOKENS = 16384
# bytes a parameter: weights of the policy and of the base beside it, gradients, and two states of AdamW
FLOAT32_A_PARAMETER = 5 * 4
ROOM = 0.8  # share of the device's memory that these may take
CGROUP = Path("/sys/fs/cgroup")
FILLED = 2048  # tokens that keep a CPU's matrix products at their rate; more only take memory


def choose_device(asked: str) -> torch.device:
    if asked == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(asked)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {asked!r} can't be used here ({error}); take 'auto' or 'cpu'") from None
    return device


def choose_dtype(asked: str, device: torch.device, parameters: int | None = None) -> torch.dtype:
    """The type of the weights. "auto" is float32, since small updates get lost in bfloat16, unless training all of so
    many parameters in it would not fit on the device: then bfloat16."""
    if asked != "auto":
        return torch.bfloat16 if asked == "bfloat16" else torch.float32
    return torch.bfloat16 if too_large(device, parameters) else torch.float32


def why_dtype(asked: str, device: torch.device, parameters: int | None = None) -> str:
    """The reason for what `choose_dtype` chose."""
    if asked != "auto":
        return "as asked"
    if parameters is None:
        return "the model's size isn't known before it is loaded: with dtype = \"bfloat16\" it takes half"
    needed = f"training all {parameters:,} parameters in float32 takes {parameters * FLOAT32_A_PARAMETER / 1e9:.3g} GB"
    has = f"the device has {device_bytes(device) / 1e9:.3g} GB"
    if too_large(device, parameters):
        return f'{needed}, and {has}; small updates may get lost: dtype = "float32" takes it all the same'
    return f"{needed}; {has}"


def too_large(device: torch.device, parameters: int | None) -> bool:
    return parameters is not None and parameters * FLOAT32_A_PARAMETER > ROOM * device_bytes(device)


def device_bytes(device: torch.device) -> float:
    """All memory of the device, used or not; on the CPU the machine's, within the limit of a container. It is the same
    on every start, so that a resumed run chooses as the first did."""
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    if device.type == "mps":
        return float(torch.mps.recommended_max_memory())
    return min(meminfo("MemTotal"), cgroup_limit())


def free_bytes(device: torch.device) -> float:
    """What is left on the device; on the CPU what the system could give, within the limit of a container."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return float(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    used = CGROUP / "memory.current"
    return min(meminfo("MemAvailable"), cgroup_limit() - (float(used.read_text()) if used.exists() else 0.0))


def meminfo(field: str) -> float:
    """A field of Linux' /proc/meminfo in bytes; infinite elsewhere."""
    if not (info := Path("/proc/meminfo")).exists():
        return float("inf")
    lines = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
    return 1024.0 * float(lines[field].split()[0])


def cgroup_limit() -> float:
    """The memory limit of a container in bytes; infinite where there is none."""
    limit = CGROUP / "memory.max"
    return float(limit.read_text()) if limit.exists() and limit.read_text().strip() != "max" else float("inf")


def choose_precision(asked: str, model: nn.Module, device: torch.device) -> str:
    """bfloat16 arithmetic where the device multiplies faster in it and the model is large enough to gain."""
    if asked != "auto":
        return asked
    size = sum(p.numel() for p in model.parameters())
    if device.type == "cuda":
        return "bfloat16" if size >= SMALL and torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if device.type == "cpu" and size >= SMALL and bfloat16_is_faster() else "float32"


def why_precision(asked: str, model: nn.Module, device: torch.device) -> str:
    """The reason for what `choose_precision` chose."""
    size = sum(p.numel() for p in model.parameters())
    if asked != "auto":
        return "as asked"
    if size < SMALL:
        return f"{size:,} parameters are too few to gain from bfloat16"
    if device.type == "cpu":
        gain = matmul_rate(torch.bfloat16, 512) / matmul_rate(torch.float32, 512)
        return f"measured: this CPU multiplies matrices {gain:.2g} times as fast in bfloat16 as in float32"
    return "the device multiplies in bfloat16" if device.type == "cuda" else "bfloat16 is used on CPUs and CUDA alone"


def choose_micro_tokens(asked: int | str, model: nn.Module, device: torch.device) -> int:
    """The number of tokens in a forward pass: smaller for large models on a CPU, which gain nothing from more."""
    if isinstance(asked, int):
        return asked
    size = sum(p.numel() for p in model.parameters())
    return FILLED if device.type == "cpu" and size >= SMALL else MICRO_TOKENS


@lru_cache(maxsize=1)
def bfloat16_is_faster(size: int = 512) -> bool:
    """Whether this CPU multiplies matrices clearly faster in bfloat16 than in float32."""
    return matmul_rate(torch.bfloat16, size) > 1.3 * matmul_rate(torch.float32, size)


def matmul_rate(dtype: torch.dtype, size: int = 1024, device: torch.device | None = None) -> float:
    """Operations a second of a square matrix product: the best of five."""
    a = torch.randn(size, size, device=device).to(dtype)
    best = float("inf")
    for _ in range(5):
        start = perf_counter()
        a @ a
        if a.is_cuda:
            torch.cuda.synchronize()
        best = min(best, perf_counter() - start)
    return 2.0 * size**3 / best


def peak_memory(device: torch.device) -> int:
    """The most memory in use so far, in bytes: of the device, or of this process where it computes on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
