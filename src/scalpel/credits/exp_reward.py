"""Reward-weighted regression."""

from collections.abc import Iterator
from math import e

from torch import Tensor

from scalpel.batch import Batch
from scalpel.part import Out, part
from scalpel.worked_cases import case


def limits() -> Iterator[tuple]:
    yield *case([[-1.0], [-1.0, -1.0]], reward=[1.0, 0.0]), {"tau": 1.0}, [e, 1.0, 1.0]
    yield *case([[-1.0], [-1.0]], reward=[0.5, -0.5]), {"tau": 0.5}, [e, 1 / e]  # exp(±1)
    yield *case([[-1.0], [-1.0]], reward=[7.0, -7.0]), {"tau": 1e9}, [1.0, 1.0]  # a high temperature: equal weights


@part("credit", "exp-reward", reads={"reward"}, limits=limits)
def exp_reward(out: Out, batch: Batch, *, tau: float = 0.4) -> Tensor:
    """Weighs samples by the exponential of their reward: credit_t = exp(r_i / τ) for all tokens of sample i.

    With `nll` it is regression onto the policy that maximises the reward less τ times its KL divergence from the
    sampling policy.

    Reads    reward_S.
    Limits   τ → ∞ is `constant`; τ → 0 learns from the best sample alone.
    Fails    rewards far above τ: a few samples dominate the loss, and `gradient_norm` jumps.
    Source   Peters & Schaal 2007 (ICML), reward-weighted regression; τ as in Qu et al. 2024 (arXiv 2407.18219), the
             authors' code.
    """
    if tau <= 0:
        raise ValueError(
            f"tau is {tau}: exp(reward / tau) needs a temperature above 0; to train on the best sample alone, take "
            "source 'accepted-samples' with keep = 1"
        )
    # The weights are not normalised, so their scale acts on the learning rate: a constant added to all rewards matters.
    return batch.broadcast((batch.reward_S / tau).exp())
