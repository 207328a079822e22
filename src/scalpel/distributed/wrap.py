"""What stands around a policy that several ranks train: DDP, where each holds all weights, or FSDP2, where each holds a
share of them.

Every rank divides its loss by the count over all ranks (`reduce.py`), so gradients are summed over ranks:

    ∂L/∂θ = Σ_ranks ∂L_rank/∂θ

Both averages, as they do by default, would be right only where ranks have equally many tokens. Each backward pass is a
collective, so all ranks must run equally many of them (`passes.py`); passes under `unsynchronised` aren't.

Sources   Li et al. 2020 (arXiv 2006.15704) for DDP; Zhao et al. 2023 (arXiv 2304.11277) for FSDP.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import distributed, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel

from scalpel.batch import POLICY, Row, pack
from scalpel.engine.fp32_probe import stacks
from scalpel.engine.policy import Packed, Policy
from scalpel.engine.prefix_tree import lay_out


def replicated(policy: Policy) -> DistributedDataParallel:
    """A policy whose ranks all hold all weights. Those of rank 0 are taken over. What is trainable must be settled.

    A sum is had from DDP's average by multiplying each gradient with the number of ranks before it is added up. (A
    communication hook that sums is not the same: DDP reduces what is accumulated, so with a second backward pass the
    sums of the first one would be summed again.)
    """
    world = distributed.get_world_size()
    for p in policy.parameters():
        if p.requires_grad:
            p.register_hook(lambda gradient: gradient * world)
    # No buffer is trained, and a broadcast in every pass would hang where ranks score different numbers of batches.
    # A value head takes part only in the passes that ask for it.
    return DistributedDataParallel(policy, forward_sync_buffers=False, find_unused_parameters=True)


def sharded(policy: Policy, mesh: DeviceMesh | None = None) -> Policy:
    """The policy itself, of whose weights each rank holds a share: those of a layer are gathered while it runs, those
    of embeddings, head and owned modules while the policy's forward pass runs. Outside of it a parameter is a DTensor.

    Three traps. A tied head must stay in one group with its embeddings, so the head isn't sharded by itself. Behind a
    pass without gradients the outermost group stays whole, for the next pass or for another policy that reads its head;
    `policy.reshard()` frees it. And whoever runs first is taken for the root, so the first pass is made here.
    """
    for layer in layers_of(policy):
        fully_shard(layer, mesh=mesh)
    fully_shard(policy, mesh=mesh)
    for part in parts_of(policy):
        part.set_gradient_divide_factor(1.0)  # a sum, not an average …
        part.set_force_sum_reduction_for_comms(True)  # … by a plain one: gloo knows no sum of scaled gradients
        part.set_reduce_scatter_unused_params(True)  # a rank may ask for a value while another doesn't
    run_once(policy)
    return policy


def layers_of(policy: Policy) -> list[nn.Module]:
    """The layers of its transformer, where it holds them in a list; else none, and all weights are one group."""
    depth = policy.transformer.config.get_text_config().num_hidden_layers
    return [layer for _, _, layers in stacks(policy.transformer, depth) for layer in layers]


def parts_of(module: nn.Module) -> list[FSDPModule]:
    return [m for m in module.modules() if isinstance(m, FSDPModule)]


def run_once(policy: Policy) -> None:
    """A pass over three tokens."""
    batch = pack([Row([1, 2, 3], [False, True, True], [POLICY] * 3)]).to(next(policy.parameters()).device)
    at_n = batch.train_N.nonzero()[:, 0]
    policy.hidden_states(Packed(batch, at_n, lay_out(batch.input_N, batch.seq_N, at_n), 0))
    for part in parts_of(policy):
        part.reshard()


@contextmanager
def unsynchronised(module: nn.Module) -> Iterator[None]:
    """Backward passes in here add to each rank's own gradients; the next one outside adds those up over ranks. FSDP2
    then holds whole gradients, as large as the weights, until that one."""
    if isinstance(module, DistributedDataParallel):
        with module.no_sync():
            yield
        return
    for part in parts_of(module):
        part.set_requires_gradient_sync(False, recurse=False)
    try:
        yield
    finally:
        for part in parts_of(module):
            part.set_requires_gradient_sync(True, recurse=False)


@contextmanager
def gathered(policy: Policy) -> Iterator[Policy]:
    """Whole weights on every rank for a while, for what runs the transformer outside of the policy's forward pass or
    reads weights by themselves: sampling with a KV cache, saving. All ranks must enter."""
    parts = parts_of(policy)
    for part in parts:
        if part is not policy:
            part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield policy
    finally:
        for part in parts:
            if part is not policy:
                part.set_reshard_after_forward(True, recurse=False)
            part.reshard()
