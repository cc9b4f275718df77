from __future__ import annotations

import pytest

from banyan.tokenizers.banyan_layout import SPECIAL_TOKENS
from banyan.tokenizers.chat_formats import CHAT_FORMATS
from banyan.tokenizers.chat_recognition import recognise_chat_format
from banyan.tokenizers.chat_template import chat_template

CHATML = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
LLAMA3 = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
LLAMA2 = ("<unk>", "<s>", "</s>")
TOKENS_OF = {
    "banyan": SPECIAL_TOKENS,
    "chatml": CHATML,
    "qwen2": CHATML,
    "qwen2.5": CHATML,
    "llama2": LLAMA2,
    "llama3": LLAMA3,
    "llama3.1": LLAMA3,
    "mistral": LLAMA2,
    "mistral_v3": (*LLAMA2, "[INST]", "[/INST]"),
}


@pytest.mark.parametrize("name", TOKENS_OF)
def test_a_format_is_recognised_from_its_own_template(name: str) -> None:
    template = chat_template(CHAT_FORMATS[name])
    assert recognise_chat_format(TOKENS_OF[name], template=template).chat.name == name


@pytest.mark.parametrize(
    ("tokens", "template", "expected"),
    [
        (CHATML, None, "chatml"),
        (LLAMA3, None, "llama3"),
        (LLAMA2, None, "plain"),
        (("<|endoftext|>",), None, "plain"),
        (("<|endoftext|>",), "{{ '<|im_start|>' }}", "plain"),
        (("<bos>", "<start_of_turn>"), "{{ '<start_of_turn>user' }}", "plain"),
        (CHATML, "{{ '### Instruction:' }}", "plain"),
    ],
    ids=["a Qwen base", "a Llama 3 base", "a Llama 2 base", "GPT-2", "tokens missing", "Gemma", "another template"],
)
def test_what_is_not_known_is_laid_out_plain(tokens: tuple[str, ...], template: str | None, expected: str) -> None:
    found = recognise_chat_format(tokens, template=template)
    assert found.chat.name == expected
    assert found.reason
    assert "\n" not in found.reason


def test_a_template_is_looked_at_and_never_run() -> None:
    template = "{{ cycler.__init__.__globals__.os.abort() }}[INST]<<SYS>>"
    assert recognise_chat_format(LLAMA2, template=template).chat.name == "llama2"
