"""Models and their tokenizers: with `data/tokenizer.py` the only place that loads from transformers."""

from transformers import PreTrainedModel as Model

from scalpel.models.load import is_plain_folder, load, locate
from scalpel.models.merge import merge
from scalpel.models.save import save, verify_saved

__all__ = ["Model", "is_plain_folder", "load", "locate", "merge", "save", "verify_saved"]
