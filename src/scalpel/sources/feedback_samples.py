"""Own samples, conditioned on their reward and on textual feedback."""

from scalpel.batch import ENVIRONMENT, POLICY, Batch, Row, pack
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
    """Trains on own samples, correct or not, each after a mark for its outcome and the textual feedback on it.

        x' = mark ∘ words ∘ x,   mark = good if r ≥ threshold else bad;   y ~ π(· | good ∘ x);   L = −log π(y | x')

    So incorrect samples are trained on, too: the model learns what a wrong answer, and this error, looks like. The
    words are the verifier's or a reward function's feedback (`log_extra("feedback", …)`), and `close` ends them;
    without `feedback` there is only the mark. Marks are plain text, so the vocabulary doesn't change. Put the good
    mark before prompts of the tuned model: for a probe, `template = "good. {prompt}"` in its task.

    Reads    prompts; the reward functions and their feedback.
    Limits   marks and words empty: imitation of all own samples, correct or not.
    Fails    without the mark in its prompt the model answers as before; feedback that contains the answer trains the
             model to copy it.
    Source   Wang et al. 2023 (arXiv 2305.10314), section 2; the authors' code trains the problem's tokens, too.
    """
    within("feedback-samples", 1, size=size)
    asked = [with_prefix(good, e.prompt) if asked_good else e.prompt for e in context.examples]
    samples, rewards = context.rewarded([context.tokens.prompt(prompt) for prompt in asked], size)
    rows: list[Row] = []
    for group, example in enumerate(context.examples):
        for sample, earned in zip(samples[group], rewards[group], strict=True):
            if total(earned) != total(earned):
                continue  # NaN: no reward applied, so it is neither good nor bad
            words = said(earned) if feedback else ""
            mark = good if total(earned) >= threshold else bad
            conditioned = with_prefix(mark + (words + close if words else ""), example.prompt)
            # The sample is trained after another prompt than it was sampled with, so it has no behaviour log-probs.
            if (row := context.fit(joined(context.tokens.prompt(conditioned), sample.ids), example)) is not None:
                author = [POLICY if trained else ENVIRONMENT for trained in row.train]
                rows.append(Row(row.ids, row.train, author, row.turn, group, rewards=earned, columns=example.columns))
    return pack(rows)
