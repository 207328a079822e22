"""Own samples that were accepted."""

from scalpel.batch import Batch, Row, lay
from scalpel.draw import Draw
from scalpel.part import part
from scalpel.sources.sampled import judged, sample_row, total


@part("source", "accepted-samples", gives=frozenset({"reward"}))
def accepted_samples(draw: Draw, *, size: int = 8, threshold: float = 1.0, keep: int = 4, dedupe: bool = True) -> Batch:
    """Of `size` samples a prompt, those with a reward of `threshold` or more, each text once, at most `keep`.

    A sample that was cut off is not accepted: it would teach not to stop. `keep` bounds the weight of easy prompts.

    Reads    prompts; the reward functions.
    Limits   threshold −∞, without dedupe and cap: imitation of itself. With `nll` it is one step of expert iteration.
    Fails    nothing is accepted where the policy never succeeds: the batch is empty and teaches nothing;
             `tokens_trained_share` is missing from the log.
    Source   Yuan et al. 2023 (arXiv 2308.01825), section 3.3; cap as in Singh et al. 2023 (arXiv 2312.06585).
    """
    rows: list[Row] = []
    prompts, found = judged(draw, size)
    for group, (example, prompt, samples) in enumerate(zip(draw.examples, prompts, found, strict=True)):
        seen: set[str] = set()
        taken = 0
        for sample, rewards in samples:
            text = draw.tokens.text(sample.ids)
            if total(rewards) < threshold or not sample.finished or taken == keep or (dedupe and text in seen):
                continue
            seen.add(text)
            taken += 1
            rows.append(sample_row(prompt, sample, example, group, rewards))
    return lay(rows)
