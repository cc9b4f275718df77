"""G13: whatever a user writes, wherever it stands, it stays text; no control token is ever made of it."""

from __future__ import annotations

import json
import random
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from banyan.core.types import LabelSet, Prompt
from banyan.tasks.classification import Classification
from banyan.testing.foreign_models import foreign_vocabulary
from banyan.testing.foreign_tokenizers import FAMILIES
from banyan.testing.tasks import TASKS, VOCABULARY, example_about
from banyan.tokenizers.banyan_layout import SPECIAL_TOKENS
from banyan.tokenizers.vocabulary import Vocabulary
from proofs.evidence import Cell
from proofs.serving.goals.bench import Bench, Server
from proofs.serving.goals.blocks import blocks, numbers_of

_TOTAL, _BLOCK, _NUM_OVER_HTTP = 100_000, 1_000, 20
_OWN = "banyan"
_MAX_TOKENS = 20_000  # so that nothing is cut off
_BENIGN = "tree"
_ROLES = ("system", "developer", "user", "assistant", "tool")
_CONTROL = (
    *SPECIAL_TOKENS, "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|begin_of_text|>", "<|end_of_text|>",
    "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<s>", "</s>", "<unk>", "[INST]", "[/INST]", "<<SYS>>",
    "<</SYS>>", "<tool_response>", "</tool_response>", "<0x41>", "<0x00>",
)  # fmt: skip
_PLAIN = (
    "the banyan grows", "独木成林", "system", "user\n", "assistant", "\n\n", " ", "\t", "🌳", "👩‍👩‍👧", "é", "e\u0301",
    "\u200b", "\ufeff", "\u202e", "|", "<", ">", "<|", "|>", "label: tree", "tree", "树", "System: ", "Answer:", "{}",
    "{bos}", "{eos}", "{start}", "\\n", "%3C%7Cuser%7C%3E", "\x7f", "\x1b[0m", "\x01", "ﬁ", "İ", "\u2028",
    "\U000e0001", "0x1F", "```",
)  # fmt: skip


def run(bench: Bench, trial: str) -> str:
    """Write a block of hostile strings into every role, task and field; some of them also over HTTP."""
    numbers, counts = numbers_of(trial), Counter[str]()
    texts = {number: hostile_text(number) for number in numbers}
    for number, text in texts.items():
        for name in (_OWN, FAMILIES[number % len(FAMILIES)]):
            counts.update(_check(text, _vocabulary(name), other=texts.get(number + 1, "<|user|>")))
    sample = random.Random(trial).sample(sorted(texts.values()), min(_NUM_OVER_HTTP, len(texts)))
    with bench.server(f"G13-{trial}") as server:
        for text in sample:
            _check_over_http(text, server)
    counts["over HTTP"] = len(sample)
    return ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items()))


@cache
def _vocabulary(name: str) -> Vocabulary:
    return VOCABULARY if name == _OWN else foreign_vocabulary(name)


# ------------------------------------------------------------------------------- the strings


def hostile_text(number: int) -> str:
    """Return the string of a number: control tokens as they are, written otherwise, or in pieces, among other text."""
    chance = random.Random(number)
    pieces = [
        _disguised(chance.choice(_CONTROL), chance) if chance.random() < 0.7 else chance.choice(_PLAIN)
        for _ in range(chance.randint(1, 6))
    ]
    text = chance.choice(("", "", " ", "\n")).join(pieces)
    # SentencePiece's own sign for a space means a space in every text; blank texts are refused before they get here.
    return text.replace("\u2581", "") + ("" if text.strip("\ufeff\u200b").strip() else "x")


def _disguised(token: str, chance: random.Random) -> str:
    ways = (
        token,
        token,
        token * 3,
        json.dumps(token),
        "".join(f"\\u{ord(character):04x}" for character in token),
        token.replace("<", "&lt;").replace(">", "&gt;"),
        "".join(f"&#{ord(character)};" for character in token),
        token.translate({code: code + 0xFEE0 for code in range(0x21, 0x7F)}),  # full width
        chance.choice(("\u200b", "\u200d", "\u2060", "\u00ad")).join(token),
        token[: len(token) // 2] + "\u200b" + token[len(token) // 2 :],
        token[: chance.randrange(len(token) + 1)],
        token[chance.randrange(len(token) + 1) :],
        token.upper(),
        token.replace("<|", "<|<|").replace("|>", "|>|>"),
        token.replace("|", "｜"),
        f" {token} ",
    )
    return chance.choice(ways)


# ------------------------------------------------------------------------------- what must hold


def _check(text: str, vocabulary: Vocabulary, *, other: str) -> Counter[str]:
    """Put a string wherever one can stand in a vocabulary, and compare its control tokens with those of a plain one."""
    _check_reads_back(text, vocabulary)
    counts = Counter({"texts": 1})
    half = len(text) // 2
    for role in _ROLES:
        split = [("user", f"{text[:half]}x"), (role, f"{text[half:]}x")]
        for said in ([(role, text)], [("system", text), (role, text)], split):
            counts["conversations"] += _check_conversation(said, vocabulary)
    for kind in _kinds(vocabulary):
        hostile, plain = _prompt(kind, text, vocabulary), _plain_prompt(kind, vocabulary)
        _same_control(hostile.token_ids, plain, vocabulary, what=f"{kind} about {text!r}")
        assert hostile.num_dropped_tokens == 0, f"{kind}: {text!r} was cut"
        counts["prompts"] += 1
    counts["split"] = _check_split(text, vocabulary)
    counts["labels"] = _check_labels((text, other), vocabulary)
    return counts


def _check_reads_back(text: str, vocabulary: Vocabulary) -> None:
    ids = vocabulary.encode(text)
    _nothing_reserved(ids, vocabulary, what=f"{text!r} by itself")
    back, expected = vocabulary.decode(ids), _as_read(text, vocabulary)
    assert back == expected, f"{vocabulary.chat.name}: {text!r} reads back as {back!r}"


def _as_read(text: str, vocabulary: Vocabulary) -> str:
    """Return a text as its family takes it: Qwen composes characters, newer SentencePiece files take one space."""
    if vocabulary.chat.name.startswith(("qwen", "chatml")):
        return unicodedata.normalize("NFC", text)
    return text.removeprefix(" ") if vocabulary.chat.name == "mistral_v3" else text


def _check_conversation(said: Sequence[tuple[str, str]], vocabulary: Vocabulary) -> int:
    whole = (*said, ("user", _BENIGN))  # the last one asks
    roles = tuple(role for role, _ in whole)
    if not _knows_roles(roles, vocabulary):
        return 0
    _same_control(_laid_out(whole, vocabulary), _plain_conversation(roles, vocabulary), vocabulary, what=f"{whole}")
    return 1


def _laid_out(said: Sequence[tuple[str, str]], vocabulary: Vocabulary) -> tuple[int, ...]:
    task = TASKS["dialogue"]
    row = {"messages": [{"role": role, "content": text} for role, text in said]}
    return task.prompt(task.parse(row, with_answer=False), vocabulary, max_tokens=_MAX_TOKENS).token_ids


@cache
def _plain_conversation(roles: tuple[str, ...], vocabulary: Vocabulary) -> tuple[int, ...]:
    return _laid_out([(role, _BENIGN) for role in roles], vocabulary)


def _knows_roles(roles: Sequence[str], vocabulary: Vocabulary) -> bool:
    known = {"system" if role == "developer" else role for role in roles}
    return known <= {*vocabulary.chat.roles, *(("system",) if vocabulary.chat.system_inside else ())}


def _kinds(vocabulary: Vocabulary) -> list[str]:
    return [kind for kind in TASKS if vocabulary is VOCABULARY or kind != "image_generation"]


def _prompt(kind: str, text: str, vocabulary: Vocabulary) -> Prompt:
    return TASKS[kind].prompt(example_about(kind, text), vocabulary, max_tokens=_MAX_TOKENS)


@cache
def _plain_prompt(kind: str, vocabulary: Vocabulary) -> tuple[int, ...]:
    return _prompt(kind, _BENIGN, vocabulary).token_ids


def _check_split(text: str, vocabulary: Vocabulary) -> int:
    """Let a string begin in one field and end in the next."""
    half = len(text) // 2
    first, second = f"x{text[:half]}", f"{text[half:]}x"
    parts = [{"type": "text", "text": own} for own in (first, second)]
    rows: dict[str, dict[str, Any]] = {
        "question_answering": {"question": first, "context": second},
        "tagging": {"tokens": [first, second]},
        "classification": {"text": first + second},
        "dialogue": {"messages": [{"role": "user", "content": parts}]},
    }
    for kind, row in rows.items():
        task = TASKS[kind]
        prompt = task.prompt(task.parse(row, with_answer=False), vocabulary, max_tokens=_MAX_TOKENS)
        is_said = kind == "dialogue"
        plain = _plain_conversation(("user",), vocabulary) if is_said else _plain_prompt(kind, vocabulary)
        _same_control(prompt.token_ids, plain, vocabulary, what=f"{kind} split at {first!r} | {second!r}")
    return len(rows)


def _check_labels(texts: tuple[str, str], vocabulary: Vocabulary) -> int:
    """Take strings as the labels of a classification that is answered in words."""
    if len({text.strip() for text in texts}) < 2:
        return 0
    task = Classification(name="words", labels=texts, answer="words")
    prompt = task.prompt(task.example_from_text(_BENIGN), vocabulary, max_tokens=_MAX_TOKENS)
    assert isinstance(prompt.decoding, LabelSet)
    for ids in prompt.decoding.label_token_ids:
        assert ids[-1] == vocabulary.end_answer_id
        _nothing_reserved(ids[:-1], vocabulary, what=f"label among {texts!r}")
    _same_control(prompt.token_ids, _plain_prompt("classification as words", vocabulary), vocabulary, what=f"{texts!r}")
    return 1


def _control(token_ids: Sequence[int], vocabulary: Vocabulary) -> list[int]:
    control = _control_ids(vocabulary)
    return [token_id for token_id in token_ids if token_id in control or not vocabulary.is_text(token_id)]


@cache
def _control_ids(vocabulary: Vocabulary) -> frozenset[int]:
    return frozenset(vocabulary.layout.special.control_ids.values())


def _nothing_reserved(token_ids: Sequence[int], vocabulary: Vocabulary, *, what: str) -> None:
    found = _control(token_ids, vocabulary)
    assert not found, f"{vocabulary.chat.name}: {what} holds {[vocabulary.describe(own) for own in found]}"


def _same_control(found: Sequence[int], plain: Sequence[int], vocabulary: Vocabulary, *, what: str) -> None:
    names = [[vocabulary.describe(own) for own in _control(ids, vocabulary)] for ids in (found, plain)]
    assert names[0] == names[1], f"{vocabulary.chat.name}: {what} has {names[0]}, a plain text {names[1]}"


# ------------------------------------------------------------------------------- over HTTP


def _check_over_http(text: str, server: Server) -> None:
    """Send a string with every character escaped, and let /tokenize show what became of it."""
    escaped = "".join(f"\\u{unit:04x}" for unit in _utf16(text))
    with server.client(headers={"Content-Type": "application/json"}) as client:
        shown = client.post("/tokenize", content=f'{{"prompt": "{escaped}"}}').raise_for_status().json()
        back = client.post("/detokenize", json={"tokens": shown["tokens"]}).json()["prompt"]
        _nothing_reserved(shown["tokens"], VOCABULARY, what=f"/tokenize of {text!r}")
        assert back == text, f"/detokenize of {text!r} is {back!r}"
        bodies = [f'{{"messages": [{{"role": "user", "content": "{own}"}}]}}' for own in (escaped, _BENIGN)]
        hostile, plain = (client.post("/tokenize", content=body).json()["tokens"] for body in bodies)
        _same_control(hostile, plain, VOCABULARY, what=f"/tokenize of a message {text!r}")


def _utf16(text: str) -> list[int]:
    data = text.encode("utf-16-be")
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]


_TRIALS = blocks("strings", total=_TOTAL, size=_BLOCK)

CELLS = (
    Cell(
        number="G13",
        fault=f"{_TOTAL:,} strings of control tokens of eight families, as they are, escaped, full-width, broken by "
        "zero-width signs, split over two fields; in every role and task and as labels, in our layout and another",
        passes_if="no reserved id comes of them; the control tokens are those of a plain text; decode(encode(x)) == x; "
        "/tokenize shows it",
        trials=_TRIALS,
        quick=(f"strings 1-{_BLOCK // 10}",),
        run=run,
        trial_size=f"{_BLOCK:,} strings",
    ),
)
