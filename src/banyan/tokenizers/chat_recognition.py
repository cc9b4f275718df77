"""Which chat format a foreign model was taught, told by the tokens and words that its files hold; nothing is run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from banyan.tokenizers.chat_formats import (
    BANYAN,
    CHATML,
    LLAMA2,
    LLAMA3,
    LLAMA3_1,
    MISTRAL,
    MISTRAL_V3,
    PLAIN,
    QWEN2,
    QWEN2_5,
    ChatFormat,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recognition:
    """A chat format and, in one line, how it was recognised."""

    chat: ChatFormat
    reason: str


def recognise_chat_format(
    tokens: Collection[str], *, template: str | None = None, model_type: str | None = None
) -> Recognition:
    """Return the format whose marks a model knows; `plain` where none is seen.

    `tokens` are the model's control tokens, `template` the text of its own chat template.
    """
    if {"<|task_0|>", "<|sep|>", "<|end|>", "<|assistant|>"} <= set(tokens):
        return Recognition(chat=BANYAN, reason="its control tokens are Banyan's own")
    if "<|im_start|>" in tokens and "<|im_end|>" in tokens and (template is None or "<|im_start|>" in template):
        return Recognition(chat=_chatml(template or ""), reason="<|im_start|> and <|im_end|> are control tokens")
    if {"<|start_header_id|>", "<|eot_id|>"} <= set(tokens) and (template is None or "<|start_header_id|>" in template):
        dated = template is not None and "Cutting Knowledge Date" in template
        return Recognition(
            chat=LLAMA3_1 if dated else LLAMA3, reason="<|start_header_id|> and <|eot_id|> are control tokens"
        )
    if "[INST]" in tokens and "[/INST]" in tokens:
        return Recognition(chat=MISTRAL_V3, reason="[INST] and [/INST] are control tokens")
    if template is not None and "[INST]" in template:
        is_llama = "<<SYS>>" in template and model_type != "mistral"
        return Recognition(chat=LLAMA2 if is_llama else MISTRAL, reason="its chat template writes [INST]")
    if template is not None:
        return Recognition(
            chat=PLAIN, reason="its chat template is of a family that is not known; text is laid out plain"
        )
    return Recognition(chat=PLAIN, reason="it has no chat template and no control tokens of a known family")


def _chatml(template: str) -> ChatFormat:
    """Tell the members of the family by the words that their templates let the system say."""
    said = [chat for chat in (QWEN2_5, QWEN2) if f"{chat.default_system}<|im_end|>" in template]
    # The template of Qwen 2.5 writes its words in two places, once without the end token behind them.
    if not said and QWEN2_5.default_system and QWEN2_5.default_system in template:
        return QWEN2_5
    return said[0] if said else CHATML
