"""Keras GPT-2: real files of a transformers release that wrote them, and what can be wrong with such a file."""

import json
import shutil
import sys
from pathlib import Path

import numpy
import pytest
import torch

from banyan.core.errors import CheckpointError, MissingExtraError
from banyan.model.checkpoint import load_model
from banyan.transfer.formats import open_foreign
from banyan.transfer.model_files import write_model_files

h5py = pytest.importorskip("h5py", reason="needs the extra keras")
FIXTURE = Path(__file__).parent.parent / "fixtures" / "keras-gpt2"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "keras"
    folder.mkdir()
    for name in ("tf_model.h5", "config.json"):
        shutil.copy(FIXTURE / name, folder / name)
    return folder


def logits_of(source: Path, directory: Path) -> numpy.ndarray:
    directory.mkdir()
    write_model_files(open_foreign(source), directory)
    model = load_model(directory)
    with torch.no_grad():
        token_ids = torch.from_numpy(numpy.load(FIXTURE / "expected.npz")["token_ids"])
        return model.logits(model(token_ids))[:, ::8].numpy()


def expected_logits() -> numpy.ndarray:
    return numpy.load(FIXTURE / "expected.npz")["logits"]


def test_logits_are_those_of_tensorflow(source: Path, tmp_path: Path) -> None:
    assert expected_logits().std() > 0.1
    numpy.testing.assert_allclose(logits_of(source, tmp_path / "model"), expected_logits(), atol=1e-4, rtol=0)


def test_a_file_without_a_head_has_the_same_weights_under_other_names(source: Path, tmp_path: Path) -> None:
    shutil.copy(FIXTURE / "base.h5", source / "tf_model.h5")
    numpy.testing.assert_allclose(logits_of(source, tmp_path / "model"), expected_logits(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["tf_model.h5", "weights.h5"])
def test_the_file_itself_can_be_named_as_well_as_its_folder(source: Path, name: str) -> None:
    (source / "tf_model.h5").rename(source / name)
    assert open_foreign(source / name).format == "keras_gpt2"


def rewrite(path: Path, rename: dict[str, str]) -> None:
    """Write the file again with parts of its names changed."""
    with h5py.File(FIXTURE / "tf_model.h5") as old, h5py.File(path, "w") as new:

        def copy(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset):
                for before, after in rename.items():
                    name = name.replace(before, after)
                new[name] = item[()]

        old.visititems(copy)


@pytest.mark.parametrize(
    "rename",
    [
        {"tfgpt2lm_head_model": "tfgp_t2lm_head_model", "wte/embeddings": "wte/weight"},  # the hub's gpt2
        {"transformer/tfgpt2lm_head_model/": "tfgp_t2lm_head_model_3/"},
        {"h_._": "h/", ":0": ""},
        {"transformer/tfgpt2lm_head_model/transformer/": ""},
    ],
)
def test_older_and_shorter_names_are_understood(source: Path, tmp_path: Path, rename: dict[str, str]) -> None:
    rewrite(source / "tf_model.h5", rename)
    numpy.testing.assert_allclose(logits_of(source, tmp_path / "model"), expected_logits(), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("rename", "words"),
    [
        ({"h_._1/ln_1/gamma": "h_._1/ln_1/other"}, r"lacks tensor transformer.h.1.ln_1.weight"),
        ({"wpe": "positions"}, "lacks tensor transformer.wpe.weight"),
        ({"h_._": "layers_"}, "lacks tensor transformer.h.0"),
    ],
)
def test_weights_under_unknown_names_are_refused(source: Path, rename: dict[str, str], words: str) -> None:
    rewrite(source / "tf_model.h5", rename)
    with pytest.raises(CheckpointError, match=words):
        open_foreign(source)


def test_weights_that_are_there_twice_are_refused(source: Path) -> None:
    with h5py.File(source / "tf_model.h5", "a") as file:
        file["other/wpe/embeddings:0"] = numpy.zeros((48, 8), "f4")
    with pytest.raises(CheckpointError, match="holds transformer.wpe.weight twice"):
        open_foreign(source)


@pytest.mark.parametrize(("field", "value"), [("n_embd", 16), ("vocab_size", 276), ("n_layer", 3), ("n_inner", 8)])
def test_a_config_of_another_model_is_refused(source: Path, field: str, value: int) -> None:
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, field: value}))
    with pytest.raises(CheckpointError, match="has shape|lacks tensor"):
        open_foreign(source)


def test_a_missing_config_is_asked_for(source: Path) -> None:
    (source / "config.json").unlink()
    with pytest.raises(CheckpointError, match="how many heads"):
        open_foreign(source)


@pytest.mark.parametrize("kept", [0.2, 0.6, 0.97])
def test_a_truncated_file_is_refused_in_one_line(source: Path, kept: float) -> None:
    content = (source / "tf_model.h5").read_bytes()
    (source / "tf_model.h5").write_bytes(content[: int(kept * len(content))])
    with pytest.raises(CheckpointError, match="truncated or corrupt") as error:
        open_foreign(source)
    assert "\n" not in str(error.value)


def test_flipped_bytes_are_weights_or_one_line_of_error(source: Path) -> None:
    content = (source / "tf_model.h5").read_bytes()
    generator = numpy.random.default_rng(1)
    refused = 0
    for _ in range(60):
        damaged = bytearray(content)
        for place in generator.integers(0, len(content), 30):
            damaged[place] = generator.integers(256)
        (source / "tf_model.h5").write_bytes(damaged)
        try:
            tensors = open_foreign(source).tensors
            assert all(tensors[name].shape == tensors.info(name).shape for name in tensors)
        except CheckpointError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 10  # most of a file are numbers, any of which could be a weight


def test_links_inside_the_file_are_not_followed(source: Path) -> None:
    with h5py.File(source / "tf_model.h5", "a") as file:
        file["elsewhere"] = h5py.ExternalLink("other.h5", "/weights")
    with pytest.raises(CheckpointError, match="is a link"):
        open_foreign(source)


def test_a_group_inside_itself_is_no_endless_way(source: Path) -> None:
    with h5py.File(source / "tf_model.h5", "a") as file:
        file["circle/circle"] = file["transformer"]
        file["transformer/back"] = file["circle"]
    with pytest.raises(CheckpointError, match="lies deeper|twice"):
        open_foreign(source)


def test_numbers_kept_in_another_file_are_not_read(source: Path) -> None:
    with h5py.File(source / "tf_model.h5", "a") as file:
        file.create_dataset("outside", (4,), "f4", external=[(str(source / "raw.bin"), 0, 16)])
    with pytest.raises(CheckpointError, match="in another file"):
        open_foreign(source)


def test_without_h5py_the_extra_is_named(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match="h5py") as error:
        open_foreign(source)
    assert error.value.hint and "[keras]" in error.value.hint
