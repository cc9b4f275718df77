"""What a run writes of its samples is what the server reads of them."""

from __future__ import annotations

from pathlib import Path

from banyan.serve.run_samples import parse_samples, read_samples, sample_steps
from banyan.workflows.samples import Sample, samples_as_markdown

HARD = "one\n\n## task\n\nAsked:\n\n    Answered:\n```\n# end"


def test_a_page_is_read_back_as_it_was_written_whatever_the_model_said() -> None:
    written = [Sample(task="a b", prompt=HARD, answer=HARD, reference=HARD), Sample(task="榕", prompt="p", answer="答")]
    read = list(parse_samples(samples_as_markdown(written, step=3, pictures={})))
    assert [(s.task, s.asked, s.answered, s.right) for s in read] == [("a b", HARD, HARD, HARD), ("榕", "p", "答", "")]


def test_only_files_of_the_runs_own_folder_are_opened(tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("## x\n\nAsked:\n\n    secret\n")
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples/step-00000007.md").symlink_to(tmp_path / "secret.md")
    (tmp_path / "samples/notes.md").write_text("## y\n")
    (tmp_path / "samples/step-00000008.md").write_text("## ../../secret\n\nAsked:\n\n    q\n")
    assert sample_steps(tmp_path) == [8]
    assert read_samples(tmp_path, 7) == []
    assert [sample.b64_png for sample in read_samples(tmp_path, 8)] == [None]
    assert sample_steps(tmp_path / "nothing") == []
