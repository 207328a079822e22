"""Revision: learning from own failures, from textual feedback on them and from steps that correct them."""

from scalpel.methods.row import Row, by_hand, one

ON_ITS_ROWS = by_hand(
    "loss and gradients on the rows",
    "parity/test_revision.py::test_loss_and_gradients_are_those_of_weighted_likelihood_on_the_rows",
)

ROWS: dict[str, Row] = {
    "leti": Row(
        "Learning from textual interactions",
        "Wang et al. 2023, arXiv 2305.10314",
        {
            "signals": [
                {"source": "feedback-samples", "credit": ["constant"], "objective": "nll"},
                {
                    "name": "base",
                    "source": {"name": "self-written", "documents": 64, "max_tokens": 64},
                    "credit": ["constant"],
                    "objective": "nll",
                },
            ],
            "learning_rate": 1e-5,
            "schedule": "constant",
            "weight_decay": 0.01,
        },
        evidence=ON_ITS_ROWS,
    ),
    # Each iteration's conversations are those of the model that it starts with, and the loss is the mean over answers
    # of weight times mean over tokens: both as in the authors' code (cmu-mind/RISE). The paper (eq. 4.3 and after it)
    # centres the weights among a prompt's answers, which the code doesn't.
    "rise": Row(
        "Recursive introspection",
        "Qu et al. 2024, arXiv 2407.18219",
        {
            "signals": one(
                {"name": "revisions", "writer": "reference"}, ["exp-reward"], {"name": "nll", "average": "sequence"}
            ),
            "reference": "start",
            "learning_rate": 1e-5,
            "schedule": "cosine",
            "warmup": 0.04,
            "repeat": 2,
        },
        evidence=by_hand(
            "loss and gradients, with the authors' code's average; who writes the conversations of a round",
            "parity/test_revision.py::test_loss_and_gradients_are_those_of_weighted_likelihood_on_the_rows",
            "parity/test_revision.py::test_the_conversations_of_a_round_of_rise_are_those_of_the_model_that_it_starts_with",
        ),
    ),
    "eef": Row(
        "Exploring expert failures",
        "Lan et al. 2025, arXiv 2504.13145",
        {"signals": one("beneficial-steps", ["constant"], "nll"), "learning_rate": 1e-5},
        before=(
            {
                "name": "cloning",
                "signals": one({"name": "beneficial-steps", "states": 0}, ["constant"], "nll"),
                "learning_rate": 1e-5,
            },
        ),
        evidence=ON_ITS_ROWS,
    ),
    "int": Row(
        "Intervention training",
        "Yang et al. 2026, arXiv 2601.14209",
        {"signals": one("interventions", ["constant"], "nll"), "learning_rate": 1e-5},
        after=({"method": "grpo"},),
        evidence=ON_ITS_ROWS,
    ),
}  # fmt: skip
