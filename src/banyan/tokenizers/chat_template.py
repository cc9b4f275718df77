"""The same chat format as a Jinja template for other tools. We never execute one; a test compares the ids."""

from __future__ import annotations

import re

from banyan.tokenizers.chat_formats import ASSISTANT, SYSTEM, USER, ChatFormat, Marks

_VARIABLE = re.compile(r"(\{bos\}|\{eos\}|\{start\})")


def chat_template(chat: ChatFormat, *, starts_with_bos: bool = False) -> str:
    """Return the template of a chat format; `starts_with_bos` says what the vocabulary puts before any text."""
    start = "{bos}" if starts_with_bos else ""
    parts = [_print(chat.begin.replace("{start}", start)), _default_system(chat)]
    if chat.system_inside is None:
        parts.append(_messages(chat))
    else:
        parts.append(_messages_with_system_inside(chat, chat.system_inside))
    ask = _print(chat.roles[ASSISTANT].open)
    return "".join([*parts, "{% if add_generation_prompt %}" + ask + "{% endif %}" if ask else ""])


def _default_system(chat: ChatFormat) -> str:
    if chat.default_system is None:
        return ""
    marks = chat.roles[SYSTEM]
    said = _print(marks.open + chat.default_system + marks.close)
    return "{% if messages[0]['role'] != 'system' %}" + said + "{% endif %}"


def _messages(chat: ChatFormat) -> str:
    branches = [_when(number, role) + _say(chat, role, "message['content']") for number, role in enumerate(chat.roles)]
    return "{% for message in messages %}" + "".join(branches) + _REFUSE + "{% endif %}{% endfor %}"


def _messages_with_system_inside(chat: ChatFormat, inside: Marks) -> str:
    """Keep what the system says until the user speaks; at the end it speaks alone."""
    heard = _join("inside.system", _expression(inside.open), "message['content']", _expression(inside.close))
    return (
        "{% set inside = namespace(system='') %}{% for message in messages %}"
        + _when(0, SYSTEM)
        + "{% set inside.system = "
        + heard
        + " %}"
        + _when(1, USER)
        + _say(chat, USER, "(inside.system + message['content'])")
        + "{% set inside.system = '' %}"
        + _when(2, ASSISTANT)
        + _say(chat, ASSISTANT, "message['content']")
        + _REFUSE
        + "{% endif %}{% endfor %}{% if inside.system %}"
        + _say(chat, USER, "inside.system")
        + "{% endif %}"
    )


_REFUSE = "{% else %}{{ raise_exception('role ' + message['role'] + ' is not part of this chat format') }}"


def _when(number: int, role: str) -> str:
    return f"{{% {'elif' if number else 'if'} message['role'] == '{role}' %}}"


def _say(chat: ChatFormat, role: str, content: str) -> str:
    marks = chat.roles[role]
    opening = marks.open + (chat.lead if role == ASSISTANT else "")
    spoken = f"({content} | trim)" if chat.is_trimmed else content
    return "{{ " + _join(_expression(opening), spoken, _expression(marks.close)) + " }}"


def _print(text: str) -> str:
    return "{{ " + _expression(text) + " }}" if text else ""


def _join(*expressions: str) -> str:
    return " + ".join(expression for expression in expressions if expression)


def _expression(text: str) -> str:
    """Write a text of marks as a Jinja expression; empty for an empty text."""
    variables = {"{bos}": "bos_token", "{eos}": "eos_token"}
    return _join(*(variables.get(part) or _literal(part) for part in _VARIABLE.split(text) if part))


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"
