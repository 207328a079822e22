"""Tokens: text to ids and back, so that training and generation use the same ids.

A prompt as text is tokenised without a chat template. A prompt as messages goes through the model's chat template
(`Renderer`). A template isn't judged when the model is loaded; errors come from rows that it can't render. A
conversation is one sequence if the template has the prefix property: each generation prompt continues the ids of the
turns before it. Otherwise it is one sequence for each assistant turn, with the context that the model gets when it
generates that turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from transformers import PreTrainedTokenizerBase

from scalpel.data import channels, chat_template, reasoning
from scalpel.data.example import (
    Example,
    Message,
    Prompt,
    answered,
    located,
    named,
    place,
    with_arguments_of,
)
from scalpel.data.notes import Notes
from scalpel.data.reasoning import gist
from scalpel.data.renderer import Renderer
from scalpel.data.special_tokens import MARK, Spelt, unmarked
from scalpel.data.tokenized import (
    Policy,
    Tokenized,
    joined,
    truncate,
)
from scalpel.data.turn_ends import Ends, bare, found_end

__all__ = ["Policy", "Tokenized", "Tokens", "truncate"]

REMEMBERED = 200_000  # tokenised examples that are kept in memory
SURVEYED = 20_000  # rows that are tokenised before the first step, at most
SPLIT = (
    "{n} conversations are {m} sequences, one for each turn{first}, since the chat template renders earlier turns "
    "differently as a conversation continues; each answer is trained after the context in which it is generated"
)
NO_STOP = "the chat template writes no stop token after {n} answers{first}: %s is appended, at which the model stops"
INNER = (
    "{n} answers have the stop token %s in their middle, as the chat template writes them{first}: generation would "
    "stop there, so split the text before and after it into two messages"
)
EATEN = "{n} answers lose white space in the tokenizer{first}: its control tokens strip adjacent white space"
TWICE = "{n} texts begin with %s, which the tokenizer adds as well{first}: only one is kept"
SPELT = (
    "{n} rows spell out the control token %s{first}: it is tokenised as text; if such text is meant as control tokens, "
    'set model.control_tokens = "read", or give messages'
)
UNUSED = "{n} rows have %s, which the chat template doesn't use{first}"
EMPTY = "{n} rows have an empty answer, of which only the stop token is trained{first}"
SAME = "{n} pairs have equal chosen and rejected texts, so they have no gradient{first}"
UNSHOWN = "{n} rows have a message of role %s that the chat template doesn't render{first}"
UNLIKE = (
    "{n} answers differ from their text after encoding and decoding{first}: the tokenizer changes or lacks some of "
    "their characters"
)
UNKNOWN = "{n} prompts have characters that the tokenizer lacks{first}: they become %s"


class Tokens:
    """A tokenizer with its chat template and the tokens at which the model stops.

    With `control_tokens` "read", a control token that is spelt out in data is tokenised as that token.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, stop_ids: Iterable[int] = (), *, control_tokens: str = "text"
    ) -> None:
        self.tokenizer, self.given = tokenizer, tuple(stop_ids)
        self.core = getattr(tokenizer, "backend_tokenizer", None)
        if self.core is not None:
            self.core.no_truncation()  # the tokenizer's file may set either; lengths are handled here
            self.core.no_padding()
        added = tokenizer.added_tokens_decoder
        self._eating = {i for i, token in added.items() if token.rstrip}
        self._lossy = any(token.lstrip or token.rstrip for token in added.values())
        self.notes = Notes()
        found = lambda token: self.notes.add(SPELT % repr(token))  # noqa: E731
        self.spelt = Spelt(tokenizer, found, off=control_tokens == "read" or self.core is None)
        self.renderer = Renderer(tokenizer, self.spelt, self.notes)
        eos = tokenizer.eos_token_id
        self.ends = Ends(tokenizer, self.renderer, self._encode)
        known = [*([] if eos is None else [eos]), *self.given]
        self.stop_ids = frozenset([*known, *self.ends.of_turns(known)])
        if not self.stop_ids:
            raise ValueError(
                "this tokenizer has no end-of-sequence token, so generation would never stop: set eos_token "
                "in its tokenizer_config.json, or eos_token_id in the model's generation_config.json"
            )
        self.end_id = min(self.stop_ids) if eos is None else eos
        marks = {i: str(tokenizer.convert_ids_to_tokens(i)) for i in self.ends.control}
        self._message = next((i for i, mark in marks.items() if mark == channels.MESSAGE), None)
        self._thinking = {i for i, mark in marks.items() if reasoning.is_mark(mark)} - self.stop_ids
        self.stop_texts = [self._decode([i]) for i in sorted(self.stop_ids)]
        self._rendered: dict[int, tuple[Example, list[Tokenized]]] = {}

    def templated(
        self, path: str | None = None, options: Mapping[str, Any] | None = None, control_tokens: str = "text"
    ) -> Tokens:
        """The same tokenizer with a chat template from a file and keyword arguments for every rendering. Both are saved
        with the tokenizer."""
        if path is None and not options and control_tokens == "text":
            return self
        if path is not None:
            self.tokenizer.chat_template = chat_template.read(path)
        if options:
            self.tokenizer.init_kwargs["chat_template_kwargs"] = dict(options)
        made = Tokens(self.tokenizer, self.given, control_tokens=control_tokens)
        if strange := made.renderer.strange_options():
            raise ValueError(
                f"model.chat_template_kwargs sets {', '.join(strange)}, which the chat template never reads: see its "
                "source for the arguments that it has"
            )
        return made

    @property
    def chat(self) -> bool:
        """Whether there is a chat template."""
        return self.renderer.there

    @property
    def pad_id(self) -> int:
        """The padding token, or the end token if there is none (padding is neither trained nor attended to)."""
        return first(self.tokenizer.pad_token_id, self.end_id)

    @property
    def mask_id(self) -> int | None:
        """The mask token, or None if there is none. No other special token may stand for it: what pads or is unknown is
        often the stop token (SmolLM2's `<|im_end|>`), and an answer full of it says that it has ended."""
        found = self.tokenizer.mask_token_id
        return None if found in self.stop_ids else found

    def prompt(self, prompt: Prompt) -> list[int]:
        """The ids of a prompt, with the generation prompt of the chat template.

        An empty text gives the token with which a document starts: the beginning-of-sequence token, else the end token.
        """
        return self._asked(prompt)[1]

    def completion(self, text: str, prompt: Prompt) -> list[int]:
        """The ids that the model should generate after that prompt, up to and with the stop token."""
        return self._answered(text, prompt, *self._asked(prompt))

    def demonstration(self, example: Example) -> Tokenized:
        """Prompt and completion, or the whole conversation of `messages`, as one sequence; ValueError where it takes
        several."""
        rows = self.demonstrations(example)
        if len(rows) > 1:
            raise ValueError(
                f"{place(example) or 'this conversation'} is {len(rows)} sequences, one for each turn: the chat "
                "template renders earlier turns differently as a conversation continues.\n"
                f"  the first: {self.marked(rows[0])!r}\n  the second: {self.marked(rows[1])!r}\n"
                "Train on single turns where one sequence is needed."
            )
        return rows[0]

    def demonstrations(self, example: Example) -> list[Tokenized]:
        """The sequences of an example in which every assistant turn is trained, except those of weight 0.

        An example is tokenised once: later epochs find it in a memo.
        """
        # The memo is keyed by identity, since hashing an example costs more than tokenising a short one. It holds the
        # example itself, too, so that a freed example can't pass its id on to another one.
        known = self._rendered.get(id(example))
        if known is None:
            if len(self._rendered) >= REMEMBERED:
                self._rendered.clear()
            with self.notes.at(where := place(example)), located(where):
                known = self._rendered[id(example)] = (example, self._demonstrations(example))
        return known[1]

    def _demonstrations(self, example: Example) -> list[Tokenized]:
        if example.messages is not None:
            self._note_unused(example.messages)
            return self.conversations(example.messages)
        if example.completion is None:
            raise ValueError(
                "neither completion nor messages, so there is no demonstration: add a column 'completion', or take a "
                "source that samples from the policy"
            )
        if not isinstance(example.prompt, str):
            self._note_unused(example.prompt)
        return [self._joined(example.prompt, example.completion)]

    def pair(self, example: Example) -> tuple[Tokenized, Tokenized]:
        """The chosen and the rejected answer to one prompt."""
        if example.chosen is None or example.rejected is None:
            raise ValueError(f"{named(example)} is no preference pair: it needs the columns 'chosen' and 'rejected'")
        with self.notes.at(where := place(example)), located(where):
            if example.chosen == example.rejected:
                self.notes.add(SAME)
            return self._joined(example.prompt, example.chosen), self._joined(example.prompt, example.rejected)

    def last(self, example: Example) -> tuple[list[int], list[int]]:
        """The ids of the prompt and of the reference answer: its completion or answer, or a conversation's last
        turn."""
        asked, text = answered(example)
        with self.notes.at(where := place(example)), located(where):
            if example.messages is None:
                return self.prompt(asked), self.completion(text, asked)
            turn = example.messages[len(asked)]
            return self.prompt(asked), self._answered(turn, asked, *self._asked(asked))

    def conversation(self, messages: Sequence[Message]) -> Tokenized:
        """A conversation as one sequence; ValueError where it takes several."""
        return self.demonstration(Example(messages=with_arguments_of(messages, messages)))

    def conversations(self, messages: Sequence[Message]) -> list[Tokenized]:
        """Sequences in which every assistant turn is trained with its stop token, except those of weight 0; all other
        tokens are context. The last sequence ends with the last trained answer."""
        turns = [i for i, m in enumerate(messages) if m.get("role") == "assistant" and m.get("weight", 1)]
        if not turns:
            spoken = any(m.get("role") == "assistant" for m in messages)
            why = "in which no assistant turn is trained (weight 0)" if spoken else "without an assistant turn"
            raise ValueError(f"a conversation {why} has nothing to train: add the answer, or leave the row out")
        found: list[list[tuple[list[int], bool]]] = []
        done: list[int] = []  # the ids of the last sequence so far; the next turn joins it only if it continues these
        for i in turns:
            before = with_arguments_of(messages, messages[:i])
            text, ids = self._asked(before)
            if not messages[i].get("content") and not any(
                messages[i].get(key) for key in ("tool_calls", *reasoning.FIELDS)
            ):
                self.notes.add(EMPTY)
            answer = self._answered(messages[i], before, text, ids)
            if not found or ids[: len(done)] != done:
                found.append([])
                done = []
            found[-1] += [(ids[len(done) :], False), (answer, True)]
            done = [*ids, *answer]
        if len(found) > 1:
            self.notes.add(SPLIT, len(found))
        return [joined(pieces) for pieces in found]

    def survey(self, examples: Sequence[Example], trained: bool = True) -> None:
        """Tokenises rows before the first step, so that remarks are logged with the number of rows, and a row that
        can't be rendered raises: all rows, or `SURVEYED` of them, evenly spaced. `trained`: whether the answers are
        trained, rather than the prompts being sampled from only."""
        few = (
            [examples[i * len(examples) // SURVEYED] for i in range(SURVEYED)] if len(examples) > SURVEYED else examples
        )
        with self.notes.survey():
            for example in few:
                if trained and example.chosen is not None:
                    self.pair(example)
                elif trained and (example.messages is not None or example.completion is not None):
                    self.demonstrations(example)
                elif example.prompt:
                    with self.notes.at(where := place(example)), located(where):
                        if not isinstance(example.prompt, str):
                            self._note_unused(example.prompt)
                        self._asked(example.prompt)

    def text(self, ids: Sequence[int]) -> str:
        """The text of a completion up to its stop token, without control tokens other than reasoning delimiters."""
        end = next((i for i, x in enumerate(ids) if x in self.stop_ids), len(ids))
        ids = ids[:end]
        if self._message is not None and self._message in ids:
            return channels.read(ids, self._message, self.ends.control, self._plain)
        if self._thinking.isdisjoint(ids):
            return self._plain(ids)
        silent = {*self.ends.control, self.tokenizer.bos_token_id} - self._thinking
        return self._decode([i for i in ids if i not in silent])

    def _plain(self, ids: Sequence[int]) -> str:
        return self._decode(ids, skip_special_tokens=True)

    def marked(self, rendered: Tokenized) -> str:
        """The whole text with the trained parts marked: ⟦…⟧."""
        pieces = []
        flags = [False, *rendered.train[1:]]  # a first token is never trained
        for trained, run in groupby(zip(rendered.ids, flags, strict=True), key=lambda x: x[1]):
            text = self._decode([i for i, _ in run])
            pieces.append(f"⟦{text}⟧" if trained else text)
        return "".join(pieces)

    def render(self, messages: Sequence[Message], generate: bool = False) -> str:
        """The chat template's text; with `generate`, followed by the generation prompt."""
        return self.renderer.text(messages, generate)

    def encode(self, text: str) -> list[int]:
        """The ids of a text that the template has rendered, control tokens included."""
        return self._encode(text)

    def _note_unused(self, messages: Sequence[Message]) -> None:
        """Notes the keys and roles of these messages that the chat template doesn't use."""
        for key in self.renderer.unused(messages):
            self.notes.add(UNUSED % key)
        last = max((i for i, m in enumerate(messages) if m.get("role") == "assistant"), default=len(messages))
        if last == len(messages) or last > 0:
            before = with_arguments_of(messages, messages[:last])
            if before[-1].get("role") != "assistant":
                for role in self.renderer.unshown(before, self.render(before, generate=True)):
                    self.notes.add(UNSHOWN % repr(role))

    def _joined(self, prompt: Prompt, completion: str) -> Tokenized:
        if not completion:
            self.notes.add(EMPTY)
        text, ids = self._asked(prompt)
        return joined([(ids, False), (self._answered(completion, prompt, text, ids), True)])

    def _asked(self, prompt: Prompt) -> tuple[str, list[int]]:
        """The prompt as text and as ids."""
        if not isinstance(prompt, str):
            text = self.render(prompt, generate=True)
            return text, self._known(self._encode(text))
        text = self.spelt.text(prompt, thoughts=True)
        ids = list(self.tokenizer(text, return_attention_mask=False)["input_ids"]) if text == prompt else []
        ids = ids if text == prompt else self._encode(text, ends=True)
        ended = text.endswith(tuple(self.stop_texts))
        if ids and ids[-1] in self.stop_ids and not ended:
            ids.pop()  # some tokenizers append the end token to every text, but a prompt is continued
        ids = [*ids[:1], *self._once(ids[:1], ids[1:])]
        return text, self._known(ids) or [first(self.tokenizer.bos_token_id, self.end_id)]

    def _once(self, before: list[int], ids: list[int]) -> list[int]:
        """The ids without a second beginning-of-sequence token: text that was rendered already has one, and the
        tokenizer adds one too."""
        if before and before[0] == self.tokenizer.bos_token_id and ids[:1] == before:
            self.notes.add(TWICE % repr(self.tokenizer.bos_token))
            return ids[1:]
        return ids

    def _known(self, ids: list[int]) -> list[int]:
        """The ids of a prompt. During a survey, unknown tokens among them are noted."""
        t = self.tokenizer
        unknown = {t.unk_token_id} - {None, t.bos_token_id, t.pad_token_id, *self.stop_ids}
        if self.notes.surveying and not unknown.isdisjoint(ids):
            self.notes.add(UNKNOWN % repr(t.unk_token))
        return ids

    def _answered(self, answer: str | Message, prompt: Prompt, asked: str, ids: list[int]) -> list[int]:
        """The ids of an answer, given the prompt's text and ids."""
        if isinstance(prompt, str):
            assert isinstance(answer, str), "a message answers messages"
            text = self.spelt.text(answer, thoughts=True)
            found = self._compared(text, self._continued(asked, self._encode(asked), text))
            found = self._once(ids[-1:], found)
            return found if found and found[-1] in self.stop_ids else [*found, self.end_id]
        turn = {"role": "assistant", "content": answer} if isinstance(answer, str) else answer
        said = self.renderer.said(asked, prompt, turn)
        if (end := found_end(said, turn, self.stop_texts)) is not None:
            found = self._compared(said[:end], self._continued(asked, ids, said[:end]))
            if inner := next((i for i in found[:-1] if i in self.stop_ids), None):
                self.notes.add(INNER % repr(self._decode([inner])))
            return found
        stop = first(self.ends.next_opening(self.stop_ids, bool(turn.get("tool_calls"))), self.end_id)
        self.notes.add(NO_STOP % repr(self._decode([stop])))
        text = bare(said, str(turn.get("content") or ""))
        return [*self._compared(text, self._continued(asked, ids, text)), stop]

    def _continued(self, before: str, own: list[int], text: str) -> list[int]:
        """The ids of `text` after a prompt whose ids are `own` and fixed, as they are when the model generates.

        They are the rest of the ids of prompt and text together, if those begin with the prompt's ids (so a tokenizer
        that treats the start of a text specially doesn't do so in the middle), else the ids of the text alone.
        """
        both = self._encode(before + text)
        eaten = bool(own) and own[-1] in self._eating and text[:1].isspace()  # the token before it strips white space
        return both[len(own) :] if both[: len(own)] == own and not eaten else self._encode(text)

    def _compared(self, text: str, ids: list[int]) -> list[int]:
        """The ids of an answer's text. During a survey, it is noted if decoding them doesn't restore the text."""
        if self.notes.surveying:
            back = self._decode(ids)
            if gist(back) != gist(text):
                self.notes.add(UNLIKE)
            elif len(back) < len(text) and self._lossy and len(back.strip()) < len(text.replace(MARK, "").strip()):
                self.notes.add(EATEN)
        return ids

    def _encode(self, text: str, ends: bool = False) -> list[int]:
        """The ids; with `ends`, including those that the tokenizer adds at both ends of a text."""
        if self.core is None:
            return list(self.tokenizer(text, add_special_tokens=ends, return_attention_mask=False)["input_ids"])
        found = self.core.encode(text, add_special_tokens=ends)  # the same ids as from the wrapper, faster
        return unmarked(text, found.ids, found.offsets) if MARK in text else list(found.ids)

    def _decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        return str(
            self.tokenizer.decode(
                list(ids), skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False
            )
        )


def first(*ids: int | None) -> int:
    """The first id that is not None."""
    return next(i for i in ids if i is not None)
