"""Renderer: messages to text by the chat template, and what an assistant says as the template puts it.

What is trained of an answer is found without help from the template: the conversation is rendered up to the point where
the model is asked to speak, and once with its answer. The first text is a prefix of the second; the rest, up to and
with the stop, is what the model has to say. Where a generation prompt opens a thought, or the template leaves a thought
out, it is put behind the prompt as the model would write it. What can't be found so is refused with both texts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

from jinja2 import meta
from transformers import PreTrainedTokenizerBase

from scalpel import template, thoughts
from scalpel.example import Message, Turns, beside, like
from scalpel.notes import Notes
from scalpel.spelt import MARK, Spelt
from scalpel.thoughts import gist

NO_TEMPLATE = (
    "these prompts are chat messages, but the model's tokenizer has no chat template: take the instruction-tuned "
    "version of the model, give the prompts as plain text (for a task: chat = false), or name a template of your own, "
    'model.chat_template = "path/to/file.jinja"'
)
HIDDEN = ("role", "content", "weight")  # keys of a message that are no affair of the template's
TRIMMED = "{n} answers lose white space to the chat template, or have it changed{first}: what it renders is trained"
LEFT_OUT = (
    "{n} answers have thoughts that the chat template leaves out of what it renders for training{first}: they are "
    "trained behind the generation prompt as the model would write them"
)
NO_THOUGHT = (
    "{n} answers have no thought, but the generation prompt opens one{first}: it is closed at once in what is trained; "
    "give the thoughts, or switch them off with model.chat_template_kwargs where the template can"
)
ALTERED = "{n} answers are changed by the chat template{first}: what it renders is what is trained"
BESIDE_CALLS = "{n} turns have text beside a tool call that the chat template doesn't show{first}: it isn't trained"


class Renderer:
    """The chat template of a tokenizer, with the arguments that it is always given."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, spelt: Spelt, notes: Notes) -> None:
        self.tokenizer, self.spelt, self.notes = tokenizer, spelt, notes
        self.options: dict[str, Any] = dict(tokenizer.init_kwargs.get("chat_template_kwargs") or {})
        self.as_text = False  # whether arguments of calls go in as JSON text, since this template wants them so
        # a tokenizer with a way of its own is left to it
        self.own = type(tokenizer).apply_chat_template is not PreTrainedTokenizerBase.apply_chat_template

    @cached_property
    def there(self) -> bool:
        """Whether there is a template that has any effect."""
        if self.own:
            return True
        if not self.tokenizer.chat_template:
            return False
        try:
            return bool(self.raw([{"role": "user", "content": "one"}], True).strip())
        except ValueError:
            return True  # what is wrong with it is said where it is needed

    def source(self, tools: bool = False) -> str:
        return self.tokenizer.get_chat_template(tools=[{}] if tools else None)

    def strange_options(self) -> list[str]:
        """Arguments of the recipe that the template never asks for."""
        if not self.options or self.own or not self.there:
            return []
        asked = meta.find_undeclared_variables(template.environment().parse(self.source()))
        return sorted(self.options.keys() - asked)

    def text(self, messages: Sequence[Message], generate: bool = False) -> str:
        """The template's text; with `generate`, up to where the assistant is asked to speak. Control tokens that data
        spells have a mark inside."""
        check_messages(messages, generate)
        if not self.there:
            raise ValueError(NO_TEMPLATE)
        tools, options = beside(messages)
        shown = [self.spelt.message(ready(m)) for m in messages]
        broken = [self.spelt.value(tool) for tool in tools]
        tables = [m for m in shown if tabled(m)]
        if not tables:
            return self.raw(shown, generate, broken, options)
        try:
            text = self.raw(shown, generate, broken, options) if not self.as_text else None
        except ValueError as error:  # perhaps since it joins arguments with text
            try:
                text = self.raw([as_json(m) for m in shown], generate, broken, options)
            except ValueError:
                raise error from None
            self.as_text = True
            return text
        if text is None or any(written_as_python(m, text) for m in tables):
            self.as_text = True
            text = self.raw([as_json(m) for m in shown], generate, broken, options)
        return text

    def raw(
        self,
        messages: Sequence[Mapping[str, Any]],
        generate: bool,
        tools: Sequence[Mapping[str, Any]] = (),
        options: Mapping[str, Any] | None = None,
    ) -> str:
        given: dict[str, Any] = {**self.options, **(options or {})}
        if self.own:
            given |= {"tools": list(tools) or None, "tokenize": False, "add_generation_prompt": generate}
            return str(self.tokenizer.apply_chat_template([dict(m) for m in messages], **given))
        given = {**self.tokenizer.special_tokens_map, **given, "documents": given.get("documents")}
        source = self.source(bool(tools))
        return template.render(source, messages, tools=list(tools) or None, add_generation_prompt=generate, **given)

    def said(self, asked: str, before: Sequence[Message], answer: Message) -> str:
        """What the template makes of an answer, behind the generation prompt `asked`; stop and all that follows it
        included. ValueError where that can't be found, or where something that the answer says is lost."""
        whole = self.text(like(before, (*before, answer)))
        content = str(answer.get("content") or "")
        said = self.with_thought(asked, whole, answer, self.spelt.text(content, thoughts=True))
        self.refuse_losses(said, answer)
        self.compare(said, before, answer, content)
        return said

    def with_thought(self, asked: str, whole: str, answer: Message, content: str) -> str:
        """What is behind the generation prompt, with the answer's thought where the template left it out."""
        mark = thoughts.opened(asked)
        closed = None if mark else thoughts.closed_at_once(asked)
        said = behind(asked, whole, mark or closed)
        if said is None:
            raise ValueError(unlike("the prompt of an assistant turn", asked, whole))
        close = thoughts.PAIRS[mark[1]] if mark else None
        thought, gap, _ = thoughts.divided(content, close)
        reasoned = thoughts.reasoning(answer)
        if closed:
            if thought or reasoned:
                raise ValueError(
                    f"an answer has a thought, but the generation prompt ends with a closed one: {asked[-60:]!r}: let "
                    "the model think, with model.chat_template_kwargs = {enable_thinking = true} or what this template "
                    "calls it, or leave the thoughts out of the answers"
                )
            return said
        if mark and close:
            return self.gone_on(said, mark[1], close, thought, gap, self.spelt.text(reasoned, thoughts=True))
        if thought and gist(thought) not in gist(said):
            self.notes.add(LEFT_OUT)
            return thought + gap + said.lstrip()
        return said

    def gone_on(self, said: str, opening: str, close: str, thought: str, gap: str, reasoned: str) -> str:
        """What the model says where the generation prompt has opened a thought."""
        inner = thoughts.inside(thought, opening).removesuffix(close) if thought else reasoned
        shown = said.lstrip()
        if gist(inner) in gist(said) and close in said:
            return said
        if inner:
            self.notes.add(LEFT_OUT)
            inner = inner if thought else inner.strip() + "\n"
        else:
            self.notes.add(NO_THOUGHT)
            inner = "\n"
        return inner + shown if shown.startswith(close) else inner + close + (gap or "\n\n") + shown

    def refuse_losses(self, said: str, answer: Message) -> None:
        """Raises ValueError where a thought or a call that is to be trained isn't in what the template renders."""
        plain = gist(said)
        if gist(thoughts.reasoning(answer)) not in plain:
            key = next(k for k in thoughts.FIELDS if answer.get(k))
            raise ValueError(
                f"the chat template doesn't show the {key} of an answer that is to be trained, so its thought would be "
                "lost: put the thought into the content as the model writes it (<think>…</think> before the answer), "
                "take a template that shows it (model.chat_template), or give the message weight 0"
            )
        names = [str(call.get("function", call).get("name")) for call in answer.get("tool_calls") or ()]
        if lost := [name for name in names if gist(name) not in plain]:
            raise ValueError(
                f"the chat template doesn't show tool_calls, here of {lost[0]!r}, so an empty turn would be trained in "
                "place of the call: take a model whose template knows tools, or one of your own (model.chat_template), "
                "or leave out such rows"
            )

    def compare(self, said: str, before: Sequence[Message], answer: Message, content: str) -> None:
        """Notes where the template changes what the answer says."""
        if not content.strip() or content in said.replace(MARK, ""):
            return
        if gist(content) in gist(said):
            self.notes.add(TRIMMED)
        elif gist(thoughts.divided(content)[2]) in gist(said):
            return  # the thought was put where the template has it
        elif answer.get("tool_calls"):
            self.notes.add(BESIDE_CALLS)
        elif self.text(like(before, (*before, answer))) == self.text(
            like(before, (*before, {**answer, "content": ""}))
        ):
            raise ValueError("the chat template doesn't show the content of an assistant's message, so nothing is said")
        else:
            self.notes.add(ALTERED)

    def unused(self, messages: Sequence[Message]) -> list[str]:
        """Keys of messages, tools and arguments without which the template says the same."""
        tools, options = beside(messages)
        keys = {k for m in messages for k in m if k not in HIDDEN}
        fields = keys & set(thoughts.FIELDS)
        tried: dict[str, Sequence[Message]] = {
            key: like(messages, [without(m, fields if key in fields else {key}) for m in messages])
            for key in sorted(keys)
        }
        if tools:
            tried["tools"] = Turns(messages, (), options)
        for k in options:
            tried[f"chat_template_kwargs.{k}"] = Turns(messages, tools, without(options, {k}))
        if not tried:
            return []
        whole = self.text(messages)
        return [key for key, other in tried.items() if same(whole, partial(self.text, other))]

    def unshown(self, messages: Sequence[Message], text: str) -> list[str]:
        """Roles of messages, other than the assistant's, that leave no trace in the template's text."""
        plain, found = gist(text), []
        for i, m in enumerate(messages):
            if m["role"] == "assistant" or not m["content"] or gist(str(m["content"])) in plain:
                continue
            other = like(messages, [{**o, "content": "…"} if k == i else o for k, o in enumerate(messages)])
            if same(text, partial(self.text, other, generate=True)):
                found.append(m["role"])
        return found


def behind(asked: str, whole: str, mark: Any) -> str | None:
    """What a rendering has behind the generation prompt; where that ends in a mark of thinking, or in white space that
    training lacks, what it has behind the rest of the prompt."""
    if whole.startswith(asked):
        return whole[len(asked) :]
    bare = asked.rstrip()
    if whole.startswith(bare):
        return whole[len(bare) :].lstrip()
    if mark is not None and whole.startswith(stem := asked[: mark.start()]):
        return whole[len(stem) :]
    return None


def same(text: str, other: Callable[[], str]) -> bool:
    try:
        return other() == text
    except ValueError:
        return False  # without it the template refuses: it is used


def without(message: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    return {k: v for k, v in message.items() if k not in keys}


def ready(message: Message) -> dict[str, Any]:
    """A message as templates know it: a thought under each name that they have for it, no weight, no null content."""
    found = {k: v for k, v in message.items() if k != "weight" and v is not None}
    thought = thoughts.reasoning(message)
    named = {"thinking": thought, **found, "reasoning_content": thought} if thought else found
    return {**named, "content": found.get("content", "")}


def arguments(message: Mapping[str, Any]) -> list[Any]:
    return [call.get("function", call).get("arguments") for call in message.get("tool_calls") or ()]


def tabled(message: Mapping[str, Any]) -> bool:
    """Whether it has calls whose arguments are tables."""
    return any(isinstance(a, Mapping) for a in arguments(message))


def written_as_python(message: Mapping[str, Any], text: str) -> bool:
    """Whether a template has written a table as Python shows it, since it counts on JSON text."""
    return any(isinstance(a, Mapping) and a and str(a) in text for a in arguments(message))


def as_json(message: Mapping[str, Any]) -> dict[str, Any]:
    """The message with arguments of calls as JSON text."""
    if not tabled(message):
        return dict(message)
    calls = []
    for call in message["tool_calls"]:
        own = dict(call.get("function", call))
        if isinstance(own.get("arguments"), Mapping):
            own["arguments"] = json.dumps(own["arguments"], ensure_ascii=False)
        calls.append({**call, "function": own} if "function" in call else own)
    return {**message, "tool_calls": calls}


def unlike(what: str, generation: str, training: str) -> str:
    """The words for a template that renders training and generation differently, with both texts."""
    return (
        f"the chat template renders {what} differently when training and when generating, so the model would be "
        f"trained on a prompt that it never meets.\n  generating: {generation!r}\n  training:   {training!r}\n"
        "Train on single turns (prompt and completion), hand the template other arguments "
        "(model.chat_template_kwargs), or correct the template (model.chat_template)."
    ).replace(MARK, "")


def check_messages(messages: Sequence[Message], generate: bool) -> None:
    """Raises ValueError unless these are messages with role and content that ask for what is wanted."""
    for i, m in enumerate(messages):
        if not (isinstance(m, dict) or hasattr(m, "keys")) or "role" not in m:
            raise ValueError(f"message {i} is {m!r}: a message is a table with 'role' and 'content'")
        speechless = not any(m.get(key) for key in ("tool_calls", *thoughts.FIELDS))
        if "content" not in m and speechless:
            raise ValueError(f"message {i} is {m!r}: a message is a table with 'role' and 'content'")
        if not isinstance(m.get("content"), str) and (speechless or m.get("content") is not None):
            raise ValueError(f"message {i} has content of type {type(m['content']).__name__}: it must be text")
    if not messages or messages[0]["role"] == "assistant":
        raise ValueError("a conversation must begin with a user or system message, before the assistant's first")
    if generate and messages[-1]["role"] == "assistant":
        raise ValueError("the prompt ends with an assistant message: put that text into 'completion'")
