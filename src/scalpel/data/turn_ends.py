"""Ends: the stop tokens of assistant turns, found in the text that the chat template writes after an answer.

The tokenizer's end token and those of the model's generation config end a turn. If the template closes its turns with
none of them, the stop token is read from the template: the last control token that it writes after an answer, or after
a tool call, both at the end of a conversation and where the conversation continues; if the two have none in common, the
first one after an answer at the end, and the last one after a call. Some templates write no stop token, and open the
next turn with a token at which the model stops; others write nothing at all: then the end token is appended.
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
    """Finds the stop tokens of turns by rendering a short conversation. A template that raises on it gives none."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, renderer: Renderer, encode: Callable[[str], list[int]]
    ) -> None:
        self.renderer, self.encode = renderer, encode
        self.added = tokenizer.added_tokens_decoder
        self.control = {*(i for i, token in self.added.items() if token.special), *tokenizer.all_special_ids}
        self.control -= {tokenizer.bos_token_id} - {
            tokenizer.eos_token_id
        }  # the beginning token may start the next turn
        self.openings: dict[bool, list[int]] = {}

    def of_turns(self, known: Collection[int]) -> list[int]:
        """The tokens with which the template closes a turn, other than those that are known."""
        return [*self.closing(TALK, "two", known), *self.closing(CALLING, "look_up", known)]

    def closing(self, talk: Sequence[Message], words: str, known: Collection[int]) -> list[int]:
        """The tokens that close the second turn of a conversation; none if a known one does."""
        last, onward = self.written(talk[:2], words), self.written(talk, words, first=talk is CALLING)
        ids = self.encode(last.strip())
        common = self.encode(commonprefix([last, onward]).strip())
        both = [i for i in common if i in self.control]
        if any(i in known for i in both or ids):
            return []
        if both:  # if the generation prompt is always written, the last one opens the next turn
            return both[:1] if self.renderer.silent else both[-1:]
        if talk is CALLING:
            return [i for i in ids[-1:] if i in self.control]
        return [i for i in ids if i in self.control][:1] or [i for i in ids[:1] if i in self.added]

    def next_opening(self, stops: Collection[int], call: bool) -> int | None:
        """The token with which the template opens the turn after an answer or a call, if the model stops at it."""
        if call not in self.openings:
            self.openings[call] = self.ids_after(CALLING, "look_up") if call else self.ids_after(TALK, "two")[:1]
        return next((i for i in self.openings[call] if i in stops), None)

    def ids_after(self, messages: Sequence[Message], words: str) -> list[int]:
        """The ids that the template writes after `words` of a conversation, without white space; none if it raises."""
        return self.encode(self.written(messages, words).strip())

    def written(self, messages: Sequence[Message], words: str, first: bool = False) -> str:
        """The text that the template writes after the last occurrence of the words, or the first."""
        try:
            text = self.renderer.text(messages)
        except ValueError:
            return ""
        return (text.partition(words) if first else text.rpartition(words))[2]


def found_end(said: str, turn: Message, stops: Sequence[str]) -> int | None:
    """The position after the first stop text that follows the whole content of the turn; None if there is no stop. A
    content may quote a stop text itself, so the first occurrence alone would be wrong."""
    ends = sorted(i + len(stop) for stop in stops for i in places(said, stop))
    names = [str(call.get("function", call).get("name")) for call in turn.get("tool_calls") or ()]
    needed = [gist(text) for text in (str(turn.get("content") or ""), *names)]
    needed = [text for text in needed if text in gist(said)]
    whole = (end for end in ends if all(text in gist(said[:end]) for text in needed))
    return next(whole, ends[-1] if ends else None)


def bare(said: str, content: str) -> str:
    """The text without the white space that the template writes after the content."""
    end = said.rfind(content) + len(content) if content and content in said else 0
    return said[:end] + said[end:].rstrip()


def places(text: str, part: str) -> Iterator[int]:
    """The positions of a part in a text, overlapping ones included."""
    at = text.find(part) if part else -1
    while at >= 0:
        yield at
        at = text.find(part, at + 1)
