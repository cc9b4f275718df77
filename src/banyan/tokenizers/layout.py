"""Conversations and tasks as ids, in the chat format of a model.

What stands around a text is written as in `chat_formats`: control tokens become ids, the rest is encoded together
with what is said, so that the ids are those of the whole text. Nothing that is said can become a control token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from banyan.core.errors import InputError
from banyan.tokenizers.chat_formats import ASSISTANT, SYSTEM, USER, ChatFormat
from banyan.tokenizers.text import TextTokenizer

Said: TypeAlias = tuple[str, str]  # a role and what it says
_Behind: TypeAlias = Literal["nothing", "special", "text"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One message as ids. A token that reaches over a border belongs to the part in which it begins."""

    role: str
    opening: tuple[int, ...]
    content: tuple[int, ...]
    closing: tuple[int, ...]

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The whole message."""
        return self.opening + self.content + self.closing

    def __len__(self) -> int:
        return len(self.opening) + len(self.content) + len(self.closing)


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversation:
    """A conversation as ids, up to where the assistant is to speak."""

    begin: tuple[int, ...]
    turns: tuple[Turn, ...]
    ask: tuple[int, ...]

    @property
    def token_ids(self) -> tuple[int, ...]:
        """Everything."""
        return (*self.begin, *(token_id for turn in self.turns for token_id in turn.token_ids), *self.ask)

    @property
    def num_turn_tokens(self) -> int:
        """Tokens of the messages, without what stands before and after them."""
        return sum(map(len, self.turns))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Piece:
    """A text that we write (its control tokens count), or that somebody says."""

    text: str
    is_ours: bool = False


@dataclass(frozen=True, kw_only=True)
class SpecialIds:
    """The ids of a vocabulary that are more than text."""

    control_ids: Mapping[str, int]  # tokens that only code writes, by name
    bos_id: int
    eos_ids: tuple[int, ...]  # every id that ends a text or an answer; the first is the one we write
    pad_id: int
    start_ids: tuple[int, ...]  # put before any text; empty where the family puts nothing there


class ChatLayout:
    """Lays out conversations and tasks for a model that has no task tokens: a task is what a user asks."""

    def __init__(self, chat: ChatFormat, text: TextTokenizer, special: SpecialIds) -> None:
        self.chat = chat
        self.special = special
        self._text = text
        self._variables = _variables(special)
        names = sorted((name for name in special.control_ids if name), key=len, reverse=True)
        self._control = re.compile("(" + "|".join(map(re.escape, names)) + ")")
        self._openings: dict[str, tuple[int, ...]] = {}  # by what is said there

    @property
    def end_answer_id(self) -> int:
        """What an answer to a task ends with."""
        return self._ours(self.chat.end, behind="text")[-1]

    @property
    def end_reply_id(self) -> int:
        """What the assistant's message ends with."""
        return self.end_answer_id

    @property
    def drops_first_space(self) -> bool:
        """Whether an answer's first word has a space that does not belong to it."""
        return bool(self.chat.lead)

    def open_task(self, name: str, instruction: str, preface: str) -> tuple[int, ...]:
        """Return what stands before a task's source: the opening of a user's message, instruction and preface."""
        said = f"{instruction} {preface}".strip()
        if said not in self._openings:
            task = self.chat.task or self.chat.roles[USER]
            line = f"{said}\n" if said else ""
            default = () if self.chat.task else self._default_system()
            pieces = [_ours(self.chat.begin), *_said_by(self.chat, default), _ours(task.open), _Piece(text=line)]
            ids, _ = self._encode(pieces)
            self._openings[said] = tuple(token_id for own in ids for token_id in own)
        return self._openings[said]

    def separate(self) -> tuple[int, ...]:
        """Return what stands between two parts of a source."""
        return self._ours("\n", behind="text")

    def ask_answer(self) -> tuple[int, ...]:
        """Return what stands between a task's source and its answer."""
        if self.chat.task:
            return self._ours(self.chat.task.close, behind="text")
        return self._ours(self.chat.roles[USER].close + self.chat.roles[ASSISTANT].open, behind="text")

    def encode_answer(self, text: str) -> tuple[int, ...]:
        """Return the ids of an answer as the assistant says it, without its end."""
        said = text.strip() if self.chat.is_trimmed else text
        return tuple(self._text.encode_inside(self.chat.lead + said, after_special=self._asks_with_special)[0])

    def conversation(self, messages: Sequence[Said]) -> Conversation:
        """Lay out what was said so far, and ask the assistant to go on.

        Raises: InputError for a role the chat format does not have.
        """
        said = self._folded([*self._default_system(messages), *messages])
        pieces = [_ours(self.chat.begin), *_said_by(self.chat, said), _ours(self.chat.roles[ASSISTANT].open)]
        ids, _ = self._encode(pieces)
        turns = zip(said, ids[1::3], ids[2::3], ids[3::3], strict=False)
        return Conversation(
            begin=ids[0],
            turns=tuple(
                Turn(role=role, opening=opening, content=content, closing=closing)
                for (role, _), opening, content, closing in turns
            ),
            ask=ids[-1],
        )

    def _default_system(self, messages: Sequence[Said] = ()) -> tuple[Said, ...]:
        if self.chat.default_system is None or (messages and messages[0][0] == SYSTEM):
            return ()
        return ((SYSTEM, self.chat.default_system),)

    def _folded(self, messages: Sequence[Said]) -> list[Said]:
        """Put what the system says into the user's next message, in families that have no message of its own for it."""
        marks, heard, folded = self.chat.system_inside, "", []
        for role, content in messages:
            if marks is not None and role == SYSTEM:
                heard += marks.open + content + marks.close
                continue
            folded.append((role, heard + content if role == USER else content))
            heard = "" if role == USER else heard
        return [*folded, (USER, heard)] if heard else folded

    @property
    def _asks_with_special(self) -> bool:
        asked = self._resolved(self.chat.roles[USER].close + self.chat.roles[ASSISTANT].open)
        return self.chat.task is None and isinstance(list(self._parts(asked))[-1], int)

    def _ours(self, text: str, *, behind: _Behind) -> tuple[int, ...]:
        return self._encode([_ours(text)], behind=behind)[0][0]

    def _encode(
        self, pieces: Sequence[_Piece], *, behind: _Behind = "nothing"
    ) -> tuple[list[tuple[int, ...]], _Behind]:
        """Return the ids of each piece, and what the last one ends with."""
        ids: list[list[int]] = [[] for _ in pieces]
        run: list[tuple[int, str]] = []  # neighbouring texts and the pieces they come from
        for number, piece in enumerate(pieces):
            parts = self._parts(self._resolved(piece.text)) if piece.is_ours else iter([piece.text])
            for part in parts:
                if isinstance(part, int):
                    self._encode_run(run, ids, behind=behind)
                    ids[number].append(part)
                    run, behind = [], "special"
                elif part:
                    run.append((number, part))
        self._encode_run(run, ids, behind=behind)
        return [tuple(own) for own in ids], "text" if run else behind

    def _encode_run(self, run: Sequence[tuple[int, str]], ids: list[list[int]], *, behind: _Behind) -> None:
        """Encode neighbouring texts as one, and give each id to the piece in which it begins."""
        whole = "".join(text for _, text in run)
        if not whole:
            return
        if behind == "nothing":
            token_ids, offsets = self._text.encode_with_offsets(whole)
        else:
            token_ids, offsets = self._text.encode_inside(whole, after_special=behind == "special")
        ends, at = [], 0
        for _, text in run:
            at += len(text)
            ends.append(at)
        place = 0
        for token_id, (start, _) in zip(token_ids, offsets, strict=True):
            while start >= ends[place] and place + 1 < len(run):
                place += 1
            ids[run[place][0]].append(token_id)

    def _resolved(self, text: str) -> str:
        for variable, token in self._variables.items():
            text = text.replace(variable, token)
        return text

    def _parts(self, text: str) -> Iterator[str | int]:
        """Split a text of ours into ordinary text and the ids of control tokens."""
        for part in self._control.split(text):
            if part:
                yield self.special.control_ids.get(part, part)


def _variables(special: SpecialIds) -> dict[str, str]:
    names = {token_id: name for name, token_id in special.control_ids.items()}
    bos, eos = names[special.bos_id], names[special.eos_ids[0]]
    return {"{bos}": bos, "{eos}": eos, "{start}": bos if special.start_ids else ""}


def _ours(text: str) -> _Piece:
    return _Piece(text=text, is_ours=True)


def _said_by(chat: ChatFormat, said: Sequence[Said]) -> list[_Piece]:
    """Return opening, content and closing of every message."""
    pieces = []
    for role, content in said:
        if role not in chat.roles:
            known = ", ".join(chat.roles)
            raise InputError(f"role {role!r} is not part of the chat format {chat.name}; known: {known}.")
        marks = chat.roles[role]
        spoken = content.strip() if chat.is_trimmed else content
        lead = chat.lead if role == ASSISTANT else ""
        pieces += [_ours(marks.open), _Piece(text=lead + spoken), _ours(marks.close)]
    return pieces
