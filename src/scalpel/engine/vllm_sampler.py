"""Sampling by vLLM, where it is installed: many rows at once on a GPU, with a copy of the policy's weights.

Written after vLLM's documented interface and the use that TRL 1.16 makes of it (for vLLM 0.22 to 0.31), and tested
against a stand-in that has this interface. It has never been run with vLLM itself.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from scalpel.engine.sampling_request import Request, Sample, Stops

ROWS = 1_000_003  # larger than any number of rows, so that different seeds have different rows' seeds
AT_ONCE = 4096  # tokens of a pass; with its large default vLLM finds too little memory when it is not alone on the GPU


def hindrance() -> str:
    """Why vLLM can't sample here; empty where it can."""
    if find_spec("vllm") is None:
        return "the package vllm is not installed here"
    return "" if torch.cuda.is_available() else "there is no GPU here"


class VllmSampler:
    """vLLM in the process of the model. `memory` is the share of the GPU's memory for its weights and KV cache.

    `tempered`: whether log-probs are asked for that are those at the sampling temperature. vLLM gives these after top-k
    and top-p, unlike the engine's own sampler; without either, or at temperature 1 without `tempered`, both give the
    same.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        precision: str,
        memory: float,
        trust_remote_code: bool = False,
        tempered: bool = False,
    ) -> None:
        from vllm import LLM

        as_only_process()
        self.model, self.memory = model, memory
        self.stale = True  # whether the policy's weights have changed since they were copied
        self.llm = LLM(
            model=model.name_or_path,
            dtype=precision,
            gpu_memory_utilization=memory,
            max_num_batched_tokens=AT_ONCE,
            distributed_executor_backend="external_launcher",  # the engine stays in this process, within reach
            logprobs_mode="processed_logprobs" if tempered else "raw_logprobs",  # raw: before temperature, top-k, top-p
            trust_remote_code=trust_remote_code,
            seed=0,  # rows have seeds of their own
        )

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """The policy's weights under transformers' names; tied weights once."""
        return ((name, p.detach()) for name, p in self.model.named_parameters())

    def hand_over(self) -> None:
        """Copies the policy's weights if they have changed, and clears the prefix cache, which would be stale."""
        if self.stale:
            self.llm.llm_engine.model_executor.driver_worker.model_runner.model.load_weights(self.weights())
            self.llm.reset_prefix_cache()
            self.stale = False

    def sample(self, request: Request) -> list[list[Sample]]:
        """Samples by vLLM, with a seed per row; the samples differ from those of the engine's own sampler. `done` is
        called for all prompts at the end."""
        prompts, n, stops = request.prompts, request.n, request.stops
        assert not request.sampling.entropy, "refused when the recipe is read: vLLM gives no entropies"
        self.hand_over()
        rows = [p for p in range(len(prompts)) for _ in range(n)]
        asked = [{"prompt_token_ids": list(prompts[p])} for p in rows]
        how = [params(request, p, r) for r, p in enumerate(rows)]
        outputs = self.llm.generate(asked, sampling_params=how, use_tqdm=False)
        flat = iter([read(output.outputs[0], stops) for output in outputs])
        found = [[next(flat) for _ in range(n)] for _ in prompts]
        for p, samples in enumerate(found):
            request.done(p, samples)
        return found


def as_only_process() -> None:
    """Sets the environment variables of an external launcher for a single process; variables that are set stay."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, value in said.items():
        os.environ.setdefault(name, str(value))


def params(request: Request, p: int, row: int) -> Any:
    """vLLM's parameters of a row of prompt p. A logprobs of 0 asks for that of the sampled token alone."""
    from vllm import SamplingParams

    sampling, stops = request.sampling, request.stops
    return SamplingParams(
        n=1,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        max_tokens=request.limits[p],
        seed=request.seed * ROWS + row,
        logprobs=0,
        stop_token_ids=sorted(stops.ids),
        stop=list(stops.strings) or None,
        include_stop_str_in_output=True,
        detokenize=bool(stops.strings),
    )


def read(output: Any, stops: Stops) -> Sample:
    """A completion up to where the engine's own sampler would have ended it."""
    ids = list(output.token_ids)
    end = next((t for t in range(1, len(ids) + 1) if stops.end(ids[:t])), None)
    logp = [step[token].logprob for token, step in zip(ids[:end], output.logprobs, strict=False)]
    return Sample(ids[:end], logp, finished=end is not None or output.finish_reason == "stop")
