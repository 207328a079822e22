"""A recipe run to its end, several arms and seeds compared, and the tuning of their learning rates."""
