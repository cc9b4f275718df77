"""What lm-evaluation-harness is told, beside the same probabilities in float64, position by position."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lm_eval")

from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.testing.known_sentences import save_known_sentences
from banyan.testing.model_directories import save_tiny_model
from banyan.workflows.harness_model import BanyanLM

LIMIT = 24


@dataclass(frozen=True)
class Asked:
    """A question as the harness asks it."""

    args: tuple[Any, ...]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedModel]:
    with load(save_tiny_model(tmp_path_factory.mktemp("harness") / "model", max_seq_len=LIMIT)) as loaded:
        yield loaded


def exact(model: LoadedModel, ids: Sequence[int], num_last: int) -> tuple[float, bool]:
    """Return the log-likelihood of the last ids after those before them, and whether each is the likeliest."""
    double = deepcopy(model.model).double()
    with torch.no_grad():
        log_probs = double.logits(double(torch.tensor([ids[:-1]])))[0].log_softmax(dim=-1)
    rows, targets = log_probs[-num_last:], ids[-num_last:]
    return sum(row[target].item() for row, target in zip(rows, targets, strict=True)), [
        int(row.argmax()) for row in rows
    ] == list(targets)


@pytest.mark.parametrize(
    ("context", "continuation"),
    [("a tree", " grows"), ("独木", "成林"), ("", "oak"), ("an oak ", "tree"), ("x" * 40, " is cut"), ("  ", "oak")],
)
def test_a_continuation_is_as_likely_as_in_float64(model: LoadedModel, context: str, continuation: str) -> None:
    vocabulary = model.vocabulary
    ids = [vocabulary.bos_id, *vocabulary.encode(context + continuation)]
    num_last = len(ids) - 1 - len(vocabulary.encode(context.rstrip()))
    expected, is_greedy = exact(model, ids[-LIMIT - 1 :], num_last)
    [(found, found_greedy)] = BanyanLM(model).loglikelihood([Asked((context, continuation))])
    assert found == pytest.approx(expected, abs=1e-4) and found_greedy is is_greedy


def test_what_greedy_decoding_writes_is_called_greedy_and_ends_at_a_stop_text(tmp_path: Path) -> None:
    with load(save_known_sentences(tmp_path / "model")) as known:
        harness = BanyanLM(known)
        asked = [("Banyans", {"until": "into"}), ("独木", {"until": ["\n", "，"]}), ("Doors", {"max_gen_toks": 3})]
        written = harness.generate_until([Asked(args) for args in asked])
        assert written == [" grow ", "成林", known.generate("Doors", max_tokens=3, temperature=0)]
        found = harness.loglikelihood([Asked(("Banyans", text)) for text in (" grow into a forest.", " fall.")])
        assert [is_greedy for _, is_greedy in found] == [True, False]


def test_a_long_text_is_read_in_windows_that_predict_each_token_once(model: LoadedModel) -> None:
    text = "".join(f"tree {number} 树 " for number in range(12))
    ids = [model.vocabulary.bos_id, *model.vocabulary.encode(text)]
    expected, done = exact(model, ids[: LIMIT + 1], LIMIT)[0], LIMIT
    while done < len(ids) - 1:  # each further window ends LIMIT tokens later, or with the text, and is full
        last = min(done + LIMIT, len(ids) - 1)
        expected += exact(model, ids[last - LIMIT : last + 1], last - done)[0]
        done = last
    assert len(ids) > 3 * LIMIT
    [found, nothing] = BanyanLM(model).loglikelihood_rolling([Asked((text,)), Asked(("",))])
    assert found == pytest.approx(expected, abs=1e-3) and nothing == 0


def test_a_text_that_fits_is_as_likely_as_the_engine_says(model: LoadedModel) -> None:
    texts = ["a tree", "一棵树"]
    found = BanyanLM(model).loglikelihood_rolling([Asked((text,)) for text in texts])
    bits = model.engine.bits(texts)
    assert [-nats / torch.log(torch.tensor(2.0)).item() for nats in found] == pytest.approx(bits, rel=1e-5)


def test_sampling_is_as_the_harness_asks(model: LoadedModel) -> None:
    asked = {"until": ["\n"], "do_sample": True, "temperature": 1.5, "top_k": 1, "max_gen_toks": 5}
    greedy = {"until": ["\n"], "max_gen_toks": 5}
    drawn, likeliest = (BanyanLM(model).generate_until([Asked(("a", how))]) for how in (asked, greedy))
    assert drawn == likeliest


def test_a_model_directory_is_enough(tmp_path: Path) -> None:
    harness = BanyanLM(save_tiny_model(tmp_path / "model"))
    with harness.model:
        assert harness.tokenizer_name.startswith("banyan-")
