"""Models and their tokenizers. With `data/tokenizer.py` it is the only place that loads from transformers."""

from transformers import PreTrainedModel as Model

from scalpel.models.load import is_plain_folder, load, locate
from scalpel.models.merge import merge
from scalpel.models.owned import Owned, read_owned, take_over
from scalpel.models.save import save, verify_saved
from scalpel.models.size import parameters_of

__all__ = [
    "Model",
    "Owned",
    "is_plain_folder",
    "load",
    "locate",
    "merge",
    "parameters_of",
    "read_owned",
    "save",
    "take_over",
    "verify_saved",
]
