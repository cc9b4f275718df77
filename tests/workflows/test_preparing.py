from pathlib import Path

import pytest

from banyan.core.errors import BusyError, ConfigError
from banyan.core.files import sha256_of
from banyan.core.locks import hold_directory
from banyan.data.corpus import load_corpus
from banyan.tokenizers.vocabulary_loading import load_own_vocabulary
from banyan.workflows.preparing import CorpusReport, prepare
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.tokenizers import train_tokenizer


class Stages(SilentReporter):
    def __init__(self) -> None:
        self.names: list[str] = []

    def stage(self, name: str) -> None:
        self.names.append(name)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    for n in range(5):
        (folder / f"{n}.txt").write_text(f"The banyan 榕树 has sent down root number {n}.\n", "utf-8")
    return folder


def run(
    notes: Path, output: Path, *, tokenizer: Path | None = None, vocab_size: int = 270
) -> tuple[CorpusReport, list[str]]:
    stages = Stages()
    report = prepare([notes], output, tokenizer=tokenizer, vocab_size=vocab_size, reporter=stages)
    return report, stages.names


def test_the_shards_hold_the_texts(notes: Path, tmp_path: Path) -> None:
    report, stages = run(notes, tmp_path / "out")
    found, shards = load_corpus(tmp_path / "out")
    vocabulary = load_own_vocabulary(tmp_path / "out")
    texts = {vocabulary.decode([int(i) for i in document]) for shard in shards for document in shard}
    assert found == report and stages == ["tokenizer", "prepare"]
    assert {text.strip() for text in texts} == {path.read_text("utf-8").strip() for path in notes.iterdir()}


def test_a_finished_corpus_is_kept(notes: Path, tmp_path: Path) -> None:
    first, _ = run(notes, tmp_path / "out")
    again, stages = run(notes, tmp_path / "out")
    assert again == first and stages == ["prepare"]


def test_another_size_makes_another_tokenizer(notes: Path, tmp_path: Path) -> None:
    run(notes, tmp_path / "out", vocab_size=256)
    report, stages = run(notes, tmp_path / "out", vocab_size=290)
    assert stages == ["tokenizer", "prepare"]
    assert load_own_vocabulary(tmp_path / "out").text.vocab_size == 290
    assert run(notes, tmp_path / "fresh", vocab_size=290)[0] == report


def test_a_tokenizer_that_somebody_put_there_is_used(notes: Path, tmp_path: Path) -> None:
    train_tokenizer([notes], tmp_path / "out", vocab_size=256)
    assert run(notes, tmp_path / "out", vocab_size=290)[1] == ["prepare"]
    assert load_own_vocabulary(tmp_path / "out").text.vocab_size == 256


def test_another_tokenizer_cuts_the_corpus_anew(notes: Path, tmp_path: Path) -> None:
    sizes = []
    for size in (256, 290):
        train_tokenizer([notes], tmp_path / f"t{size}", vocab_size=size)
        sizes.append(run(notes, tmp_path / "out", tokenizer=tmp_path / f"t{size}")[0].num_tokens)
    assert sizes[0] > sizes[1]


def test_a_folder_that_another_process_prepares_is_left_alone(notes: Path, tmp_path: Path) -> None:
    train_tokenizer([notes], tmp_path / "t", vocab_size=270)
    with hold_directory(tmp_path / "out"), pytest.raises(BusyError):
        run(notes, tmp_path / "out", tokenizer=tmp_path / "t")


def test_a_model_directory_stays_whole(notes: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/manifest.json").touch()
    with pytest.raises(ConfigError, match="is a model directory"):
        run(notes, tmp_path / "model")


def test_a_tokenizer_from_elsewhere_is_laid_beside_the_shards_it_cut(notes: Path, tmp_path: Path) -> None:
    train_tokenizer([notes], tmp_path / "elsewhere", vocab_size=280)
    report, _ = run(notes, tmp_path / "out", tokenizer=tmp_path / "elsewhere")
    copy = tmp_path / "out/tokenizer.json"
    assert copy.read_bytes() == (tmp_path / "elsewhere/tokenizer.json").read_bytes()
    assert report.tokenizer_sha256 == sha256_of(copy)
