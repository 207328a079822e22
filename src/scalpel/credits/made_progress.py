"""A filter for correct answers in which no episode of reasoning lowered the probability of success."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from scalpel.batch import Batch
from scalpel.credits.progress import per_turn
from scalpel.part import Out, part
from scalpel.worked_cases import case


def limits() -> Iterator[tuple]:
    three: dict[str, Any] = dict(logp=[[-1.0, -1.0]] * 3, reward=[1.0, 1.0, 0.0], turn=[[0, 1]] * 3)
    made = case(**three, inside=[[0.5, 0.25], [-0.5, 1.5], [0.0, 0.0]])
    yield *made, {}, [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]  # an episode of the second makes no progress; the third is wrong
    yield *made, {"least": -1.0}, [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    yield *made, {"threshold": 2.0}, [0.0] * 6


@part("credit", "made-progress", reads={"reward", "progress"}, couples="sequence", tempered=False, limits=limits)
def made_progress(out: Out, batch: Batch, *, threshold: float = 1.0, least: float = 0.0) -> Tensor:
    """Keeps the policy's correct answers in which every episode of reasoning makes progress; all others get weight 0.

        credit_t = 1 if r ≥ threshold and min over episodes of (J_after − J_before) ≥ least, else 0

    What it keeps is imitated, so log-probs are those of the model itself, whatever temperature it sampled at.

    Reads    reward_S, reward_N (the progress of each episode, at its last token), turn_N (the episode).
    Limits   least = −∞ and `nll`: imitation of what was right, as with source `accepted-samples`.
    Fails    estimates of J from few forced answers are noisy: good answers are filtered out, and
             `tokens_left_out_share` is near 1.
    Source   Qu et al. 2025 (arXiv 2503.07572), MRT-STaR.
    """
    short_N = (per_turn(batch) < least).to(out.logp_N.dtype)
    kept_S = (batch.reward_S >= threshold) & (batch.sum_S(short_N) == 0)
    return batch.broadcast(kept_S.to(out.logp_N.dtype))
