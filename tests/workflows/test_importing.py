import json
import os
import shutil
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from banyan.core.errors import CheckpointError, ConfigError, FileError, SpaceError
from banyan.core.model_directory import verify_manifest
from banyan.model.checkpoint import load_model, save_model
from banyan.model.presets import GPT2_SHAPE
from banyan.runtime.description import read_description
from banyan.runtime.loading import load
from banyan.testing.models import tiny_model, tiny_model_config
from banyan.testing.own_modules import module_with
from banyan.workflows import importing
from banyan.workflows.exporting import export_model
from banyan.workflows.importing import check_import, import_model
from banyan.workflows.reporter import SilentReporter

FIXTURE = Path(__file__).parent.parent / "fixtures" / "keras-gpt2"  # for its vocab.json and merges.txt: 275 tokens
VOCABULARY = 275


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A GPT-2 as another tool has it: config, weights, vocab.json and merges.txt."""
    shape = {**GPT2_SHAPE, "num_kv_heads": 4, "qk_norm": "none", "vocab_size": VOCABULARY}
    folder = tmp_path / "stock"
    save_model(tiny_model(tiny_model_config(**shape)).to(torch.bfloat16), folder, eos_ids=[VOCABULARY - 1])
    (folder / "model.json").unlink()
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(FIXTURE / name, folder / name)
    return folder


def bring_in(source: Path, directory: Path, *, reporter: SilentReporter | None = None) -> importing.ImportReport:
    return import_model(source, directory, format="auto", reporter=reporter or SilentReporter())


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_an_imported_model_is_a_whole_model_directory(source: Path, tmp_path: Path) -> None:
    report = bring_in(source, tmp_path / "models" / "mine")
    assert report.directory == tmp_path / "models" / "mine"
    expected = {"config.json", "generation_config.json", "model.json", "model.safetensors", "banyan.json"}
    assert set(verify_manifest(report.directory)) == expected | {"tokenizer.json", "tokenizer_config.json"}
    description = read_description(report.directory)
    assert (description.chat, description.parent, description.tasks) == ("plain", "stock", ())
    assert description.parent_sha256 == report.weights_sha256


def test_an_imported_model_continues_a_text_as_its_weights_say(source: Path, tmp_path: Path) -> None:
    bring_in(source, tmp_path / "mine")
    with load(tmp_path / "mine", device="cpu") as loaded:
        token_ids = loaded.vocabulary.encode("the tree stands")
        logits = loaded.model.logits(loaded.model(torch.tensor([token_ids])))
    model = load_model(tmp_path / "mine")
    assert torch.equal(logits, model.logits(model(torch.tensor([token_ids]))))


def test_weights_come_in_as_they_are(source: Path, tmp_path: Path) -> None:
    bring_in(source, tmp_path / "mine")
    found, original = (load_file(folder / "model.safetensors") for folder in (tmp_path / "mine", source))
    assert found.keys() == original.keys()
    assert all(found[name].dtype == torch.bfloat16 and torch.equal(found[name], original[name]) for name in original)


def test_what_came_in_goes_out_byte_for_byte(source: Path, tmp_path: Path) -> None:
    bring_in(source, tmp_path / "mine")
    export_model(tmp_path / "mine", tmp_path / "out", format="hf", reporter=SilentReporter())
    found, original = (load_file(folder / "model.safetensors") for folder in (tmp_path / "out", source))
    assert found.keys() == original.keys()
    assert all(torch.equal(found[name].view(torch.uint8), original[name].view(torch.uint8)) for name in original)


def test_importing_twice_writes_the_same_bytes(source: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        bring_in(source, tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_check_says_what_is_there_and_writes_nothing(source: Path, tmp_path: Path) -> None:
    before = files_below(tmp_path)
    check = check_import(source, format="auto")
    assert files_below(tmp_path) == before
    assert (check.format, check.architecture, check.chat) == ("hugging_face", "gpt2", "plain")
    assert (check.tokenizer_size, check.model.vocab_size, check.dtypes) == (VOCABULARY, VOCABULARY, ("BF16",))
    assert check.memory_bytes == 2 * check.disk_bytes == 4 * check.num_parameters
    assert check.cache_bytes_per_token == 2 * 2 * 32 * 4  # keys and values, two layers, all heads, float32


def test_a_model_that_is_too_large_for_the_memory_is_seen_before(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_import(source, format="auto").fits
    little = psutil.virtual_memory()._replace(available=1000)
    monkeypatch.setattr(importing, "psutil", module_with(psutil, virtual_memory=lambda: little))
    assert not check_import(source, format="auto").fits


def broken(source: Path, what: str) -> None:
    if what == "truncated":
        content = (source / "model.safetensors").read_bytes()
        (source / "model.safetensors").write_bytes(content[:-100])
    elif what == "architecture":
        (source / "config.json").write_text('{"model_type": "mamba"}')
    elif what == "tokenizer":
        (source / "vocab.json").unlink()
    else:
        vocabulary = json.loads((source / "vocab.json").read_text())
        vocabulary["<|extra|>"] = len(vocabulary)
        (source / "vocab.json").write_text(json.dumps(vocabulary))


@pytest.mark.parametrize("what", ["truncated", "architecture", "tokenizer", "vocabulary"])
def test_a_broken_source_is_refused_in_one_line_and_nothing_is_written(source: Path, tmp_path: Path, what: str) -> None:
    broken(source, what)
    before = files_below(tmp_path)
    with pytest.raises(CheckpointError) as error:
        bring_in(source, tmp_path / "deep" / "mine")
    assert "\n" not in str(error.value)
    assert files_below(tmp_path) == before
    with pytest.raises(CheckpointError):
        check_import(source, format="auto")


def test_a_vocabulary_that_does_not_fit_says_both_sizes(source: Path) -> None:
    broken(source, "vocabulary")
    with pytest.raises(CheckpointError, match="ids up to 275, and the model has 275 rows"):
        check_import(source, format="auto")


class StoppedReporter(SilentReporter):
    """Somebody presses Ctrl-C while weights are written."""

    def progress(self, done: float, total: float, *, note: str = "") -> None:
        if done > total / 2:
            raise KeyboardInterrupt


def test_an_interrupted_import_leaves_nothing(source: Path, tmp_path: Path) -> None:
    before = files_below(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        bring_in(source, tmp_path / "mine", reporter=StoppedReporter())
    assert files_below(tmp_path) == before


def test_a_folder_that_exists_is_not_touched(source: Path, tmp_path: Path) -> None:
    for name in ("mine", "link"):
        with pytest.raises(ConfigError, match="exists; an import begins a new folder"):
            (tmp_path / name).symlink_to(tmp_path / "gone") if name == "link" else (tmp_path / name).mkdir()
            bring_in(source, tmp_path / name)
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_source_that_is_not_there_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="not found"):
        bring_in(tmp_path / "gone", tmp_path / "mine")


def test_a_disk_without_room_is_seen_before_anything_is_written(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    little = module_with(shutil, disk_usage=lambda _: usage._replace(free=1000))
    monkeypatch.setattr("banyan.core.files.shutil", little)
    before = files_below(tmp_path)
    with pytest.raises(SpaceError, match="need .* free"):
        bring_in(source, tmp_path / "mine")
    assert files_below(tmp_path) == before


def test_the_real_model_of_llama2c_answers_after_import(tmp_path: Path) -> None:
    data = os.environ.get("BANYAN_DATA")
    if not data or not (Path(data) / "stories260K").is_dir():
        pytest.skip("needs stories260K of the shared data; BANYAN_DATA does not name them")
    bring_in(Path(data) / "stories260K", tmp_path / "mine")
    expected = json.loads((Path(data) / "stories260K" / "reference.json").read_text())
    with load(tmp_path / "mine", device="cpu") as loaded:
        assert loaded.vocabulary.decode(expected["greedy_ids"][1:]).strip() == expected["greedy_text"].strip()
