"""Ends: where an assistant's turn ends, found in what the chat template writes behind an answer.

The tokenizer's own end and those of the model's generation config end a turn. Where the template closes its turns with
none of them, what does is read from it: the last control token that it writes behind an answer, or a tool call, both at
the end of a conversation and where it goes on; where the two have none in common, the first behind an answer at the
end, and the last behind a call. Some templates write none, and open the next turn with a token at which the model
stops; and some write nothing at all: then the end token stands there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from os.path import commonprefix

from transformers import PreTrainedTokenizerBase

from scalpel.data.example import Message
from scalpel.data.reasoning import gist
from scalpel.data.renderer import Renderer

CALL = {"type": "function", "function": {"name": "look_up", "arguments": {"word": "two"}}}
TALK: tuple[Message, ...] = (
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": "two"},
    {"role": "user", "content": "three"},
)
CALLING: tuple[Message, ...] = (
    TALK[0],
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "name": "look_up", "content": "three"},
)


class Ends:
    """What ends a turn, by a short conversation that is rendered. A template that refuses it gives none."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, renderer: Renderer, encode: Callable[[str], list[int]]
    ) -> None:
        self.renderer, self.encode = renderer, encode
        self.added = tokenizer.added_tokens_decoder
        self.control = {*(i for i, token in self.added.items() if token.special), *tokenizer.all_special_ids}
        self.control -= {tokenizer.bos_token_id} - {tokenizer.eos_token_id}  # which may begin the next turn
        self.openings: dict[bool, list[int]] = {}

    def of_turns(self, known: Collection[int]) -> list[int]:
        """The tokens with which the template closes a turn, beside those that are known."""
        return [*self.closing(TALK, "two", known), *self.closing(CALLING, "look_up", known)]

    def closing(self, talk: Sequence[Message], words: str, known: Collection[int]) -> list[int]:
        """What closes the second turn of a talk; nothing where what is known does."""
        last, onward = self.written(talk[:2], words), self.written(talk, words, first=talk is CALLING)
        ids = self.encode(last.strip())
        common = self.encode(commonprefix([last, onward]).strip())
        both = [i for i in common if i in self.control]
        if any(i in known for i in both or ids):
            return []
        if both:  # a generation prompt that is always written has the next turn's opening behind it
            return both[:1] if self.renderer.silent else both[-1:]
        if talk is CALLING:
            return [i for i in ids[-1:] if i in self.control]
        return [i for i in ids if i in self.control][:1] or [i for i in ids[:1] if i in self.added]

    def next_opening(self, stops: Collection[int], call: bool) -> int | None:
        """The stop with which the template opens the turn that follows an answer or a call, if it is one."""
        if call not in self.openings:
            self.openings[call] = self.behind(CALLING, "look_up") if call else self.behind(TALK, "two")[:1]
        return next((i for i in self.openings[call] if i in stops), None)

    def behind(self, messages: Sequence[Message], words: str) -> list[int]:
        """What the template writes behind words of a conversation, white space left out; nothing where it can't."""
        return self.encode(self.written(messages, words).strip())

    def written(self, messages: Sequence[Message], words: str, first: bool = False) -> str:
        """What the template writes behind the last place of the words, or the first."""
        try:
            text = self.renderer.text(messages)
        except ValueError:
            return ""
        return (text.partition(words) if first else text.rpartition(words))[2]


def found_end(said: str, turn: Message, stops: Sequence[str]) -> int | None:
    """Where a turn ends: behind the first stop that has all before it that is said; None where there is no stop."""
    ends = sorted(i + len(stop) for stop in stops for i in places(said, stop))
    names = [str(call.get("function", call).get("name")) for call in turn.get("tool_calls") or ()]
    needed = [gist(text) for text in (str(turn.get("content") or ""), *names)]
    needed = [text for text in needed if text in gist(said)]
    whole = (end for end in ends if all(text in gist(said[:end]) for text in needed))
    return next(whole, ends[-1] if ends else None)


def bare(said: str, content: str) -> str:
    """What is said without the white space that the template has behind it."""
    end = said.rfind(content) + len(content) if content and content in said else 0
    return said[:end] + said[end:].rstrip()


def places(text: str, part: str) -> Iterator[int]:
    """Where a part begins in a text."""
    at = text.find(part) if part else -1
    while at >= 0:
        yield at
        at = text.find(part, at + 1)
