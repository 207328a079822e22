"""Pretraining of the miniature world's models, and the card that says what they can do."""
