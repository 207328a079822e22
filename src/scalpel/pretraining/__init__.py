"""Pretraining of the miniature world's models, and their model card."""
