"""Model directories with more tokens, or another tokenizer: whole, loadable, and the source untouched."""

from __future__ import annotations

from pathlib import Path

import pytest

from banyan.core.errors import BanyanError, CheckpointError, ConfigError
from banyan.core.files import sha256_of
from banyan.core.model_directory import MANIFEST, new_model_directory
from banyan.model.checkpoint import save_model
from banyan.runtime.description import describe_model, write_description
from banyan.runtime.loading import load
from banyan.tasks.language_modeling import LanguageModeling
from banyan.testing.adapters import save_random_adapter
from banyan.testing.foreign_tokenizers import write_foreign_tokenizer
from banyan.testing.model_directories import save_tiny_model
from banyan.testing.models import tiny_model
from banyan.testing.vocabulary import tiny_vocabulary
from banyan.tokenizers.bpe import BytePairTokenizer
from banyan.transfer.vocabulary import GrowConfig
from banyan.workflows.growing import grow_directory, move_directory, source_texts
from banyan.workflows.tokenizers import train_tokenizer

RUSSIAN = "Привет, мир! Это хороший день для прогулки по лесу. Лес и мир.\n"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def russian(tmp_path: Path) -> Path:
    path = tmp_path / "russian.txt"
    path.write_text(RUSSIAN * 4, encoding="utf-8")
    return path


def save_plain_model(directory: Path) -> Path:
    """A model without pictures."""
    with new_model_directory(directory) as temporary:
        save_model(tiny_model(), temporary)
        tiny_vocabulary(["lm"]).save(temporary)
        write_description(temporary, describe_model([LanguageModeling(name="lm")]))
    return directory


def test_an_adapter_cannot_grow(source: Path, tmp_path: Path) -> None:
    adapter = save_random_adapter(tmp_path / "moods", source, tasks=[LanguageModeling(name="lm")])
    with pytest.raises(CheckpointError, match="moods is an adapter, and this needs a whole model"):
        grow_directory(adapter, tmp_path / "grown", GrowConfig(words=("banyan",)))
    assert not (tmp_path / "grown").exists()


def test_a_grown_model_answers_all_its_tasks(source: Path, russian: Path, tmp_path: Path) -> None:
    config = GrowConfig(num_tokens=40, sources=(str(russian),), words=("榕树",), special_tokens=("<|new|>",))
    before = sha256_of(source / MANIFEST)
    report = grow_directory(source, tmp_path / "grown", config)
    assert report.num_new_tokens > 40 and report.unlearned_words == () and sha256_of(source / MANIFEST) == before
    with load(tmp_path / "grown", device="cpu") as model, load(source, device="cpu") as old:
        assert list(model.tasks) == list(old.tasks)
        assert len(model.vocabulary.encode(RUSSIAN)) < 0.5 * len(old.vocabulary.encode(RUSSIAN))
        assert model.predict("topic", ["A tree"])[0].labels == pytest.approx(old.predict("topic", ["A tree"])[0].labels)
        assert len(model.draw("a tree", seed=1)) == 1
        assert model.generate("The", max_tokens=4, seed=1)
        assert model.description.parent == "tiny"


def test_a_model_without_pictures_gets_the_codes_of_an_image_tokenizer(source: Path, tmp_path: Path) -> None:
    plain = save_plain_model(tmp_path / "plain")
    report = grow_directory(plain, tmp_path / "grown", GrowConfig(), image_tokenizer=source)
    assert report.num_image_codes == 16 and report.num_after == report.num_before + 16
    with load(tmp_path / "grown", device="cpu") as model:
        assert model.model.config.grid_size == 2 and model.image_tokenizer is not None


def test_a_model_that_draws_keeps_its_own_image_tokenizer(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="draws pictures already"):
        grow_directory(source, tmp_path / "grown", GrowConfig(words=("x",)), image_tokenizer=source)


def test_a_moved_model_answers_all_its_tasks(source: Path, russian: Path, tmp_path: Path) -> None:
    train_tokenizer([russian], tmp_path / "tokenizer", vocab_size=300)
    report = move_directory(source, tmp_path / "tokenizer", tmp_path / "moved")
    assert report.num_copied >= 256 and report.num_composed > 0 and report.num_unknown_special == 0
    with load(tmp_path / "moved", device="cpu") as model, load(source, device="cpu") as old:
        assert list(model.tasks) == list(old.tasks)
        assert model.vocabulary.decode(model.vocabulary.encode(RUSSIAN)) == RUSSIAN
        assert model.bits_per_byte([RUSSIAN]) > 0 and len(model.draw("a tree", seed=1)) == 1


@pytest.mark.parametrize("family", ["gpt2", "llama2", "qwen3"])
def test_a_model_of_our_own_moves_to_a_foreign_tokenizer_with_its_special_tokens(
    family: str, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "theirs").mkdir()
    write_foreign_tokenizer(family, tmp_path / "theirs")
    move_directory(source, tmp_path / "theirs", tmp_path / "moved")
    with load(tmp_path / "moved", device="cpu") as model, load(source, device="cpu") as old:
        assert model.vocabulary.chat.name == "banyan" and list(model.tasks) == list(old.tasks)
        assert model.vocabulary.decode(model.vocabulary.encode(RUSSIAN)) == RUSSIAN
        for name in ("bos_id", "sep_id", "end_id"):
            before, now = getattr(old.vocabulary, name), getattr(model.vocabulary, name)
            assert model.model.embedding.weight[now].equal(old.model.embedding.weight[before])
        assert set(model.predict("topic", ["A tree"])[0].labels or ()) == {"tree", "树"}


def test_a_model_moves_to_the_text_tokenizer_that_a_run_keeps(source: Path, tmp_path: Path) -> None:
    text = BytePairTokenizer.train([RUSSIAN] * 4, vocab_size=300)
    (tmp_path / "tokenizer.json").write_text(text.to_json(), encoding="utf-8")
    report = move_directory(source, tmp_path / "tokenizer.json", tmp_path / "moved")
    assert report.num_copied >= 256 and report.num_unknown_special == 0


def test_a_file_of_another_name_is_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.txt").write_text("{}", encoding="utf-8")
    with pytest.raises(BanyanError, match=r"is not called tokenizer\.json"):
        move_directory(source, tmp_path / "tokenizer.txt", tmp_path / "moved")


def test_words_of_a_file_are_added(source: Path, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("banyans\n榕树\n", encoding="utf-8")
    grow_directory(source, tmp_path / "grown", GrowConfig(words_file=str(tmp_path / "words.txt")))
    with load(tmp_path / "grown", device="cpu") as model:
        assert [len(model.vocabulary.encode(word)) for word in ("banyans", " banyans", "榕树")] == [1, 1, 1]


def test_texts_come_from_files_and_from_the_catalog(
    russian: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data" / "tinyshakespeare"
    folder.mkdir(parents=True)
    (folder / "train.txt").write_text("To be", encoding="utf-8")
    monkeypatch.setenv("BANYAN_DATA", str(tmp_path / "data"))
    assert list(source_texts([str(russian), "tinyshakespeare"])) == [RUSSIAN * 4, "To be"]
    with pytest.raises(BanyanError):
        list(source_texts(["no such place"]))


def test_nothing_is_written_over_or_into_the_source(source: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for output, problem in ((tmp_path / "there", "is there already"), (source / "inside", "lies inside the model")):
        with pytest.raises(ConfigError, match=problem):
            grow_directory(source, output, GrowConfig(words=("x",)))


def test_what_adds_nothing_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing was added"):
        grow_directory(source, tmp_path / "grown", GrowConfig(words=("a",)))
    assert not (tmp_path / "grown").exists()
