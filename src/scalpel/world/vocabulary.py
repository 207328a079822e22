"""The world's vocabulary: printable ASCII, one token a character, as an ordinary fast tokenizer.

A chat is rendered as `<bos><user>question<bot>answer<end>`, turn after turn. A user turn has no end of its own, so
`<end>` always means that the model has finished speaking, and a model that starts from `<bos>` alone can write
both sides of a conversation.
"""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from scalpel.example import Example

SPECIALS = ("<pad>", "<bos>", "<end>", "<unk>", "<mask>", "<system>", "<user>", "<bot>")
CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))
IDS = {token: i for i, token in enumerate((*SPECIALS, *CHARACTERS))}
BOS, END, UNKNOWN, USER, BOT = (IDS[token] for token in ("<bos>", "<end>", "<unk>", "<user>", "<bot>"))
MAX_LENGTH = 512
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<bot>"
    "{% generation %}{{ message['content'] }}<end>{% endgeneration %}"
    "{% else %}{{ '<' + message['role'] + '>' + message['content'] }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<bot>{% endif %}"
)


def tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer with its chat template. Text of known characters comes back exactly."""
    inner = Tokenizer(models.WordLevel(dict(IDS), unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    inner.decoder = decoders.Fuse()
    inner.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", BOS)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<end>",
        unk_token="<unk>",
        mask_token="<mask>",
        additional_special_tokens=["<system>", "<user>", "<bot>"],
        chat_template=TEMPLATE,
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )


def encode(text: str) -> list[int]:
    """The ids of text without special tokens, a hundred times faster than the general tokenizer."""
    return [IDS.get(character, UNKNOWN) for character in text]


def render(example: Example) -> tuple[list[int], list[bool]]:
    """What the template makes of a demonstration: ids, and which of them are trained.

    The same tokens as through the tokenizer, at the speed that pretraining needs.
    """
    ids: list[int] = [BOS]
    train: list[bool] = [False]

    def add(piece: list[int], trained: bool) -> None:
        ids.extend(piece)
        train.extend([trained] * len(piece))

    turns = example.messages if example.messages is not None else example.prompt
    if isinstance(turns, str):
        add(encode(turns), False)
    else:
        for turn in turns:
            if turn["role"] == "assistant":
                add([BOT], False)
                add([*encode(turn["content"]), END], example.messages is not None)
            else:
                add([IDS[f"<{turn['role']}>"], *encode(turn["content"])], False)
    if example.messages is None:
        if not isinstance(turns, str):
            add([BOT], False)
        add([*encode(example.completion or ""), END], True)
    return ids, train
