"""What a frozen trunk makes of the data is computed once, kept exactly, and goes on where it was interrupted."""

from pathlib import Path
from typing import Any

import pytest
import torch

from banyan.core.types import TokenSequence
from banyan.data.features import FeatureLoader
from banyan.data.sequences import ExampleSequences
from banyan.model.transformer import Transformer
from banyan.testing.training import HEADS, TASKS, tiny_learner, tiny_loader, tiny_sequence
from banyan.train.features import TrunkFeatures, feature_loss
from banyan.train.losses import joint_loss

SEQUENCES = {task: [tiny_sequence(task, 100 * k + i) for i in range(40)] for k, task in enumerate(TASKS)}


def _features(model: Transformer, folder: Path, *, first_block: int = 2, **keys: Any) -> TrunkFeatures:
    return TrunkFeatures(
        model,
        sources=[ExampleSequences(task, sequences) for task, sequences in SEQUENCES.items()],
        task_heads=dict(zip(TASKS, HEADS, strict=True)),
        first_block=first_block,
        directory=folder,
        model_sha256="parent",
        **keys,
    )


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("first_block", [0, 1, 2])
def test_the_loss_from_features_is_the_joint_loss(tmp_path: Path, first_block: int) -> None:
    model = tiny_learner()
    features = _features(model, tmp_path, first_block=first_block)
    features.fill()
    batch = FeatureLoader(tiny_loader(), features).next_batch()
    kept = feature_loss(model, batch, task_heads=HEADS, first_block=first_block)
    torch.testing.assert_close(kept.loss_sums, joint_loss(model, batch, task_heads=HEADS).loss_sums)
    parts = [feature_loss(model, part, task_heads=HEADS, first_block=first_block) for part in batch.split(2)]
    torch.testing.assert_close(sum(part.loss_sums for part in parts), kept.loss_sums)


def test_an_interrupted_computation_goes_on_and_ends_with_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("banyan.train.features._CHUNK_SEQUENCES", 16)
    model = tiny_learner()
    _features(model, tmp_path / "whole").fill()

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    cut = _features(model, tmp_path / "cut")
    with pytest.raises(KeyboardInterrupt):
        cut.fill(on_progress=stop)
    assert 0 < cut.num_rows_done < cut.num_rows and not cut.is_complete
    _features(model, tmp_path / "cut").fill()
    assert _files(tmp_path / "cut") == _files(tmp_path / "whole")


def test_a_complete_file_is_not_computed_again_and_a_cut_one_is(tmp_path: Path) -> None:
    model = tiny_learner()
    _features(model, tmp_path).fill()
    before = _files(tmp_path)

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("computed again")

    again = _features(model, tmp_path)
    again._hidden = forbidden  # type: ignore[method-assign, assignment]
    again.fill()
    [data] = [path for path in tmp_path.iterdir() if path.suffix == ".float32"]
    data.write_bytes(data.read_bytes()[:-4])
    _features(model, tmp_path).fill()
    assert _files(tmp_path) == before


def test_another_model_or_depth_has_another_file(tmp_path: Path) -> None:
    model = tiny_learner()
    for first_block in (1, 2):
        _features(model, tmp_path, first_block=first_block).fill()
    assert len(_files(tmp_path)) == 4


def test_bfloat16_takes_half_the_room_and_keeps_two_digits(tmp_path: Path) -> None:
    model = tiny_learner()
    wide, narrow = (_features(model, tmp_path, number_format=name) for name in ("float32", "bfloat16"))
    wide.fill()
    narrow.fill()
    assert 2 * narrow.num_bytes == wide.num_bytes
    for sequences in SEQUENCES.values():
        torch.testing.assert_close(narrow.of(sequences[0]), wide.of(sequences[0]), rtol=1e-2, atol=1e-3)


def test_only_positions_that_a_head_looks_at_are_kept(tmp_path: Path) -> None:
    features = _features(tiny_learner(), tmp_path)
    features.fill()
    sequence = SEQUENCES["labels"][0]
    assert features.of(sequence)[:-1].eq(0).all() and features.of(sequence)[-1].any()
    everything = sum(len(s) for sequences in SEQUENCES.values() for s in sequences)
    assert features.num_rows < everything


def test_a_sequence_that_is_not_in_the_file_is_computed(tmp_path: Path) -> None:
    model = tiny_learner()
    features = _features(model, tmp_path, first_block=1)
    features.fill()
    other: TokenSequence = tiny_sequence("words", 9999, length=7)
    found = features.of(other)
    with torch.no_grad():
        expected = model.eval()(torch.tensor([other.token_ids]), num_blocks=1)[0]
    torch.testing.assert_close(found, expected)
