"""Renderer: messages to text by the chat template, and the part of that text which an answer contributes.

The trained part of an answer is found without help from the template: the conversation is rendered once up to and with
the generation prompt, and once with its answer. The first text is a prefix of the second; the rest, up to and with the
stop token, is what the model has to generate. Where a generation prompt opens a reasoning block, or the template omits
the reasoning, it is placed after the prompt as the model would generate it. Where the trained part can't be found this
way, a ValueError shows both texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from re import Match
from typing import Any

from jinja2 import meta
from transformers import PreTrainedTokenizerBase

from scalpel.data import chat_template, reasoning
from scalpel.data.example import (
    Message,
    Turns,
    template_arguments,
    with_arguments_of,
)
from scalpel.data.message_forms import (
    as_json,
    check_messages,
    in_parts,
    ready,
    tabled,
    without,
    written_as_python,
)
from scalpel.data.notes import Notes
from scalpel.data.reasoning import gist
from scalpel.data.special_tokens import MARK, Spelt

NO_TEMPLATE = (
    "these prompts are chat messages, but the model's tokenizer has no chat template: use the instruction-tuned "
    "version of the model, give the prompts as plain text (for a task: chat = false), or set a template of your own, "
    'model.chat_template = "path/to/file.jinja"'
)
SPEAKER = re.compile("assistant|model|bot", re.IGNORECASE)
HIDDEN = ("role", "content", "weight")  # keys that are not checked for being used by the template
TRIMMED = "the chat template strips or changes white space of {n} answers{first}: the rendered text is trained"
LEFT_OUT = (
    "the chat template omits the reasoning of {n} answers when it renders them for training{first}: it is trained "
    "after the generation prompt, as the model would generate it"
)
NO_THOUGHT = (
    "{n} answers have no reasoning, but the generation prompt opens a reasoning block{first}: an empty one is trained; "
    "add the reasoning, or disable it with model.chat_template_kwargs where the template supports that"
)
ALTERED = "the chat template changes {n} answers{first}: the rendered text is trained"
MOVED = (
    "{n} answers have another context when the chat template renders them for training{first}: they are trained after "
    "the generation prompt, the context that the model gets when it generates"
)
FOREIGN = (
    "{n} answers have reasoning that ends with %s, but this chat template has other delimiters{first}: the reasoning "
    "is trained as text; write it between the template's delimiters, %s, or as reasoning_content, if it renders that"
)
HEADED = (
    "{n} answers begin with the header of a turn{first}, since the chat template writes no generation prompt "
    "(add_generation_prompt): the model learns to generate the header, and completions contain it"
)
BESIDE_CALLS = "{n} turns have text beside a tool call that the chat template doesn't render{first}: it isn't trained"


class Renderer:
    """The chat template of a tokenizer, with the keyword arguments that it always gets."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, spelt: Spelt, notes: Notes) -> None:
        self.tokenizer, self.spelt, self.notes = tokenizer, spelt, notes
        self.options: dict[str, Any] = dict(tokenizer.init_kwargs.get("chat_template_kwargs") or {})
        self.as_text = False  # whether this template needs the arguments of tool calls as JSON text
        # A tokenizer class that overrides apply_chat_template (as Mistral's does) renders messages itself.
        self.own = type(tokenizer).apply_chat_template is not PreTrainedTokenizerBase.apply_chat_template

    @cached_property
    def there(self) -> bool:
        """Whether there is a template that renders anything."""
        if self.own:
            return True
        if not self.tokenizer.chat_template:
            return False
        try:
            return bool(self.raw([{"role": "user", "content": "one"}], True).strip())
        except ValueError:
            return True  # the error is raised for the first row that needs the template

    @cached_property
    def parts(self) -> bool:
        """Whether the template renders a content only if it is a list of parts."""
        if self.own or not self.there:
            return False
        return not self.shows("scalpel") and self.shows([{"type": "text", "text": "scalpel"}])

    def shows(self, content: Any) -> bool:
        try:
            return "scalpel" in self.raw([{"role": "user", "content": content}], True)
        except ValueError:
            return False

    @cached_property
    def silent(self) -> bool:
        """Whether `add_generation_prompt` has no effect: the template writes no generation prompt, or always one."""
        asked = ({"role": "user", "content": "scalpel"},)
        try:
            return self.raw(asked, True) == self.raw(asked, False)
        except ValueError:
            return False

    def source(self, tools: bool = False) -> str:
        own: Any = self.tokenizer.chat_template
        if not isinstance(own, Mapping):
            return str(own)
        name = "tool_use" if tools and "tool_use" in own else "default"
        if name not in own and len(own) > 1:
            raise ValueError(
                f"the tokenizer has the chat templates {', '.join(own)} and none with the name default: write the one "
                "to use into a file and set model.chat_template to its path"
            )
        return str(own[name] if name in own else next(iter(own.values())))

    def strange_options(self) -> list[str]:
        """Keyword arguments of the recipe that the template doesn't read."""
        if not self.options or self.own or not self.there:
            return []
        asked = meta.find_undeclared_variables(chat_template.environment().parse(self.source()))
        return sorted(self.options.keys() - asked)

    def text(self, messages: Sequence[Message], generate: bool = False) -> str:
        """The template's text; with `generate`, followed by the generation prompt. Control tokens that are spelt out in
        the data have a mark inside them."""
        check_messages(messages, generate)
        if not self.there:
            raise ValueError(NO_TEMPLATE)
        tools, options = template_arguments(messages)
        shown = [self.spelt.message(ready(m)) for m in messages]
        shown = [in_parts(m) for m in shown] if self.parts else shown
        broken = [self.spelt.value(tool) for tool in tools]
        tables = [m for m in shown if tabled(m)]
        if not tables:
            return self.raw(shown, generate, broken, options)
        try:
            text = self.raw(shown, generate, broken, options) if not self.as_text else None
        except ValueError as error:  # perhaps because the template concatenates the arguments with text
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
        return chat_template.render(
            source, messages, tools=list(tools) or None, add_generation_prompt=generate, **given
        )

    def said(self, asked: str, before: Sequence[Message], answer: Message) -> str:
        """The text that the template renders for an answer after the generation prompt `asked`, with the stop token and
        all that follows it. ValueError if it can't be found, or if it lacks a part of the answer."""
        whole = self.text(with_arguments_of(before, (*before, answer)))
        content = str(answer.get("content") or "")
        said = self.with_thought(asked, whole, before, answer, self.spelt.text(content, thoughts=True))
        self.refuse_losses(said, answer)
        self.compare(said, before, answer, content)
        return said

    def with_thought(self, asked: str, whole: str, before: Sequence[Message], answer: Message, content: str) -> str:
        """The text after the generation prompt, with the answer's reasoning inserted where the template omitted it."""
        mark = reasoning.opened(asked)
        closed = None if mark else reasoning.closed_at_once(asked)
        said = after_prompt(asked, whole, mark or closed)
        said = self.behind_last(asked, whole, before) if said is None else said
        if said is None:
            raise ValueError(unlike("the prompt of an assistant turn", asked, whole))
        close = reasoning.closing(mark[1]) if mark else None
        thought, gap, _ = reasoning.divided(content, close)
        reasoned = reasoning.reasoning(answer)
        if closed:
            if thought or reasoned:
                raise ValueError(
                    f"an answer has reasoning, but the generation prompt ends with a closed reasoning block: "
                    f"{asked[-60:]!r}: enable reasoning with model.chat_template_kwargs = {{enable_thinking = true}}, "
                    "or the name that this template has for it, or leave the reasoning out of the answers"
                )
            return said if whole.startswith(asked) else reasoning.past_closed(said)
        if mark and close:
            return self.gone_on(said, mark, close, thought, gap, self.spelt.text(reasoned, thoughts=True))
        if (thought or reasoned) and (empty := reasoning.hollow(said)):
            return self.filled(said, empty, thought, self.spelt.text(reasoned, thoughts=True))
        if thought and gist(thought) not in gist(said):
            self.notes.add(LEFT_OUT)
            return thought + gap + said.lstrip()
        return said

    def behind_last(self, asked: str, whole: str, before: Sequence[Message]) -> str | None:
        """The text of a rendering after the prompt's last message, if the two renderings differ only before that
        message, as where a template moves the system message to the last user turn."""
        last = self.spelt.text(str(before[-1].get("content") or "")).strip()
        start = asked.rfind(last) if last else -1
        at = whole.rfind(asked[start:]) if start >= 0 else -1
        if at < 0 or self.text(before, generate=True) != asked:  # a template with changing output can't be compared
            return None
        self.notes.add(MOVED)
        return whole[at + len(asked) - start :]

    def filled(self, said: str, empty: Match[str], thought: str, reasoned: str) -> str:
        """The text with the answer's reasoning in place of the empty reasoning block that the template wrote."""
        rest = said[empty.end() :]
        if thought and gist(rest).startswith(gist(thought)):
            return rest  # the content holds a complete reasoning block itself
        if gist(reasoning.inside(thought, empty[1]) or reasoned) in gist(said):
            return said
        self.notes.add(LEFT_OUT)
        line = "\n" if "\n" in empty[2] else ""
        whole = thought or empty[1] + line + reasoned.strip() + line + empty[3]
        return whole + said[empty.end(3) :]

    def gone_on(self, said: str, mark: Match[str], close: str, thought: str, gap: str, reasoned: str) -> str:
        """The text to generate where the generation prompt has opened a reasoning block."""
        inner = reasoning.inside(thought, mark[1]).removesuffix(close) if thought else reasoned
        inner = inner.lstrip() if mark[0] != mark[1] else inner  # the prompt ends with the line break already
        shown = reasoning.inside(said, mark[1])
        if gist(shown).startswith(gist(inner + close)):
            return shown if shown == said or mark[0] == mark[1] else shown.lstrip()
        shown = shown.lstrip()
        if not inner.strip():
            self.notes.add(NO_THOUGHT)
            inner = "\n"
        elif shown.startswith(close) and thought and gist(shown.removeprefix(close)).startswith(gist(thought)):
            return inner + close + shown.rpartition(close)[2]  # the content's own reasoning follows an empty block
        else:
            self.notes.add(LEFT_OUT)
            inner = inner if thought else inner.strip() + "\n"
        return inner + shown if shown.startswith(close) else inner + close + (gap or "\n\n") + shown

    def refuse_losses(self, said: str, answer: Message) -> None:
        """Raises ValueError if the reasoning or a tool call of a trained answer isn't in the rendered text."""
        plain = gist(said)
        if gist(reasoning.reasoning(answer)) not in plain:
            key = next(k for k in reasoning.FIELDS if answer.get(k))
            raise ValueError(
                f"the chat template doesn't render the {key} of an answer that is to be trained, so its reasoning "
                f"would be lost: put the reasoning into the content as the model writes it ({self.marks()} before the "
                "answer), use a template that renders it (model.chat_template), or give the message weight 0"
            )
        names = [str(call.get("function", call).get("name")) for call in answer.get("tool_calls") or ()]
        if lost := [name for name in names if gist(name) not in plain]:
            raise ValueError(
                f"the chat template doesn't render tool_calls, here of {lost[0]!r}, so an empty turn would be trained "
                "in place of the call: use a model whose template supports tools, or a template of your own "
                "(model.chat_template), or leave out such rows"
            )

    def marks(self) -> str:
        return reasoning.own("" if self.own else self.source())

    def compare(self, said: str, before: Sequence[Message], answer: Message, content: str) -> None:
        """Notes where the template changes the text of the answer."""
        if not self.own and (end := reasoning.foreign(reasoning.divided(content)[0], self.source())):
            self.notes.add(FOREIGN % (end, self.marks()))
        if self.silent and content and SPEAKER.search(said.partition(content)[0]):
            self.notes.add(HEADED)
        if not content.strip() or content in said.replace(MARK, ""):
            return
        if gist(content) in gist(said):
            self.notes.add(TRIMMED)
        elif gist(reasoning.divided(content)[2]) in gist(said):
            return  # the template only moved the reasoning
        elif answer.get("tool_calls"):
            self.notes.add(BESIDE_CALLS)
        elif self.text(with_arguments_of(before, (*before, answer))) == self.text(
            with_arguments_of(before, (*before, {**answer, "content": ""}))
        ):
            raise ValueError(
                "the chat template doesn't render the content of an assistant message, so there is nothing to train: "
                "use another one (model.chat_template)"
            )
        else:
            self.notes.add(ALTERED)

    def unused(self, messages: Sequence[Message]) -> list[str]:
        """Keys of messages, tools and keyword arguments that don't change the template's text."""
        tools, options = template_arguments(messages)
        keys = {k for m in messages for k in m if k not in HIDDEN}
        fields = keys & set(reasoning.FIELDS)
        tried: dict[str, Sequence[Message]] = {
            key: with_arguments_of(messages, [without(m, fields if key in fields else {key}) for m in messages])
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
        """Roles of messages, other than the assistant's, whose content doesn't appear in the template's text."""
        plain, found = gist(text), []
        for i, m in enumerate(messages):
            if m["role"] == "assistant" or not m["content"] or gist(str(m["content"])) in plain:
                continue
            other = with_arguments_of(
                messages, [{**o, "content": "…"} if k == i else o for k, o in enumerate(messages)]
            )
            if same(text, partial(self.text, other, generate=True)):
                found.append(m["role"])
        return found


def after_prompt(asked: str, whole: str, mark: Any) -> str | None:
    """The text of a rendering after the generation prompt. If the generation prompt ends with a reasoning delimiter, or
    with white space that the rendering for training lacks, the text after the rest of the prompt. None if neither is a
    prefix of the rendering."""
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
        return False  # the template raises without it, so it is used


def unlike(what: str, generation: str, training: str) -> str:
    """The error message for a template that renders training and generation differently, with both texts."""
    return (
        f"the chat template renders {what} differently for training and for generation, so the model would be "
        f"trained on a prompt that it never gets.\n  generation: {generation!r}\n  training:   {training!r}\n"
        "Train on single turns (prompt and completion), give the template other arguments "
        "(model.chat_template_kwargs), or correct the template (model.chat_template)."
    ).replace(MARK, "")
