"""The cost of a run, by the formula and by hand."""

import pytest
import torch
from torch import nn

import tiny
from scalpel.batch import Row, pack
from scalpel.data.tokenizer import Tokens
from scalpel.engine import CostMeter, Engine, Sampling
from scalpel.engine.backward_cost import BackwardCost
from scalpel.engine.cost_meter import forward_flops, matrix_parameters
from scalpel.part import HeadTerm

# llama: width 16, 2 layers, 2 heads of 8, 1 key-value head, inner width 32, vocabulary 263, tied head
# q 16·16 + k, v 2·16·8 + o 16·16 + gate, up, down 3·16·32 = 2304 a layer; head 16·263 = 4208
P = 2 * 2304 + 4208
# nothing depends on the last of its five tokens, so four are computed
ROW = Row([9, 10, 11, 12, 13], [False, False, True, True, True], [0] * 5)


def test_a_token_meets_every_matrix_and_the_head_once():
    assert matrix_parameters(tiny.model()) == P
    assert matrix_parameters(tiny.model(tie_word_embeddings=False)) == P
    # gpt2: c_attn 16·48 + c_proj 16·16 + mlp 2·16·32 = 2048 a layer; positions are looked up, not multiplied
    assert matrix_parameters(tiny.model("gpt2")) == 2 * 2048 + 4208


def test_adapters_count_from_the_moment_they_are_there():
    model = tiny.model()
    assert matrix_parameters(model) == P
    model.model.layers[0].extra = nn.Linear(16, 3, bias=False)
    assert matrix_parameters(model) == P + 48


def test_a_forward_pass_by_hand():
    # 2·P·n + 2·layers·D·n² for n = 5 and n = 3
    assert forward_flops(tiny.model(), [5, 3]) == 2 * P * 8 + 2 * 2 * 16 * (25 + 9)


def test_a_training_pass_costs_three_forward_passes_where_all_moves():
    e = Engine(tiny.model(), Tokens(tiny.tokenizer()))
    e.forward(pack([ROW]))
    assert e.meter == CostMeter(3 * forward_flops(e.model, [4]), tokens_trained=3, tokens_processed=4)


def test_where_little_moves_the_backward_pass_costs_less_in_matrices_and_in_attention():
    e = Engine(tiny.model(), Tokens(tiny.tokenizer()))
    e.cost_of_backward = BackwardCost(linear=1.25, attention=1.0)
    e.forward(pack([ROW]))
    assert e.meter.flops == pytest.approx(2.25 * 2 * P * 4 + 2.0 * 64 * 16)


def test_a_model_beside_is_paid_for():
    e = Engine(tiny.model(), Tokens(tiny.tokenizer()), others={"reference": tiny.model(seed=1, num_hidden_layers=1)})
    e.score(pack([ROW]), needs={HeadTerm("reverse_kl", "reference")})
    one, other = forward_flops(e.model, [4]), forward_flops(e.others["reference"].transformer, [4])
    assert e.meter == CostMeter(one + other, tokens_processed=8)


def test_sampling_pays_each_prompt_once_and_each_completion_behind_it():
    e = Engine(tiny.model(), Tokens(tiny.tokenizer()))
    found = e.sample([[9, 10, 11], [40]], Sampling(6), n=3, seed=1)
    expected = 0.0
    for prompt, group in zip([3, 1], found, strict=True):
        expected += 2 * P * prompt + 64 * prompt**2
        for s in group:  # (p + c)² − p² = 2pc + c²: each new token looks at all before it
            c = len(s.ids)
            expected += 2 * P * c + 64 * (2 * prompt * c + c * c)
    assert e.meter.flops == pytest.approx(expected)
    assert e.meter.tokens_sampled == sum(len(s.ids) for g in found for s in g)


def test_scoring_counts_a_pass_without_gradients():
    e = Engine(tiny.model(), Tokens(tiny.tokenizer()))
    e.score(pack([ROW]))
    assert e.meter == CostMeter(forward_flops(e.model, [4]), tokens_processed=4)
    with torch.no_grad():
        e.forward(pack([ROW]))
    assert e.meter.tokens_trained == 0


def test_a_shared_prompt_is_paid_for_once():
    e = Engine(tiny.model(), Tokens(tiny.tokenizer()))
    prompt, n = list(range(10, 90)), 3
    rows = [Row(prompt + [100 + k] * 4, [False] * 80 + [True] * 4, [0] * 84) for k in range(n)]
    e.score(pack(rows))
    # 80 + 3·3 tokens; those of a completion look at the prompt too: (80 + 3)² − 80²
    assert e.meter.tokens_processed == 89
    assert e.meter.flops == 2 * P * 89 + 64 * (80**2 + n * (83**2 - 80**2))
