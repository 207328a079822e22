"""Models and their tokenizers: the only place, with tokens.py, that loads from transformers."""

from scalpel.models.load import load, locate
from scalpel.models.save import save, verify_saved

__all__ = ["load", "locate", "save", "verify_saved"]
