"""Every probe on a real, tiny model: what it reports is what the model's own logits say."""

import torch

import tiny
from folders import WordTask
from scalpel.data.example import Example
from scalpel.data.tokenizer import Tokens
from scalpel.engine import Engine
from scalpel.evaluation import (
    Choose,
    Drift,
    Generate,
    Given,
    measure,
)
from scalpel.evaluation.probes import Choice


def engine(seed):
    return Engine(tiny.model("llama", seed=seed), Tokens(tiny.tokenizer()))


def by_hand(engine, prompt, completion):
    """Σ log p of the completion from the model's logits."""
    ids = torch.tensor([[*prompt, *completion]])
    with torch.no_grad():
        logps_NV = engine.model.eval()(input_ids=ids).logits[0, :-1].log_softmax(-1)
    return sum(float(logps_NV[len(prompt) - 1 + t, id]) for t, id in enumerate(completion))


def test_values_are_the_models_own_log_probabilities():
    model = engine(0)
    tokens = model.tokens
    task = WordTask()
    first = Generate("upper", task, n=1, max_tokens=4).run(model)[0]
    wanted = by_hand(model, tokens.prompt("w0"), tokens.completion("W0", "w0"))
    assert abs(first.value - wanted) < 1e-4

    pair = Choose("pairs", (Choice("1", "", ("one cat", "one cats"), 0),)).run(model)[0]
    good, bad = (
        by_hand(model, tokens.prompt(""), tokens.completion(text, "")[:-1]) for text in ("one cat", "one cats")
    )
    assert abs(pair.value - good) < 1e-4 and pair.right == (good > bad)

    given = Given("given", (Example(prompt="q", completion="a b", id="1"),)).run(model)[0]
    ids = tokens.completion("a b", "q")
    assert abs(given.value - by_hand(model, tokens.prompt("q"), ids) / len(ids)) < 1e-4


def test_a_pair_is_measured_from_end_to_end():
    base, tuned = engine(0), engine(1)
    probes = [
        Generate("upper", WordTask(), n=3, max_tokens=4),
        Choose("pairs", tuple(Choice(str(i), "", (f"a{i}", f"b{i}"), 0) for i in range(8))),
        Drift("drift", prompts=("one", "two"), max_tokens=6),
    ]
    upper, pairs, drift = measure(probes, base, tuned, k=2)
    assert [entry.verdict for entry in upper.entries] == ["never"] * 3  # a random model solves nothing
    assert all(entry.recovered_within_k is False for entry in upper.entries)
    assert len(pairs.entries) == 8 and {entry.before for entry in pairs.entries} <= {True, False}
    assert all(entry.logp_before == 0.0 and entry.logp_after > 0 for entry in drift.entries)


def test_a_model_beside_itself_keeps_everything():
    base, same = engine(0), engine(0)
    probes = [
        Choose("pairs", tuple(Choice(str(i), "", (f"a{i}", f"b{i}"), 0) for i in range(8))),
        Drift("drift", texts=("some words", "more")),
    ]
    pairs, drift = measure(probes, base, same)
    assert {entry.verdict for entry in pairs.entries} <= {"kept", "never"}
    assert all(abs(entry.logp_after) < 1e-6 for entry in drift.entries)
