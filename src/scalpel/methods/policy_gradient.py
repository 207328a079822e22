"""Policy gradients: own samples, weighed by their rewards."""

from scalpel.methods.row import Row, one

ROWS: dict[str, Row] = {
    "grpo": Row(
        "Group relative policy optimisation",
        "Shao et al. 2024, arXiv 2402.03300",
        {"signals": one("groups", ["group-zscore"], "clipped-pg"), "learning_rate": 1e-6},
    ),
    "dr-grpo": Row(
        "GRPO done right",
        "Liu et al. 2025, arXiv 2503.20783",
        {
            "signals": one("groups", ["group-mean"], {"name": "clipped-pg", "average": "constant"}),
            "learning_rate": 1e-6,
        },
    ),
    "ppo": Row(
        "Proximal policy optimisation",
        "Schulman et al. 2017, arXiv 1707.06347",
        {
            "signals": [
                {
                    "name": "policy",
                    "source": "groups",
                    "credit": ["gae"],
                    "objective": {"name": "clipped-pg", "average": "token"},
                    "reuse": 2,
                },
                {"name": "value", "objective": "value", "weight": 0.1},
            ],
            "learning_rate": 1e-6,
        },
    ),  # fmt: skip
}
