"""Own failed answers, corrected at their first error."""

import re

from scalpel.batch import ENVIRONMENT, POLICY, Batch, Row, pack
from scalpel.data.trajectory import Trajectory
from scalpel.part import part
from scalpel.rewards.scored import total
from scalpel.sources.context import SourceContext
from scalpel.sources.proposals import Locate, Proposal, Reply, asked, attempt_of, reference_of, samples, tried
from scalpel.sources.sampled import Judged, judged, within
from scalpel.sources.steps import Boundary, gone_on

ASK = (
    "Here is a right solution:\n{reference}\n\nYour solution, step by step:\n{attempt}\n\nWhich step is the first "
    "wrong one, and what should stand there? Answer with its number, a colon and the new step, nothing else."
)


@part("source", "interventions", gives=frozenset({"reward"}), samples=samples)
def interventions(
    context: SourceContext,
    *,
    size: int = 8,
    hard: float = 0.0,
    locate: Locate = "asked",
    proposals: int = 1,
    tries: int = 32,
    successes: int = 1,
    clone: bool = True,
    reveal: bool = False,
    longest: int = 200,
    boundary: Boundary = r"\n+",
    ask: str = ASK,
    reply: Reply = r"(\d+)\s*[:.)]\s*(.+)",
    threshold: float = 1.0,
) -> Batch:
    """Trains on a failed answer up to its first wrong step, and on the correction that the model itself proposes there.

        L = −log π(y_{<t} | x) − log π(ỹ | x, y_{<t}),   where `successes` of `tries` continuations of it are correct

    Prompts with more than the share `hard` of `size` samples correct are skipped. The policy sees the reference
    solution when it proposes, never in training. `locate` "asked": the policy names and rewrites the first wrong step
    of its attempt, with the instruction `ask` and the expression `reply` for its reply; "tried": the first step after
    which no continuation is correct, for models that don't follow instructions. Steps end where `boundary` matches
    (empty: after any token). A proposal with the `answer` needs `reveal`; without `clone` only the step is trained.

    Reads    prompts, `completion` or `answer`; the reward functions.
    Limits   tries 0: proposals are not verified.
    Fails    no proposal can be parsed or verified: `tokens_trained_share` is missing; take locate "tried", more tries.
    Source   Yang et al. 2026 (arXiv 2601.14209), section 4.
    """
    within("interventions", 1, size=size, proposals=proposals)
    within("interventions", 0, tries=tries)
    if locate == "tried" and not tries:
        raise ValueError('locate "tried" needs continuations to verify: set tries to 1 or more, or locate to "asked"')
    _ = [reference_of(context, group) for group in range(len(context.examples))]  # raises before anything is sampled
    prompts, found = judged(context, size)
    failures = [(group, failure(samples, hard, threshold)) for group, samples in enumerate(found)]
    attempts = [attempt_of(context, group, sample, boundary) for group, sample in failures if sample]
    if locate == "asked":
        made = asked(context, attempts, proposals, ask, reply)
    else:
        made = tried(context, attempts, proposals, tries, threshold, boundary)
    made = [p for p in made if len(p.step) <= longest and len(p.kept) + len(p.step) < context.max_tokens]
    made = [p for p in made if reveal or not reveals(context, p)]
    rows: dict[int, Row] = {}
    patched = [(p.group, [*p.kept, *p.step]) for p in made]
    for p, ends in zip(made, gone_on(context, patched, tries, "verified", trial=True), strict=True):
        right = sum(total(rewards) >= threshold for _, rewards in ends)
        if p.group not in rows and right >= min(successes, tries):
            rows[p.group] = corrected(context, prompts[p.group], p, clone, right / max(tries, 1))
    return pack(list(rows.values()))


def failure(samples: Judged, hard: float, threshold: float) -> Trajectory | None:
    """The first failed sample that was not cut off, if at most that share of the samples is correct."""
    failed = [sample for sample, rewards in samples if total(rewards) < threshold]
    if 1 - len(failed) / len(samples) > hard:
        return None
    return next((sample for sample in failed if sample.finished), None)


def reveals(context: SourceContext, proposal: Proposal) -> bool:
    """Whether the step contains the example's answer as separate words."""
    answer = (context.examples[proposal.group].answer or "").strip()
    return bool(answer and re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", context.tokens.text(proposal.step)))


def corrected(context: SourceContext, prompt: list[int], proposal: Proposal, clone: bool, reward: float) -> Row:
    """The row of a proposal. It has no stop token: the policy continues from there by itself."""
    before, kept, step = len(prompt), len(proposal.kept), len(proposal.step)
    return Row(
        [*prompt, *proposal.kept, *proposal.step],
        [False] * before + [clone] * kept + [True] * step,
        [ENVIRONMENT] * before + [POLICY] * (kept + step),
        group=proposal.group,
        rewards=[reward],
        columns=context.examples[proposal.group].columns,
    )
