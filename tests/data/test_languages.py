"""Languages are known by their names and codes, scripts by their letters."""

import pytest

from banyan.data.languages import language_code, scripts_of


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("en", "en"),
        ("German", "de"),
        ("zh-CN", "zh"),
        ("pt_BR", "pt"),
        ("de_AT", "de"),
        ("中文", "zh"),
        ("notes", None),
    ],
)
def test_a_language_is_known_under_its_names(name: str, code: str | None) -> None:
    assert language_code(name) == code


def test_scripts_come_with_the_commonest_first_and_without_rare_ones() -> None:
    assert scripts_of(["独木成林", "one tree, a whole forest"]) == ("Latin", "Han")
    assert scripts_of(["long English text with a single 字 in it"]) == ("Latin",)
    assert scripts_of(["123 !?"]) == ()
    assert scripts_of(["ひらがな", "Привет"]) == ("Cyrillic", "Kana")
