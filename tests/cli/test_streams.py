import io
import os
import sys
from pathlib import Path

import pytest

from banyan.cli.streams import flush_output, harmless, open_closed_streams, reader_has_gone, speak_utf8, visible


def raised_while_handling(error: BaseException, outer: BaseException) -> BaseException:
    outer.__context__ = error
    return outer


def test_a_broken_pipe_is_known_also_where_a_library_made_an_exit_of_it() -> None:
    assert reader_has_gone(BrokenPipeError())
    assert reader_has_gone(raised_while_handling(BrokenPipeError(), SystemExit(1)))


def test_no_other_error_is_taken_for_one() -> None:
    assert not reader_has_gone(SystemExit(1))
    assert not reader_has_gone(OSError())
    assert not reader_has_gone(raised_while_handling(BrokenPipeError(), ValueError()))


def test_missing_streams_become_silent_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stdin", None)
    open_closed_streams()
    assert sys.stdout.write("nobody hears this")
    assert sys.stdin.read() == ""
    sys.stdout.close()
    sys.stdin.close()


def test_opening_them_leaves_no_file_open() -> None:
    before = set(os.listdir("/dev/fd"))
    open_closed_streams()
    assert set(os.listdir("/dev/fd")) <= before  # a server of another test may close a connection meanwhile


def test_input_is_utf8_without_its_mark_and_keeps_what_is_not_utf8_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbf\xe4\xb8\x96 caf\xe9\n"), encoding="ascii")
    monkeypatch.setattr(sys, "stdin", typed)
    speak_utf8()
    assert typed.read() == "世 caf\udce9\n"


def test_output_is_utf8_whatever_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", shown)
    speak_utf8()
    shown.write("世 \udce9")
    shown.flush()
    assert shown.buffer.getvalue() == "世 \\udce9".encode()  # type: ignore[attr-defined]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_output_that_cannot_be_written_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        full.write("x")
        with pytest.raises(OSError, match="No space left"):
            flush_output()
        flush_output()  # as Python does at its end


def test_what_could_command_a_terminal_is_written_out() -> None:
    assert visible("a\x1b[31m\x07\x9b b\r") == "a\\x1b[31m\\x07\\x9b b\\x0d"


@pytest.mark.parametrize("text", ["世界\u3000全角", "👩\u200d🔬", "a\tb\nc", "naïve é"])
def test_text_of_any_script_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_only_a_terminal_must_be_protected_from_a_models_words(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert harmless("a\x1b") == "a\x1b"
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert harmless("a\x1b") == "a\\x1b"
