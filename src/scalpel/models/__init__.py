"""Models and their tokenizers: the only place, with tokens.py, that loads from transformers."""

from scalpel.models.load import is_plain_folder, load, locate
from scalpel.models.merge import merge
from scalpel.models.save import save, verify_saved

__all__ = ["is_plain_folder", "load", "locate", "merge", "save", "verify_saved"]
