"""Texts that are hard to cut into pieces: emoji and what joins them, CJK, right to left, marks, edges of Unicode."""

from __future__ import annotations

import random

_PARTS = (
    *("👩‍👩‍👧‍👦", "👩🏽‍💻", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "🇩🇪🇨🇳", "❤️‍🔥", "1️⃣", "🌳", "🫠", "👋🏿"),  # joined, toned, tagged, flags, keycaps
    *("独木成林", "一棵树", "龘", "𠮷", "𪚥", "の", "カ゚", "한국어", "각"),  # also beyond 16 bits
    *("שלום", "مرحبا", "עבר‎ית", "‮abc‬", "⁦x⁩", "لا"),  # right to left, overrides, isolates
    *("é", "e\u0301", "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤a", "नि", "க்ஷ", "ก็", "ﷺ"),  # marks that pile up
    *("\u200b", "\u200d", "\ufeff", "\u2028", "\u00a0", "\u00ad", "\ufffd", "\ufffe", "\U0010ffff", "\ue000"),
    *("\t", "\r\n", "\x7f", "\x1b[31m", "\x01", "\\u0000", "\\ud800", '"', "</s>", "<|end|>"),
    *("the", "banyan", "grows", "def", "naïve", "ﬁ", "Ⅷ", "½"),
)


def hard_text(draw: random.Random, *, most_parts: int = 8) -> str:
    """Return a text of a few parts, not all of it space."""
    parts = draw.choices(_PARTS, k=draw.randint(1, most_parts))
    text = draw.choice(("", " ")).join(parts)
    return text if text.strip() else f"{text}树"


def impossible_text(draw: random.Random) -> str:
    """Return a text that no database takes: with NUL, or with half of a pair of surrogates."""
    text, place = hard_text(draw), draw.choice(("\0", "\ud800", "\udfff"))
    middle = draw.randint(0, len(text))
    return text[:middle] + place + text[middle:]
