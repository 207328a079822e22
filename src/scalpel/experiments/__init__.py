"""Experiments: a single run of a recipe, a comparison of arms over seeds, and the tuning of their learning rates."""
