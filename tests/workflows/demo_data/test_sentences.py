from __future__ import annotations

import pytest

from banyan.workflows.demo_data.sentences import first_sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Do it. Then rest.", "Do it."),
        ("Do it\nnow.\nThen rest.", "Do it\nnow."),
        ("No full stop\n\nNext part.", "No full stop"),
        ("Use a name, e.g. spam, here. Good.", "Use a name, e.g. spam, here."),
        ("Read os.path first. Good.", "Read os.path first."),
        ("Wait ... and see. Good.", "Wait ... and see."),
        ("Nothing else", "Nothing else"),
    ],
)
def test_a_sentence_ends_at_its_full_stop_or_an_empty_line(text: str, sentence: str) -> None:
    assert first_sentence(text) == sentence
