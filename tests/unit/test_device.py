"""What is chosen from the model and the machine unless a recipe says it."""

import torch
from torch import nn

from scalpel.device import FILLED, MICRO_TOKENS, SMALL, choose_micro_tokens

CPU = torch.device("cpu")


def model(parameters: int) -> nn.Module:
    return nn.Linear(parameters, 1, bias=False, device="meta")


def test_a_large_model_on_a_cpu_takes_small_micro_batches():
    assert choose_micro_tokens("auto", model(SMALL), CPU) == FILLED
    assert choose_micro_tokens("auto", model(SMALL - 1), CPU) == MICRO_TOKENS
    assert choose_micro_tokens("auto", model(SMALL), torch.device("cuda")) == MICRO_TOKENS


def test_what_the_recipe_says_is_taken():
    assert choose_micro_tokens(7, model(SMALL), CPU) == 7
