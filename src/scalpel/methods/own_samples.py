"""Self-training: supervised learning on the model's own samples, and on labels that no person gave."""

from math import inf
from typing import Any

from scalpel.methods.row import Row, by_hand, equal_to, one

EQUATION = r"[-+*/(). \d]+=\s*-?[.\d]+"  # RFT counts two solutions as equal if their lists of equations are equal
BEST: dict[str, Any] = {"name": "accepted-samples", "size": 16, "threshold": -inf, "keep": 1, "order": "best"}


def spin_signal(earlier: float, beta: float) -> list[dict[str, Any]]:
    """SPIN's signal in one of its iterations; `earlier` is the share of samples that the iteration before made."""
    return one({"name": "self-play", "earlier": earlier}, ["constant"], {"name": "dpo", "beta": beta})


SPIN: dict[str, Any] = {"name": "spin", "reference": "start", "optimizer": "rmsprop", "warmup": 0.1}

ON_KEPT_SAMPLES = by_hand(
    "loss and gradients on the kept samples",
    "parity/test_own_samples.py::test_the_gradient_on_kept_samples_is_that_of_cross_entropy",
)

ROWS: dict[str, Row] = {
    "rejection-sampling": Row(
        "Rejection-sampling fine-tuning",
        "Yuan et al. 2023, arXiv 2308.01825",
        {"signals": one("accepted-samples", ["constant"], "nll"), "learning_rate": 1e-5},
        evidence=ON_KEPT_SAMPLES,
    ),
    "rft": Row(
        "Rejection-sampling fine-tuning as data augmentation: fine-tune, sample, then train again from the base",
        "Yuan et al. 2023, arXiv 2308.01825",
        {
            # 32 samples in each of the paper's 3 epochs, where the paper samples 100 once.
            "signals": one(
                {
                    "name": "augmented-demonstrations",
                    "writer": "previous",
                    "size": 32,
                    "keep": 32,
                    "key": EQUATION,
                    "order": "apart",
                },
                ["constant"],
                "nll",
            ),
            "start": "base",
            "learning_rate": 1e-5,
            "sampling": {"temperature": 0.7},
        },
        before=[{"method": "sft", "learning_rate": 1e-5}],
        evidence=by_hand(
            "loss and gradients on the kept samples and the demonstrations, each token with the same weight",
            "parity/test_own_samples.py::test_the_gradient_on_kept_samples_is_that_of_cross_entropy",
            "parity/test_own_samples.py::test_rft_gives_a_gold_token_the_weight_of_an_own_one",
        ),
    ),
    "expert-iteration": Row(
        "Expert iteration: rounds, each on correct samples of the policy of the round before",
        "Anthony et al. 2017, arXiv 1705.08439",
        {
            "signals": one({"name": "accepted-samples", "writer": "reference"}, ["constant"], "nll"),
            "reference": "start",
            "repeat": 3,
            "learning_rate": 1e-5,
        },
        evidence=ON_KEPT_SAMPLES,
    ),
    "rest-em": Row(
        "Reinforced self-training by expectation maximisation: each round starts from the base",
        "Singh et al. 2023, arXiv 2312.06585",
        {
            "signals": one(
                {"name": "accepted-samples", "writer": "previous", "size": 32, "keep": 10}, ["constant"], "nll"
            ),
            "start": "base",
            "repeat": 3,
            "learning_rate": 1e-5,
            "sampling": {"temperature": 0.7, "top_k": 40},
        },
        evidence=ON_KEPT_SAMPLES,
    ),
    "best-of-n": Row(
        "Reward-ranked fine-tuning: the best of n samples",
        "Dong et al. 2023, arXiv 2304.06767",
        {"signals": one(BEST, ["constant"], "nll"), "learning_rate": 1e-5},
        evidence=ON_KEPT_SAMPLES,
    ),
    "superhf": Row(
        "Supervised human feedback: the best of n samples, with a KL penalty from the base",
        "Mukobi et al. 2023, arXiv 2310.16763",
        {
            "signals": one(BEST, ["constant"], "nll"),
            "anchors": [{"name": "kl", "estimator": "exact-forward", "beta": 0.35}],
            "reference": "start",
            "learning_rate": 1e-5,
            "sampling": {"top_p": 0.95},
        },
        evidence=by_hand(
            "loss and gradients",
            "parity/test_own_samples.py::test_superhf_is_cross_entropy_on_the_best_samples_its_inverse_if_asked_and_the_divergence_of_the_reference",
        ),
    ),
    "s3ft": Row(
        "Selective self-to-supervised fine-tuning",
        "Gupta et al. 2025, arXiv 2502.08130",
        {
            "signals": one("own-or-gold", ["constant"], "nll"),
            "reference": "start",
            "learning_rate": 1e-5,
            "sampling": {"temperature": 0.0},
        },
        evidence=ON_KEPT_SAMPLES,
    ),
    "spin": Row(
        "Self-play fine-tuning",
        "Chen et al. 2024, arXiv 2401.01335",
        {**SPIN, "signals": spin_signal(0.0, 0.1), "learning_rate": 5e-7},
        after=[
            {**SPIN, "signals": spin_signal(0.5, 0.1), "learning_rate": 5e-7},
            {**SPIN, "signals": spin_signal(0.5, 0.1), "learning_rate": 1e-7},
            {**SPIN, "signals": spin_signal(0.5, 5.0), "learning_rate": 1e-7},
        ],
        evidence=equal_to(
            "TRL's DPOTrainer",
            "loss and gradients",
            "parity/test_own_samples.py::test_spin_is_trl_s_dpo_of_the_demonstration_over_the_reference_s_own_answer",
        ),
    ),
    "self-judged": Row(
        "Self-judged: the best of n samples by the model's own score",
        "Kadavath et al. 2022, arXiv 2207.05221",
        {"signals": one({**BEST, "size": 8}, ["constant"], "nll", rewards=["judge"]), "learning_rate": 1e-5},
        evidence=ON_KEPT_SAMPLES,
    ),
    "self-rewarding": Row(
        "Self-rewarding: rounds of DPO on pairs of the best and the worst sample by the model's own score",
        "Yuan et al. 2024, arXiv 2401.10020",
        {
            "signals": one(
                {"name": "preference-pairs", "make": "samples", "size": 4, "choose": "extremes", "writer": "reference"},
                ["constant"],
                "dpo",
                rewards=[{"name": "judge", "role": "reference"}],
            ),
            "reference": "start",
            "repeat": 2,
            "learning_rate": 1e-6,
            "sampling": {"temperature": 0.7, "top_p": 0.9},
        },
        evidence=by_hand(
            "loss and gradients",
            "parity/test_own_samples.py::test_self_rewarding_is_dpo_of_the_best_over_the_worst_answer_of_the_reference",
        ),
    ),
    "self-consistency": Row(
        "Self-improvement: samples whose answer agrees with the majority",
        "Huang et al. 2022, arXiv 2210.11610",
        {
            "signals": one("accepted-samples", ["constant"], "nll", rewards=["agreement"]),
            "learning_rate": 1e-5,
            "sampling": {"temperature": 0.7},
        },
        evidence=by_hand(
            "gradients on kept samples; which are kept, of 8 paths where the paper samples 32",
            "parity/test_own_samples.py::test_the_gradient_on_kept_samples_is_that_of_cross_entropy",
            "parts/test_who_writes.py::test_a_completion_that_says_what_most_say_is_rewarded_within_its_own_prompt",
        ),
    ),
    "weak-to-strong": Row(
        "Weak-to-strong, with the auxiliary confidence loss",
        "Burns et al. 2023, arXiv 2312.09390",
        {
            "signals": one(
                "answers", ["constant"], {"name": "confidence", "alpha": {"from": 0.0, "to": 0.5, "until": 0.1}}
            ),
            "learning_rate": 1e-5,
            "sampling": {"temperature": 0.0},
        },
        evidence=by_hand(
            "loss and gradients",
            "parity/test_own_samples.py::test_weak_to_strong_mixes_the_weak_labels_with_its_own_hardened_prediction",
        ),
    ),
    "sequence-distillation": Row(
        "Sequence-level distillation: supervised fine-tuning on a teacher's answers",
        "Kim & Rush 2016, arXiv 1606.07947",
        {
            "signals": one({"name": "answers", "writer": "teacher"}, ["constant"], "nll"),
            "learning_rate": 2e-5,
            "sampling": {"temperature": 0.0},  # the paper takes the best of a beam of 5: the likeliest answer, too
        },
        evidence=by_hand(
            "gradients on the answers; a greedy answer where the paper has a beam of 5",
            "parity/test_own_samples.py::test_the_gradient_on_kept_samples_is_that_of_cross_entropy",
            "training/test_writers.py::test_a_sequence_is_distilled_from_what_the_teacher_holds_likeliest",
        ),
    ),
}
