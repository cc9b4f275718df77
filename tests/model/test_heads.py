import dataclasses

import pytest
import torch

from banyan.core.errors import ConfigError, UnknownNameError
from banyan.core.types import HeadKind, HeadSpec
from banyan.model.heads import TaskHeads
from banyan.model.ngrams import ReadTokens, ngram_sums

AREA = HeadSpec(name="area", kind=HeadKind.CLASSIFICATION, labels=("io", "net", "text"))
ANSWER = HeadSpec(name="answer", kind=HeadKind.SPAN)


def test_a_head_gives_one_logit_per_label_and_two_for_spans() -> None:
    heads = TaskHeads([AREA, ANSWER], embed_dim=8)
    assert heads.logits("area", torch.randn(5, 8)).shape == (5, 3)
    assert heads.logits("answer", torch.randn(2, 7, 8)).shape == (2, 7, 2)


@pytest.mark.parametrize("name", ["train", "type", "a.b", "forward", "keys", "问答"])
def test_a_head_may_have_any_name(name: str) -> None:
    heads = TaskHeads([HeadSpec(name=name, kind=HeadKind.SPAN)], embed_dim=8)
    assert name in heads and heads.logits(name, torch.randn(1, 8)).shape == (1, 2)


def test_an_unknown_head_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="no head 'aera'; did you mean area"):
        TaskHeads([AREA], embed_dim=8).logits("aera", torch.randn(1, 8))


def test_two_heads_of_one_name_or_a_head_without_labels_are_refused() -> None:
    with pytest.raises(ConfigError, match="two heads share a name: area, area"):
        TaskHeads([AREA, AREA], embed_dim=8)
    with pytest.raises(ConfigError, match="head 'mood' has no labels"):
        TaskHeads([HeadSpec(name="mood", kind=HeadKind.CLASSIFICATION)], embed_dim=8)


def test_a_head_with_a_table_answers_with_the_mean_of_what_it_reads_and_what_occurs() -> None:
    wide = dataclasses.replace(AREA, pooling="mean", ngram_buckets=32)
    heads = TaskHeads([wide], embed_dim=8)
    table = heads["area"].ngrams
    assert table is not None and table.weight.shape == (32, 3)
    hidden, tokens = torch.randn(2, 8), ReadTokens.of_rows(torch.tensor([[1, 2, 3], [4, 5, 6]]))
    with torch.no_grad():
        for weight in heads.parameters():
            weight.normal_()
        read = torch.nn.functional.linear(hidden, heads["area"].weight, heads["area"].bias)
        expected = (read + ngram_sums(table.weight, tokens)) / 2
        torch.testing.assert_close(heads.logits("area", hidden, tokens=tokens), expected)
        heads.set_table_shares({"area": 1.0, "of another model": 0.3})
        torch.testing.assert_close(heads.logits("area", hidden, tokens=tokens), ngram_sums(table.weight, tokens))
        heads.set_table_shares({"area": 0.5})
        heads.forget_ngrams()
        torch.testing.assert_close(heads.logits("area", hidden, tokens=tokens), read / 2)
