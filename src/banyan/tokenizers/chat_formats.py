"""Chat formats: which tokens stand around what each side of a conversation says, family by family.

A mark is a text of ours: what in it is a control token of the vocabulary becomes that token, the rest is ordinary
text. `{bos}` and `{eos}` stand for the vocabulary's own tokens, `{start}` for what it puts before any text.
What a user says never becomes a control token, whatever it looks like.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from banyan.core.registry import Registry

SYSTEM, USER, ASSISTANT, TOOL = ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, kw_only=True, slots=True)
class Marks:
    """What stands before and after a text."""

    open: str
    close: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatFormat:
    """How one family of models lays out a conversation."""

    name: str
    begin: str = ""  # before the first message
    roles: Mapping[str, Marks]
    end: str  # the token with which an assistant ends what it says
    lead: str = ""  # between the opening of the assistant and its answer, so that the first word has its space
    system_inside: Marks | None = None  # the system's text stands in the next user message, between these
    default_system: str | None = None  # what the system says where nobody lets it speak; None: nothing
    is_trimmed: bool = False  # white space around a message is dropped
    task: Marks | None = None  # around a task's question; None: a user's message, and the assistant begins

    @property
    def has_roles(self) -> bool:
        """Whether models of this family were taught to talk."""
        return self.task is None


BANYAN = ChatFormat(
    name="banyan",
    begin="<|bos|>",
    roles={role: Marks(open=f"<|{role}|>", close="<|end|>") for role in ROLES},
    end="<|end|>",
)

# Source: the chat templates of Qwen/Qwen2-7B-Instruct, Qwen2.5-7B-Instruct and Qwen3-8B; tools answer as the user.
CHATML = ChatFormat(
    name="chatml",
    roles={
        **{role: Marks(open=f"<|im_start|>{role}\n", close="<|im_end|>\n") for role in (SYSTEM, USER, ASSISTANT)},
        TOOL: Marks(open="<|im_start|>user\n<tool_response>\n", close="\n</tool_response><|im_end|>\n"),
    },
    end="<|im_end|>",
)
QWEN2 = replace(CHATML, name="qwen2", default_system="You are a helpful assistant.")
QWEN2_5 = replace(
    CHATML,
    name="qwen2.5",
    default_system="You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
)

# Source: the chat templates of meta-llama/Meta-Llama-3-8B-Instruct and Llama-3.1-8B-Instruct (with its fixed date).
_LLAMA3_HEADER = "<|start_header_id|>{role}<|end_header_id|>\n\n"
LLAMA3 = ChatFormat(
    name="llama3",
    begin="{bos}",
    roles={
        role: Marks(open=_LLAMA3_HEADER.replace("{role}", written), close="<|eot_id|>")
        for role, written in ((SYSTEM, "system"), (USER, "user"), (ASSISTANT, "assistant"), (TOOL, "ipython"))
    },
    end="<|eot_id|>",
    is_trimmed=True,
)
_LLAMA3_1_DATES = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
LLAMA3_1 = replace(
    LLAMA3,
    name="llama3.1",
    roles={
        **LLAMA3.roles,
        SYSTEM: Marks(open=_LLAMA3_HEADER.replace("{role}", "system") + _LLAMA3_1_DATES, close="<|eot_id|>"),
    },
    default_system="",
)

# Source: the chat template of meta-llama/Llama-2-7b-chat-hf.
LLAMA2 = ChatFormat(
    name="llama2",
    roles={
        USER: Marks(open="{bos}[INST] ", close=" [/INST]"),
        ASSISTANT: Marks(open="", close=" {eos}"),
    },
    end="{eos}",
    lead=" ",
    system_inside=Marks(open="<<SYS>>\n", close="\n<</SYS>>\n\n"),
    is_trimmed=True,
)

# Source: mistral-common 1.4, tokenizers v1 (the marks are ordinary text) and v3 (they are control tokens).
MISTRAL = ChatFormat(
    name="mistral",
    begin="{bos}",
    roles={
        USER: Marks(open="[INST] ", close=" [/INST]"),
        ASSISTANT: Marks(open="", close="{eos}"),
    },
    end="{eos}",
    lead=" ",
    system_inside=Marks(open="", close="\n\n"),
)
MISTRAL_V3 = replace(
    MISTRAL,
    name="mistral_v3",
    roles={**MISTRAL.roles, USER: Marks(open="[INST] ", close="[/INST]")},
)

# For models that were only ever shown text: who speaks is written out, line by line.
PLAIN = ChatFormat(
    name="plain",
    begin="{start}",
    roles={
        SYSTEM: Marks(open="System: ", close="\n"),
        USER: Marks(open="User: ", close="\n"),
        ASSISTANT: Marks(open="Assistant:", close="{eos}\n"),
        TOOL: Marks(open="Tool: ", close="\n"),
    },
    end="{eos}",
    lead=" ",
    is_trimmed=True,
    task=Marks(open="", close="\nAnswer:"),
)

CHAT_FORMATS: Registry[ChatFormat] = Registry("chat format")
for _format in (BANYAN, CHATML, QWEN2, QWEN2_5, LLAMA2, LLAMA3, LLAMA3_1, MISTRAL, MISTRAL_V3, PLAIN):
    CHAT_FORMATS.add(_format.name, _format)
