"""Names and codes of languages, as file and column names spell them, and a simple look at a text's script."""

from __future__ import annotations

from collections.abc import Iterable

_NAMES: dict[str, tuple[str, ...]] = {
    "en": ("eng", "english"),
    "zh": ("zho", "chi", "cmn", "chinese", "zh-cn", "zh-tw", "zh-hans", "zh-hant", "cn", "中文"),
    "de": ("deu", "ger", "german", "deutsch"),
    "fr": ("fra", "fre", "french", "francais", "français"),
    "es": ("spa", "spanish", "espanol", "español"),
    "it": ("ita", "italian", "italiano"),
    "nl": ("nld", "dut", "dutch", "nederlands"),
    "pt": ("por", "portuguese", "português", "pt-br"),
    "ru": ("rus", "russian", "русский"),
    "ja": ("jpn", "japanese", "日本語", "jp"),
    "ko": ("kor", "korean", "한국어"),
    "ar": ("ara", "arabic"),
    "hi": ("hin", "hindi"),
    "tr": ("tur", "turkish"),
    "pl": ("pol", "polish"),
    "sv": ("swe", "swedish"),
    "cs": ("ces", "cze", "czech", "cz"),
    "vi": ("vie", "vietnamese"),
    "uk": ("ukr", "ukrainian"),
    "fi": ("fin", "finnish"),
    "da": ("dan", "danish"),
    "el": ("ell", "gre", "greek"),
    "he": ("heb", "hebrew"),
    "ro": ("ron", "rum", "romanian"),
    "hu": ("hun", "hungarian"),
    "la": ("lat", "latin"),
}
LANGUAGE_CODES = {spelling: code for code, names in _NAMES.items() for spelling in (code, *names)}

_SCRIPTS = {
    "Latin": ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F)),
    "Han": ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0x20000, 0x323AF)),
    "Kana": ((0x3040, 0x30FF),),
    "Hangul": ((0xAC00, 0xD7AF),),
    "Cyrillic": ((0x400, 0x52F),),
    "Greek": ((0x370, 0x3FF),),
    "Arabic": ((0x600, 0x6FF),),
    "Hebrew": ((0x590, 0x5FF),),
    "Devanagari": ((0x900, 0x97F),),
}


def language_code(name: str) -> str | None:
    """Return the code of a language under any of its spellings: German, deu, de_DE → de; None if it is not known."""
    key = name.strip().lower().replace("_", "-")
    return LANGUAGE_CODES.get(key) or (LANGUAGE_CODES.get(key.split("-")[0]) if "-" in key else None)


def scripts_of(texts: Iterable[str], *, least_share: float = 0.05) -> tuple[str, ...]:
    """Return the scripts that letters of these texts belong to, the commonest first; rare ones are left out."""
    counts = dict.fromkeys(_SCRIPTS, 0)
    for text in texts:
        for character in text:
            if (script := _script_of(ord(character))) is not None:
                counts[script] += 1
    total = sum(counts.values())
    often = [script for script, count in counts.items() if count and count >= least_share * total]
    return tuple(sorted(often, key=lambda script: -counts[script]))


def _script_of(code_point: int) -> str | None:
    for script, ranges in _SCRIPTS.items():
        if any(first <= code_point <= last for first, last in ranges):
            return script
    return None
