"""Own samples, told beforehand what will be said of them."""

from scalpel.batch import ENVIRONMENT, POLICY, Batch, Row, lay
from scalpel.binding.bounds import Few
from scalpel.data.prompts import with_prefix
from scalpel.part import part
from scalpel.rewards.scored import said, total
from scalpel.sources.context import SourceContext
from scalpel.sources.labelled import joined
from scalpel.sources.sampled import within


@part("source", "feedback-samples", gives=frozenset({"reward"}))
def feedback_samples(
    context: SourceContext,
    *,
    size: Few = 8,
    threshold: float = 1.0,
    good: str = "good. ",
    bad: str = "bad. ",
    feedback: bool = True,
    close: str = " ",
    asked_good: bool = True,
) -> Batch:
    """Own samples, right and wrong ones, each behind a mark that says which, and behind what was said of it.

        x' = mark ∘ words ∘ x,   mark = good if r ≥ threshold else bad;   y ~ π(· | good ∘ x);   L = −log π(y | x')

    So wrong samples teach, too: what a wrong answer, and this fault, looks like. The words are the verifier's or a
    reward function's (`log_extra("feedback", …)`), `close` ends them; without `feedback` there is only the mark.
    Marks are plain texts, so the vocabulary stays as it is. Ask the tuned model behind the good one: for a probe,
    `template = "good. {prompt}"` in its task.

    Reads    prompts; the reward functions and their words.
    Limits   marks and words empty: imitation of all own samples, right or wrong.
    Fails    asked without the mark, the model answers as well and as badly as before; words that hold the answer
             teach to copy it.
    Source   Wang et al. 2023 (arXiv 2305.10314), section 2; the authors' code trains the problem's tokens, too.
    """
    within("feedback-samples", 1, size=size)
    asked = [with_prefix(good, e.prompt) if asked_good else e.prompt for e in context.examples]
    samples, rewards = context.rewarded([context.tokens.prompt(prompt) for prompt in asked], size)
    rows: list[Row] = []
    for group, example in enumerate(context.examples):
        for sample, earned in zip(samples[group], rewards[group], strict=True):
            if total(earned) != total(earned):
                continue  # nothing rewarded it, so it is neither
            words = said(earned) if feedback else ""
            mark = good if total(earned) >= threshold else bad
            told = with_prefix(mark + (words + close if words else ""), example.prompt)
            if (row := context.fit(joined(context.tokens.prompt(told), sample.ids), example)) is not None:
                author = [POLICY if trained else ENVIRONMENT for trained in row.train]
                rows.append(Row(row.ids, row.train, author, row.turn, group, rewards=earned, columns=example.columns))
    return lay(rows)
