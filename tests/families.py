"""Chat templates that behave as those of current families do: what each writes around turns, and what it drops."""

# ruff: noqa: E501  (a template is easier to read as it is written)

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Family:
    """A template, its control tokens, what ends a turn, and what it knows. `thinks`: whether a thought in the content
    can be trained; `fields`: whether reasoning_content is shown; `shows`: whether a conversation with tools is."""

    template: str
    specials: tuple[str, ...]
    stop: str
    eos: str = ""
    config: tuple[str, ...] = ()  # further stops of the generation config
    system: bool = True
    thinks: bool = True
    fields: bool = False
    tools: bool = False
    split: bool = False  # whether two plain turns are two sequences
    closing: str = ""  # what stands between an answer and its stop
    options: dict[str, object] = field(default_factory=dict)


ML = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
CALLS = (
    "{% for c in m.tool_calls or [] %}\n<tool_call>\n"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}\n</tool_call>{% endfor %}'
)
SCHEMAS = "{% if tools %}<|im_start|>system\n{% for t in tools %}{{ t | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}"
LAST = "{% set n = namespace(q=-1) %}{% for m in messages %}{% if m.role == 'user' %}{% set n.q = loop.index0 %}" + (
    "{% endif %}{% endfor %}"
)
PARTED = (  # a thought from its field or from the content
    "{% set r = m.reasoning_content or '' %}{% set c = m.content %}{% if not r and '</think>' in c %}"
    "{% set r = c.split('</think>')[0].split('<think>')[-1] %}{% set c = c.split('</think>')[-1].lstrip('\n') %}{% endif %}"
)


def chatml(answer: str, opening: str = "<|im_start|>assistant\n", before: str = "") -> str:
    return (
        before
        + "{% for m in messages %}{% if m.role == 'assistant' %}<|im_start|>assistant\n"
        + answer
        + "<|im_end|>\n"
        "{% elif m.role == 'tool' %}<|im_start|>user\n<tool_response>\n{{ m.content }}\n</tool_response><|im_end|>\n"
        "{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}" + opening + "{% endif %}"
    )


QWEN3 = (
    PARTED + "{% if loop.index0 > n.q %}{% if loop.last or r %}<think>\n{{ r.strip('\n') }}\n</think>\n\n{% endif %}"
    "{{ c.lstrip('\n') }}{% else %}{{ c }}{% endif %}" + CALLS
)
QWEN35 = PARTED + "{% if loop.index0 > n.q %}<think>\n{{ r.strip() }}\n</think>\n\n{% endif %}{{ c }}" + CALLS
DEEP = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<｜tool▁call｜>")


def deepseek(header: str, opening: str) -> str:
    return (
        "<｜begin▁of▁sentence｜>{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}"
        "<｜User｜>{{ m.content }}{% elif m.role == 'tool' %}<tool>{{ m.content }}</tool>{% else %}" + header
        + "{{ m.content.split('</think>')[-1] }}{% for c in m.tool_calls or [] %}<｜tool▁call｜>{{ c.function.name }}"
        "{{ '\n' + c.function.arguments }}{% endfor %}<｜end▁of▁sentence｜>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}" + opening + "{% endif %}"
    )  # fmt: skip


def llama3(before: str) -> str:
    return (
        "<|begin_of_text|>" + before + "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
        "{% if m.tool_calls %}" + '{"name": "{{ m.tool_calls[0].function.name }}", "parameters": '
        "{{ m.tool_calls[0].function.arguments | tojson }}}{% else %}{{ m.content | trim }}{% endif %}<|eot_id|>{% endfor %}"
        "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
    )


LLAMA3 = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
GEMMA = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")
TURN = "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
INST = (
    "<s>{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% elif m.role == 'system' %}"
    "[SYSTEM_PROMPT]{{ m.content }}[/SYSTEM_PROMPT]{% elif m.role == 'tool' %}[TOOL_RESULTS]{{ m.content }}[/TOOL_RESULTS]"
    "{% elif m.tool_calls %}[TOOL_CALLS]{% for c in m.tool_calls %}{{ c.function.name }}[ARGS]"
    "{{ c.function.arguments | tojson }}{% endfor %}</s>{% else %}ANSWER</s>{% endif %}{% endfor %}"
)
MISTRAL = ("<s>", "</s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CALLS]", "[ARGS]")
GLM = ("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>", "<|endoftext|>")


def glm(answer: str, opening: str) -> str:
    return (
        "[gMASK]<sop>{% for m in messages %}{% if m.role == 'assistant' %}<|assistant|>" + answer
        + "{% for c in m.tool_calls or [] %}\n<tool_call>{{ c.function.name }}\n{{ c.function.arguments | tojson }}"
        "</tool_call>{% endfor %}{% elif m.role == 'tool' %}<|observation|>\n{{ m.content }}"
        "{% else %}<|{{ m.role }}|>\n{{ m.content }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>" + opening + "{% endif %}"
    )  # fmt: skip


HARMONY = (
    "<|start|>system<|message|>Current date: {{ strftime_now('%Y-%m-%d') }}<|end|>{% for m in messages %}"
    "{% if m.role == 'assistant' %}{% if m.tool_calls %}<|start|>assistant to=functions.{{ m.tool_calls[0].function.name }}"
    "<|channel|>commentary json<|message|>{{ m.tool_calls[0].function.arguments | tojson }}<|call|>{% else %}"
    "{% if loop.last and m.thinking %}<|start|>assistant<|channel|>analysis<|message|>{{ m.thinking }}<|end|>{% endif %}"
    "<|start|>assistant<|channel|>final<|message|>{{ m.content }}{{ '<|return|>' if loop.last else '<|end|>' }}{% endif %}"
    "{% else %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)


def plain(user: str, answer: str, opening: str, start: str = "") -> str:
    """Turns between marks; `…` stands for the content."""
    put = lambda text: text.replace("…", "{{ m.content }}")  # noqa: E731
    return (
        start + "{% for m in messages %}{% if m.role == 'assistant' %}" + put(answer) + "{% else %}" + put(user)
        + "{% endif %}{% endfor %}{% if add_generation_prompt %}" + opening + "{% endif %}"
    )  # fmt: skip


COHERE = ("<BOS_TOKEN>", "<EOS_TOKEN>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>")
COHERE += ("<|USER_TOKEN|>", "<|SYSTEM_TOKEN|>")
SPOKEN = "<|START_OF_TURN_TOKEN|><|{{ 'USER' if m.role == 'user' else 'SYSTEM' }}_TOKEN|>…<|END_OF_TURN_TOKEN|>"
BOT = "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"
ROLE = ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>")
PHI = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>")
KIMI = ("<|im_user|>", "<|im_assistant|>", "<|im_system|>", "<|im_middle|>", "<|im_end|>", "[EOS]")
MINI = ("]~!b[", "]~b]", "[e~[")

FAMILIES: dict[str, Family] = {
    "Qwen2.5": Family(chatml("{{ m.content }}" + CALLS, before=SCHEMAS), ML, "<|im_end|>", tools=True),
    "Qwen3": Family(chatml(QWEN3, before=SCHEMAS + LAST), ML, "<|im_end|>", fields=True, tools=True, split=True),
    "Qwen3.5": Family(
        chatml(QWEN35, "<|im_start|>assistant\n<think>\n", SCHEMAS + LAST), ML, "<|im_end|>", fields=True, tools=True,
        split=True,
    ),
    "QwQ": Family(
        chatml("{{ m.content.split('</think>')[-1].lstrip('\n') }}", "<|im_start|>assistant\n<think>\n"), ML,
        "<|im_end|>", fields=True, split=True,
    ),
    "DeepSeek-V3": Family(
        deepseek("<｜Assistant｜>", "<｜Assistant｜>"), DEEP, "<｜end▁of▁sentence｜>", tools=True
    ),
    "DeepSeek-R1": Family(
        deepseek("<｜Assistant｜>", "<｜Assistant｜><think>\n"), DEEP, "<｜end▁of▁sentence｜>", fields=True, tools=True,
        split=True,
    ),
    "DeepSeek-V3.1": Family(
        deepseek("<｜Assistant｜></think>", "<｜Assistant｜>{{ '<think>' if thinking else '</think>' }}"), DEEP,
        "<｜end▁of▁sentence｜>", thinks=False, tools=True,
    ),
    "Phi-3": Family(
        plain("<|{{ m.role }}|>\n…<|end|>\n", "<|assistant|>\n…<|end|>\n", "<|assistant|>\n{% else %}<|endoftext|>"), PHI,
        "<|end|>",
    ),
    "Phi-4": Family(
        plain("<|im_start|>{{ m.role }}<|im_sep|>…<|im_end|>", "<|im_start|>assistant<|im_sep|>…<|im_end|>",
              "<|im_start|>assistant<|im_sep|>"), (*ML, "<|im_sep|>"), "<|im_end|>",
    ),
    "Llama 2": Family(
        plain("<s>[INST] {{ '<<SYS>>\n' + m.content + '\n<</SYS>>' if m.role == 'system' else m.content }} [/INST]",
              " … </s>", ""), ("<s>", "</s>"), "</s>",
    ),
    "Llama 3": Family(llama3(""), LLAMA3, "<|eot_id|>", eos="<|end_of_text|>", tools=True),
    "Llama 3.1": Family(
        llama3("{% set d = date_string or strftime_now('%d %b %Y') %}<|start_header_id|>system<|end_header_id|>\n\n"
               "Today: {{ d }}\n{% for t in tools or [] %}{{ t | tojson }}{% endfor %}<|eot_id|>"),
        LLAMA3, "<|eot_id|>", eos="<|end_of_text|>", tools=True,
    ),
    "Gemma 2": Family(
        "<bos>{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for m in messages %}" + TURN + "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
        GEMMA, "<end_of_turn>", eos="<eos>", system=False,
    ),
    "Gemma 3": Family(
        "<bos>{% set ns = namespace(first='') %}{% for m in messages %}{% if m.role == 'system' %}"
        "{% set ns.first = m.content + '\n\n' %}{% else %}<start_of_turn>{{ 'model' if m.role == 'assistant' else 'user' }}\n"
        "{{ ns.first }}{% set ns.first = '' %}{{ m.content | trim }}<end_of_turn>\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}", GEMMA, "<end_of_turn>", eos="<eos>",
    ),
    "Mistral": Family(INST.replace("ANSWER", " {{ m.content | trim }}"), MISTRAL, "</s>", tools=True),
    "Magistral": Family(
        INST.replace("ANSWER", "{% if m.reasoning_content %}[THINK]{{ m.reasoning_content }}[/THINK]{% endif %}"
                     "{{ m.content }}"), (*MISTRAL, "[THINK]", "[/THINK]"), "</s>", fields=True, tools=True,
    ),
    "GLM-4": Family(
        glm("\n{{ m.content }}", "\n"), GLM, "<|user|>", eos="<|endoftext|>", config=("<|user|>", "<|observation|>"),
        tools=True,
    ),
    "GLM-4.5": Family(
        LAST + glm(PARTED + "\n{% if loop.index0 > n.q and r %}<think>{{ r.strip() }}</think>{% else %}<think></think>"
                   "{% endif %}\n{{ c.strip() }}", ""), GLM, "<|user|>", eos="<|endoftext|>",
        config=("<|user|>", "<|observation|>"), fields=True, tools=True,
    ),
    "gpt-oss": Family(
        HARMONY, ("<|start|>", "<|message|>", "<|end|>", "<|channel|>", "<|call|>", "<|return|>"), "<|return|>",
        config=("<|call|>",), fields=True, tools=True, split=True,
    ),
    "Nemotron": Family(
        chatml("{{ m.content if loop.last and '</think>' in m.content else '<think></think>' + "
               "m.content.split('</think>')[-1] }}" + CALLS, "<|im_start|>assistant\n<think>\n", SCHEMAS), ML,
        "<|im_end|>", fields=True, tools=True, split=True,
    ),
    "Command-R": Family(plain(SPOKEN, BOT + "{{ m.content | trim }}<|END_OF_TURN_TOKEN|>", BOT, "<BOS_TOKEN>"), COHERE,
                        "<|END_OF_TURN_TOKEN|>", eos="<EOS_TOKEN>"),
    "Granite": Family(
        plain("<|start_of_role|>{{ m.role }}<|end_of_role|>…<|end_of_text|>\n",
              "<|start_of_role|>assistant<|end_of_role|>…<|end_of_text|>\n", "<|start_of_role|>assistant<|end_of_role|>"),
        ROLE, "<|end_of_text|>",
    ),
    "OLMo 2": Family(
        plain("<|{{ m.role }}|>\n…\n", "<|assistant|>\n…{% if loop.last %}<|endoftext|>{% else %}<|endoftext|>\n{% endif %}",
              "<|assistant|>\n", "<|endoftext|>"), ("<|endoftext|>",), "<|endoftext|>",
    ),
    "SmolLM3": Family(
        chatml("{% if not '</think>' in m.content %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}"),
        ML, "<|im_end|>", fields=True,
    ),
    "Kimi K2": Family(
        plain("<|im_{{ 'system' if m.role == 'tool' else m.role }}|>{{ m.role }}<|im_middle|>…<|im_end|>",
              "<|im_assistant|>assistant<|im_middle|>…{% for c in m.tool_calls or [] %}<|call|>{{ c.function.name }}"
              "{{ c.function.arguments if c.function.arguments is string else c.function.arguments | tojson }}"
              "{% endfor %}<|im_end|>", "<|im_assistant|>assistant<|im_middle|>"), KIMI, "<|im_end|>", eos="[EOS]", tools=True,
    ),
    "MiniMax-M2": Family(
        LAST + "]~!b[{% for m in messages %}{% if m.role == 'assistant' %}]~b]ai\n" + PARTED
        + "{% if r and loop.index0 > n.q %}<think>\n{{ r.strip('\n') }}\n</think>\n\n{% endif %}{{ c }}"
        "{% for t in m.tool_calls or [] %}<invoke name=\"{{ t.function.name }}\">{% for k, v in t.function.arguments.items() %}"
        "<p {{ k }}>{{ v }}</p>{% endfor %}</invoke>{% endfor %}[e~[\n{% else %}]~b]{{ m.role }}\n{{ m.content }}[e~[\n"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}]~b]ai\n<think>\n{% endif %}",
        MINI, "[e~[", fields=True, tools=True, split=True,
    ),
    "Gemma 4": Family(
        "<bos>{% for m in messages %}<|turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
        "{% if m.role == 'assistant' and loop.last and m.reasoning_content and enable_thinking %}"
        "<|channel>thought\n{{ m.reasoning_content }}\n<channel|>{% endif %}{{ m.content | trim }}<turn|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|turn>model\n{% if not enable_thinking %}<|channel>thought\n<channel|>{% endif %}"
        "{% endif %}", ("<bos>", "<eos>", "<|turn>", "<turn|>", "<|channel>", "<channel|>"), "<turn|>", eos="<eos>", split=True,
        thinks=False,
    ),
    "Mistral NeMo": Family(
        "<s>{% for m in messages %}{% if m.role == 'user' %}[INST]{% if loop.last and messages[0].role == 'system' %}"
        "{{ messages[0].content }}\n\n{% endif %}{{ m.content }}[/INST]{% elif m.role == 'assistant' %}{{ m.content }}</s>"
        "{% endif %}{% endfor %}", MISTRAL, "</s>",
    ),
    "Command-R7B": Family(
        plain(SPOKEN, BOT + "<|START_RESPONSE|>…<|END_RESPONSE|><|END_OF_TURN_TOKEN|>", BOT + "<|START_RESPONSE|>"),
        (*COHERE, "<|START_RESPONSE|>", "<|END_RESPONSE|>"), "<|END_OF_TURN_TOKEN|>", eos="<|END_OF_TURN_TOKEN|>",
        closing="<|END_RESPONSE|>",
    ),
    "Kimi K2 Thinking": Family(
        plain("<|im_user|>{{ m.role }}<|im_middle|>…<|im_end|>",
              "<|im_assistant|>assistant<|im_middle|><think></think>…<|im_end|>", "<|im_assistant|>assistant<|im_middle|>"),
        KIMI, "<|im_end|>", eos="[EOS]", fields=True,
    ),
    "Qwen3.8": Family(
        chatml("<think>\n{{ m.reasoning_content or '' }}\n</think>\n\n{{ m.content }}", "<|im_start|>assistant\n<think>\n"),
        ML, "<|im_end|>", fields=True,
    ),
    "Hunyuan": Family(
        plain("<｜hy_User｜>…", "<｜hy_Assistant｜><think:open>{{ m.reasoning_content or '' }}</think:open>…<｜hy_eos｜>",
              "<｜hy_Assistant｜><think:open></think:open>"), ("<｜hy_User｜>", "<｜hy_Assistant｜>", "<｜hy_eos｜>"),
        "<｜hy_eos｜>", eos="<｜hy_eos｜>", thinks=False,
    ),
    "SmolVLM": Family(
        plain("{{ m.role }}: {{ m.content[0]['text'] }}<end_of_utterance>\n",
              "Assistant: {{ m.content[0]['text'] }}<end_of_utterance>\n", "Assistant:"), ("<end_of_utterance>",),
        "<end_of_utterance>",
    ),
}  # fmt: skip
