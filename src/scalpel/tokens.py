"""Tokens: text to ids and back, so that training and generation see the same ids.

A prompt as text is encoded as it stands. A prompt as messages goes through the model's chat template. Which
tokens of a conversation are trained is found without help from the template: for each assistant turn, the
conversation is rendered once up to the point where the model is asked to speak, and once with its answer. The
first text must be a prefix of the second; the rest, up to and with the stop token, is what the model has to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from jinja2.exceptions import TemplateError
from rich.markup import escape
from transformers import PreTrainedTokenizerBase

from scalpel.example import Example, Message, Prompt, named
from scalpel.rendered import Fitted, Policy, Rendered, fit, truncate

__all__ = ["Fitted", "Policy", "Rendered", "Tokens", "fit", "truncate"]

PROBE: tuple[Message, ...] = (
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": "two"},
    {"role": "user", "content": "three"},
    {"role": "assistant", "content": "four"},
)
REMEMBERED = 200_000  # rendered demonstrations


class Tokens:
    """A tokenizer with its chat template and the tokens at which the model stops."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stop_ids: Iterable[int] = ()) -> None:
        self.tokenizer = tokenizer
        if (core := getattr(tokenizer, "backend_tokenizer", None)) is not None:
            core.no_truncation()  # its file may ask for either; lengths are our affair
            core.no_padding()
        eos = tokenizer.eos_token_id
        self.stop_ids = frozenset([*([] if eos is None else [eos]), *stop_ids, *self._turn_end()])
        if not self.stop_ids:
            raise ValueError(
                "this tokenizer has no end-of-sequence token, so nothing would ever stop the model: set eos_token "
                "in its tokenizer_config.json, or eos_token_id in the model's generation_config.json"
            )
        self.end_id = min(self.stop_ids) if eos is None else eos
        self._stop_texts = [self._decode([i]) for i in sorted(self.stop_ids)]
        self._rendered: dict[int, tuple[Example, Rendered]] = {}

    @property
    def pad_id(self) -> int:
        """The padding token; where there is none, the end token (padding is never trained nor attended to)."""
        return first(self.tokenizer.pad_token_id, self.end_id)

    @property
    def mask_id(self) -> int:
        """What a hidden token is shown as: the mask token, else pad, else unknown, else the end token."""
        t = self.tokenizer
        return first(t.mask_token_id, t.pad_token_id, t.unk_token_id, self.end_id)

    def prompt(self, prompt: Prompt) -> list[int]:
        """The ids after which the model is asked to speak.

        An empty text gives the one token from which a document starts: the beginning token, else the end token.
        """
        return self._asked(prompt)[1]

    def completion(self, text: str, prompt: Prompt) -> list[int]:
        """The ids that the model should produce after that prompt, up to and with the stop token."""
        return self._answered(text, prompt, *self._asked(prompt))

    def demonstration(self, example: Example) -> Rendered:
        """Prompt and completion, or the whole conversation of `messages` with every assistant turn trained.

        An example is rendered once: later epochs find it in a memo, which holds it so that its identity is safe.
        """
        known = self._rendered.get(id(example))
        if known is None:
            if len(self._rendered) >= REMEMBERED:
                self._rendered.clear()
            known = self._rendered[id(example)] = (example, self._demonstration(example))
        return known[1]

    def _demonstration(self, example: Example) -> Rendered:
        if example.messages is not None:
            return self.conversation(example.messages)
        if example.completion is None:
            raise ValueError(
                f"{named(example)} has neither completion nor messages, so there is nothing to imitate: add "
                "a column 'completion', or take a source that samples its own answers"
            )
        return self._joined(example.prompt, example.completion)

    def pair(self, example: Example) -> tuple[Rendered, Rendered]:
        """The chosen and the rejected answer to one prompt."""
        if example.chosen is None or example.rejected is None:
            raise ValueError(f"{named(example)} is no preference pair: it needs the columns 'chosen' and 'rejected'")
        return self._joined(example.prompt, example.chosen), self._joined(example.prompt, example.rejected)

    def conversation(self, messages: Sequence[Message]) -> Rendered:
        """Every assistant turn trained with its stop token; all else is context. Ends at the last answer."""
        turns = [i for i, m in enumerate(messages) if m.get("role") == "assistant"]
        if not turns:
            raise ValueError("a conversation without an assistant turn has nothing to train: add the answer")
        pieces: list[tuple[list[int], bool]] = []
        done = ""  # the rendered text that the pieces cover
        for i in turns:
            asked = self.render(messages[:i], generate=True)
            if not asked.startswith(done):
                raise ValueError(unlike(f"an answer that message {i} looks back on", done, asked))
            spoken = self._spoken(asked, messages[:i], messages[i]["content"])
            before, answer = self._encode(asked[len(done) :]), self._continued(asked, self._encode(asked), spoken)
            pieces += [(before, False), (answer, True)]
            done = asked + spoken
        return laid(pieces)

    def text(self, ids: Sequence[int]) -> str:
        """What a completion says: up to its stop token, special tokens dropped."""
        end = next((i for i, x in enumerate(ids) if x in self.stop_ids), len(ids))
        return self._decode(ids[:end], skip_special_tokens=True)

    def marked(self, rendered: Rendered, markup: bool = False) -> str:
        """The whole text with the trained stretches marked: ⟦…⟧, or rich markup for a terminal."""
        pieces = []
        flags = [False, *rendered.train[1:]]  # a first token is never trained
        for trained, run in groupby(zip(rendered.ids, flags, strict=True), key=lambda x: x[1]):
            text = self._decode([i for i, _ in run])
            if markup:
                style = "bold green" if trained else "dim"
                pieces.append(f"[{style}]{escape(text)}[/{style}]")
            else:
                pieces.append(f"⟦{text}⟧" if trained else text)
        return "".join(pieces)

    def check(self) -> str:
        """Renders a short conversation and raises if its answers don't come back; gives the marked text."""
        chat = self.tokenizer.chat_template is not None
        rendered = self.conversation(PROBE) if chat else self._joined("one", " two")
        prompt = self.prompt(PROBE[:1]) if chat else self.prompt("one")
        said = ["two", "four"] if chat else ["two"]
        tokens = list(zip(rendered.ids, rendered.train, rendered.turn, strict=True))
        heard = [self.text([i for i, t, k in tokens if t and k == n]).strip() for n in range(len(said))]
        if rendered.ids[: len(prompt)] != prompt or heard != said:
            raise ValueError(
                f"a probe conversation does not survive tokenization: the answers {said} come back as {heard} from "
                f"{self.marked(rendered)!r}; check the tokenizer's files and its chat template"
            )
        return self.marked(rendered)

    def render(self, messages: Sequence[Message], generate: bool = False) -> str:
        """The chat template's text; with `generate`, up to where the assistant is asked to speak."""
        check_messages(messages, generate)
        if self.tokenizer.chat_template is None:
            raise ValueError(
                "these prompts are chat messages, but the model's tokenizer has no chat template: take the "
                "instruction-tuned version of the model, or give the prompts as plain text (for a task: chat = false)"
            )
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    [dict(m) for m in messages], tokenize=False, add_generation_prompt=generate
                )
            )
        except TemplateError as error:
            roles = ", ".join(m["role"] for m in messages)
            raise ValueError(f"the chat template refuses a conversation of roles {roles}: {error}") from error

    def _joined(self, prompt: Prompt, completion: str) -> Rendered:
        text, ids = self._asked(prompt)
        return laid([(ids, False), (self._answered(completion, prompt, text, ids), True)])

    def _asked(self, prompt: Prompt) -> tuple[str, list[int]]:
        """The prompt as text and as ids."""
        if not isinstance(prompt, str):
            text = self.render(prompt, generate=True)
            return text, self._encode(text)
        ids = list(self.tokenizer(prompt, return_attention_mask=False)["input_ids"])
        if ids and ids[-1] in self.stop_ids and not prompt.endswith(tuple(self._stop_texts)):
            ids.pop()  # some tokenizers close every text, but a prompt is to be continued
        return prompt, ids or [first(self.tokenizer.bos_token_id, self.end_id)]

    def _answered(self, completion: str, prompt: Prompt, asked: str, ids: list[int]) -> list[int]:
        """The ids of a completion, given the prompt's text and ids."""
        if isinstance(prompt, str):
            return [*self._continued(asked, self._encode(asked), completion), self.end_id]
        return self._continued(asked, ids, self._spoken(asked, prompt, completion))

    def _spoken(self, asked: str, before: Sequence[Message], answer: str) -> str:
        """What the template renders after the generation prompt for that answer, up to and with its stop token."""
        answered = self.render([*before, {"role": "assistant", "content": answer}])
        if not answered.startswith(asked):
            raise ValueError(unlike("the prompt of an assistant turn", asked, answered))
        spoken = answered[len(asked) :]
        end = max(spoken.rfind(stop) + len(stop) if stop in spoken else 0 for stop in self._stop_texts)
        if not end:
            raise ValueError(
                f"the chat template does not end an assistant turn with a stop token: it renders {spoken!r} and "
                f"the model stops at {self._stop_texts}; set eos_token or the template so that they agree"
            )
        return spoken[:end]

    def _continued(self, before: str, own: list[int], text: str) -> list[int]:
        """The ids of `text` behind a prompt whose ids are `own` and fixed, as they are when the model generates.

        They are the rest of the joined text's ids where those begin with the prompt's (so a tokenizer that treats
        the start of a text in its own way doesn't do so in the middle), else the text's ids alone.
        """
        joined = self._encode(before + text)
        return joined[len(own) :] if joined[: len(own)] == own else self._encode(text)

    def _turn_end(self) -> list[int]:
        """The special token with which the chat template closes an assistant's turn, if there is one."""
        if self.tokenizer.chat_template is None:
            return []
        closing = self.render(PROBE[:2]).rpartition("two")[2]
        special = {*self.tokenizer.added_tokens_decoder, *self.tokenizer.all_special_ids}
        return [i for i in self._encode(closing) if i in special][:1]

    def _encode(self, text: str) -> list[int]:
        core = getattr(self.tokenizer, "backend_tokenizer", None)
        if core is None:
            return list(self.tokenizer(text, add_special_tokens=False, return_attention_mask=False)["input_ids"])
        return list(core.encode(text, add_special_tokens=False).ids)  # the same ids, without the wrapper's cost

    def _decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        return str(
            self.tokenizer.decode(
                list(ids), skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False
            )
        )


def laid(pieces: Sequence[tuple[list[int], bool]]) -> Rendered:
    """Untrained and trained stretches end to end; a turn ends with a trained one."""
    ids: list[int] = []
    train: list[bool] = []
    turn: list[int] = []
    k = 0
    for new, trained in pieces:
        ids += new
        train += [trained] * len(new)
        turn += [k] * len(new)
        k += trained
    return Rendered(ids, train, turn)


def first(*ids: int | None) -> int:
    """The first that is not None."""
    return next(i for i in ids if i is not None)


def unlike(what: str, generation: str, training: str) -> str:
    """The words for a template that renders training and generation differently, with both texts."""
    return (
        f"the chat template renders {what} differently when training and when generating, so the model would be "
        f"trained on a prompt that it never meets.\n  generating: {generation!r}\n  training:   {training!r}\n"
        "Train on single turns (prompt and completion), or correct the template."
    )


def check_messages(messages: Sequence[Message], generate: bool) -> None:
    """Raises ValueError unless these are messages with role and content that ask for what is wanted."""
    for i, m in enumerate(messages):
        if not (isinstance(m, dict) or hasattr(m, "keys")) or not {"role", "content"} <= set(m.keys()):
            raise ValueError(f"message {i} is {m!r}: a message is a table with 'role' and 'content'")
        if not isinstance(m["content"], str):
            raise ValueError(f"message {i} has content of type {type(m['content']).__name__}: it must be text")
    if not messages or messages[0]["role"] == "assistant":
        raise ValueError("a conversation must begin with a user or system message, before the assistant's first")
    if generate and messages[-1]["role"] == "assistant":
        raise ValueError("the prompt ends with an assistant message: put that text into 'completion'")
