"""Sums over the tokens and pairs of examples, against sets made in plain Python."""

from __future__ import annotations

import pytest
import torch

from banyan.model.ngrams import ReadTokens, ngram_sums

EXAMPLES = [[7, 8, 7, 8, 9], [3], [9, 8, 7], [5, 5, 5]]
TABLE = torch.randn(1 << 16, 3, generator=torch.Generator().manual_seed(0))


def read(examples: list[list[int]]) -> ReadTokens:
    ids = torch.tensor([token for example in examples for token in example])
    owners = torch.tensor([number for number, example in enumerate(examples) for _ in example])
    return ReadTokens(token_ids=ids, examples=owners, num_examples=len(examples))


def row_of(*tokens: int) -> torch.Tensor:
    """Return the row of a token, or of a pair: what the pair's sum has beyond those of its tokens."""
    if len(tokens) == 1:
        return ngram_sums(TABLE, read([list(tokens)]))[0].double()
    kinds = len(set(tokens)) + 1
    both = ngram_sums(TABLE, read([list(tokens)]))[0].double() * kinds**0.5
    return both - torch.stack([row_of(token) for token in set(tokens)]).sum(dim=0)


def test_what_occurs_counts_once_over_the_root_of_how_much_occurs() -> None:
    found = ngram_sums(TABLE, read(EXAMPLES))
    for example, sums in zip(EXAMPLES, found, strict=True):
        occurring = {(token,) for token in example} | set(zip(example, example[1:], strict=False))
        expected = torch.stack([row_of(*ngram) for ngram in sorted(occurring)]).sum(dim=0) / len(occurring) ** 0.5
        torch.testing.assert_close(sums.double(), expected, rtol=1e-4, atol=1e-5)


def test_the_order_of_a_pair_counts() -> None:
    assert not torch.allclose(row_of(7, 8), row_of(8, 7))


def test_no_pair_reaches_from_one_example_into_the_next() -> None:
    together = ngram_sums(TABLE, read(EXAMPLES))
    alone = torch.cat([ngram_sums(TABLE, read([example])) for example in EXAMPLES])
    torch.testing.assert_close(together, alone)


def test_any_id_has_a_row_in_a_small_table() -> None:
    sums = ngram_sums(torch.ones(2, 1), read([[2_000_000_000, 151_935, 0]]))
    assert float(sums) in (1.0, pytest.approx(2**0.5))  # of one row or of both


def test_rows_of_equal_length_are_examples() -> None:
    rows = torch.tensor([[1, 2, 3], [4, 5, 6]])
    torch.testing.assert_close(ngram_sums(TABLE, ReadTokens.of_rows(rows)), ngram_sums(TABLE, read(rows.tolist())))
