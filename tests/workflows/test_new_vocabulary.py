"""A child may read more tokens than its parent, or those of another tokenizer, from its first step on."""

from pathlib import Path

import torch

from banyan.model.checkpoint import load_model
from banyan.runtime.loading import load
from banyan.testing.transfer_runs import TransferRuns
from banyan.testing.vocabulary import tiny_vocabulary
from banyan.tokenizers.vocabulary import Vocabulary
from banyan.workflows.new_vocabulary import vocabulary_change, with_tasks
from banyan.workflows.transfer_recipe import TransferRecipe


def test_nothing_changes_unless_the_recipe_says_so() -> None:
    assert vocabulary_change(TransferRecipe(parent="p"), tiny_vocabulary(("a",))) is None


def test_a_vocabulary_for_other_tasks_has_the_same_ids() -> None:
    before = tiny_vocabulary(("a", "b"))
    after = with_tasks(before, ["b", "c", "a"])
    assert after.task_names == ("b", "c", "a")
    assert (after.size, after.bos_id) == (before.size, before.bos_id)
    assert after.task_id("b") == before.task_id("a")


def test_a_child_with_more_words_begins_as_its_parent_and_reads_them_as_one_token(transfer_runs: TransferRuns) -> None:
    transfer = {"parent": str(transfer_runs.folder / "parent"), "grow_vocabulary": {"words": ["banyan"]}}
    outcome = transfer_runs.run("grown", [transfer_runs.task("trip")], transfer=transfer, train={"steps": 1})
    with load(outcome.result.last_checkpoint) as model, load(transfer_runs.folder / "parent/best") as parent:
        assert len(model.vocabulary.encode(" banyan")) == 1 < len(parent.vocabulary.encode(" banyan"))
        assert model.predict("trip", ["oak banyan trip"])[0].text in ("land", "water")
        assert model.predict("film", ["good film"])[0].text in ("pos", "neg")


def test_a_child_moves_to_another_tokenizer(transfer_runs: TransferRuns, tmp_path: Path) -> None:
    target: Vocabulary = tiny_vocabulary(())
    target.save(tmp_path)
    transfer = {"parent": str(transfer_runs.folder / "parent"), "retokenize": str(tmp_path)}
    outcome = transfer_runs.run("moved", [transfer_runs.task("trip")], transfer=transfer, train={"steps": 1})
    with load(outcome.result.last_checkpoint) as model:
        assert model.vocabulary.encode("the banyan") == target.encode("the banyan")
        assert model.predict("trip", ["oak trip"])[0].text in ("land", "water")
    moved, parent = load_model(outcome.result.last_checkpoint), load_model(transfer_runs.folder / "parent/best")
    assert moved.embedding.weight.shape[0] == target.size
    torch.testing.assert_close(moved.heads["film"].weight, parent.heads["film"].weight)
