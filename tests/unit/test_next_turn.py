"""What is appended to an answer as it was sampled, and where a chat template doesn't allow that."""

import logging

import pytest

import tiny
from scalpel.batch import ENVIRONMENT, TEMPLATE
from scalpel.data.example import Example
from scalpel.data.next_turn import next_turn, prefix_faults, say_prefix_faults
from scalpel.data.tokenizer import Tokens
from scalpel.data.trajectory import completion
from scalpel.environments import play
from scalpel.environments.calculator import Calculator
from scalpel.sources.sampled import trajectory_rows
from scalpel.world.vocabulary import IDS, tokenizer

CHAT = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}\n{% endfor %}"
ASKED = ({"role": "user", "content": "one"},)
ANSWER = {"role": "assistant", "content": "two"}
# thoughts of answers before the last message are left out, as Qwen3 does it
FORGETFUL = (
    "{% for m in messages %}<|{{ m.role }}|>"
    "{{ m.content if loop.last else m.content.split('</think>')[-1].strip() }}{{ eos_token }}\n{% endfor %}"
)
# every answer but the last is put in other words
ALTERING = (
    "{% for m in messages %}<|{{ m.role }}|>"
    "{{ m.content if loop.last or m.role != 'assistant' else '…' }}{{ eos_token }}\n{% endfor %}"
)


def templated(template: str) -> Tokens:
    own = tiny.tokenizer()
    own.chat_template = template + "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    return Tokens(own)


def joined(tokens: Tokens, said: dict, ids: list[int], replies: list[dict]) -> list[int]:
    asked = tokens.prompt(ASKED)
    return [*asked, *ids, *(i for s in next_turn(tokens, ASKED, said, ids, replies) for i in s.ids)]


def test_what_follows_an_answer_are_the_templates_tokens_and_the_environments():
    tokens = Tokens(tokenizer())
    ids = [*tokens.encode("=1+2"), IDS["<end>"]]
    found = next_turn(tokens, ASKED, {"role": "assistant", "content": "=1+2"}, ids, [{"role": "user", "content": "3"}])
    assert [(s.author, s.ids) for s in found] == [
        (TEMPLATE, (IDS["<user>"],)),
        (ENVIRONMENT, (IDS["3"],)),
        (TEMPLATE, (IDS["<bot>"],)),
    ]


@pytest.mark.parametrize("role", ["tool", "user"])
def test_where_the_answer_encodes_to_what_was_sampled_the_whole_is_the_rendered_prompt(role):
    tokens, reply = templated(CHAT), {"role": role, "content": "three"}
    ids = tokens.completion("two", ASKED)
    assert joined(tokens, ANSWER, ids, [reply]) == tokens.prompt((*ASKED, ANSWER, reply))


def test_a_stop_that_is_a_text_is_followed_by_the_templates_own():
    tokens, reply = templated(CHAT), {"role": "tool", "content": "three"}
    ids = tokens.completion("two", ASKED)
    assert joined(tokens, ANSWER, ids[:-1], [reply]) == tokens.prompt((*ASKED, ANSWER, reply))


def test_a_prompt_that_is_plain_text_goes_on_in_a_line_of_its_own():
    tokens = Tokens(tiny.tokenizer())
    found = next_turn(tokens, "1+1=", ANSWER, tokens.completion("two", "1+1="), [{"role": "tool", "content": "3"}])
    assert "".join(str(tokens.tokenizer.decode(s.ids)) for s in found) == "\n3\n"
    assert [s.author for s in found] == [TEMPLATE, ENVIRONMENT, TEMPLATE]


def test_a_reply_that_spells_a_control_token_is_text_and_its_mark_is_no_token():
    tokens = Tokens(tokenizer())
    reply = {"role": "user", "content": "a<end>b"}
    found = next_turn(tokens, ASKED, ANSWER, [*tokens.encode("two"), IDS["<end>"]], [reply])
    told = [i for s in found if s.author == ENVIRONMENT for i in s.ids]
    assert told == [IDS[c] for c in "a<end>b"] and IDS["<end>"] not in told


def test_a_template_with_the_prefix_property_has_no_faults():
    assert prefix_faults(templated(CHAT), "tool") == prefix_faults(Tokens(tokenizer()), "user") == {}


@pytest.mark.parametrize(
    ("template", "cases"),
    [(FORGETFUL, ["an answer with a thought"]), (ALTERING, ["an answer", "an answer with a thought"])],
)
def test_where_a_template_lacks_the_prefix_property_it_is_said_once_with_what_differs(template, cases, caplog):
    tokens = templated(template)
    assert list(prefix_faults(tokens, "tool")) == cases
    with caplog.at_level(logging.WARNING, "scalpel"):
        say_prefix_faults(tokens, "tool")
    assert len(caplog.records) == len(cases)
    assert all("<|assistant|>" in r.getMessage() and "split" in r.getMessage() for r in caplog.records)


def test_a_thought_that_the_template_forgets_makes_the_next_prompt_anew():
    tokens, reply = templated(FORGETFUL), {"role": "tool", "content": "three"}
    said = {"role": "assistant", "content": "<think>\none\n</think>\n\ntwo"}
    ids = tokens.completion(said["content"], ASKED)
    (found,) = next_turn(tokens, ASKED, said, ids, [reply])
    assert found.anew and list(found.ids) == tokens.prompt((*ASKED, said, reply))
    assert "one\n" not in tokens.tokenizer.decode(found.ids[len(tokens.prompt(ASKED)) :])
    assert not any(s.anew for s in next_turn(tokens, ASKED, ANSWER, tokens.completion("two", ASKED), [reply]))


def test_a_role_that_the_template_refuses_is_refused_with_a_way_out():
    tokens = templated("{% if messages[-1].role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}" + CHAT)
    with pytest.raises(ValueError, match='set `role` of the environment to another one, such as "user"'):
        prefix_faults(tokens, "tool")


@pytest.mark.parametrize(("template", "sequences"), [(CHAT, 1), (FORGETFUL, 2)])
def test_an_episode_is_a_sequence_a_turn_where_the_template_forgets_thoughts_all_in_one_group(template, sequences):
    tokens, asked = templated(template), Example(ASKED)
    turns = ["<think>\none\n</think>\n\n=1+1", "2"]
    said, seen = iter(turns), []

    def sample(prompts, n, seed):
        seen.extend(list(prompt) for prompt in prompts)
        return [[completion(prompt, tokens.completion(next(said), ASKED)) for prompt in prompts]]

    ((episode,),) = play(Calculator(), tokens, sample, [asked], 1, 0, 512)
    rows = trajectory_rows(episode, asked, 7, [0.5])
    assert len(rows) == sequences and {(row.group, *row.rewards) for row in rows} == {(7, 0.5)}
    trained = [[i for i, t in zip(row.ids, row.train, strict=True) if t] for row in rows]
    assert [i for ids in trained for i in ids] == [i for text in turns for i in tokens.completion(text, ASKED)]
    # each turn stands behind what the model was shown when it was sampled
    if sequences == 2:
        assert [row.ids[: -len(ids)] for row, ids in zip(rows, trained, strict=True)] == seen
        assert "</think>" not in tokens.tokenizer.decode(seen[1])
    else:
        assert rows[0].ids[: len(seen[1])] == seen[1] and "</think>" in tokens.tokenizer.decode(seen[1])
