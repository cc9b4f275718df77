from __future__ import annotations

import json
from pathlib import Path

import pytest

from banyan.core.errors import CheckpointError, FileError
from banyan.core.files import read_json
from banyan.testing.vocabulary import tiny_vocabulary
from banyan.tokenizers.vocabulary_loading import is_grown, load_own_vocabulary

TASKS = ["a", "b"]


def test_a_saved_vocabulary_loads_the_same(tmp_path: Path) -> None:
    vocabulary = tiny_vocabulary(TASKS, 8)
    vocabulary.save(tmp_path)
    loaded = load_own_vocabulary(tmp_path, task_names=TASKS, num_image_codes=8)
    everything = range(vocabulary.size)
    assert [loaded.describe(i) for i in everything] == [vocabulary.describe(i) for i in everything]
    assert loaded.encode("独木成林 <|bos|>") == vocabulary.encode("独木成林 <|bos|>")


def test_a_foreign_missing_or_broken_tokenizer_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="not found"):
        load_own_vocabulary(tmp_path)
    path = tmp_path / "tokenizer.json"
    tiny_vocabulary().save(tmp_path)
    description = read_json(path)
    description["added_tokens"].pop()
    path.write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match="lists 43 special tokens"):
        load_own_vocabulary(tmp_path)
    path.write_text(path.read_text()[:100])
    with pytest.raises(CheckpointError, match="byte-level BPE"):
        load_own_vocabulary(tmp_path)


def test_a_tokenizer_that_is_no_object_is_refused_when_it_is_first_read(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("[[]]")
    with pytest.raises(CheckpointError, match="must be a JSON object"):
        is_grown(tmp_path / "tokenizer.json")
