"""Hybrids: demonstrations and own samples in one batch."""

from scalpel.methods.row import Row, one

ROWS: dict[str, Row] = {
    "prefix-rft": Row(
        "Prefix-RFT",
        "Huang et al. 2025, arXiv 2507.01679",
        {
            "signals": one(
                "prefix-groups",
                ["group-mean", "top-entropy-prefix"],
                {"name": "clipped-pg", "average": "constant"},
            ),
            "learning_rate": 1e-6,
        },
    ),  # fmt: skip
}
