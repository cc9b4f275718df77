"""A model moved to another tokenizer, against rows composed by hand in float64."""

from __future__ import annotations

import torch

from banyan.core.types import HeadKind, HeadSpec
from banyan.model.transformer import Transformer
from banyan.testing.models import tiny_model, tiny_model_config
from banyan.testing.vocabulary import tiny_vocabulary
from banyan.tokenizers.bpe import BytePairTokenizer
from banyan.tokenizers.vocabulary import Vocabulary
from banyan.transfer.retokenize import retokenize

TASKS = ["lm", "topic"]
OLD = tiny_vocabulary(TASKS, 16)
TEXT = "Die Waldwege führen zum Waldrand. 森林里有很多树，树林很大。 The forest grows."
NEW = Vocabulary(BytePairTokenizer.train([TEXT] * 4, vocab_size=340), task_names=TASKS, num_image_codes=16)


def old_model(*, tie: bool = True) -> Transformer:
    return tiny_model(tiny_model_config(vocab_size=OLD.size, num_image_codes=16, grid_size=2, tie_embeddings=tie))


def test_tokens_of_both_tokenizers_keep_their_rows_bit_for_bit() -> None:
    old, moved = old_model(), retokenize(old_model(), OLD, NEW)
    ids = {OLD.text.token_bytes(token_id): token_id for token_id in range(OLD.text.vocab_size)}
    shared = [(ids[data], now) for now in range(NEW.text.vocab_size) if (data := NEW.text.token_bytes(now)) in ids]
    assert len(shared) == moved.num_copied >= 256
    for before, now in shared:
        assert torch.equal(moved.model.embedding.weight[now], old.embedding.weight[before])


def test_other_tokens_are_the_mean_of_the_old_pieces_in_both_tables() -> None:
    old = old_model(tie=False)
    moved = retokenize(old, OLD, NEW).model
    known = {OLD.text.token_bytes(token_id) for token_id in range(OLD.text.vocab_size)}
    checked = 0
    for token_id in range(NEW.text.vocab_size):
        data = NEW.text.token_bytes(token_id)
        try:
            pieces = OLD.encode(data.decode("utf-8"))
        except UnicodeDecodeError:
            continue
        if data in known:
            continue
        for table, source in ((moved.embedding, old.embedding), (moved.word_head, old.word_head)):
            assert table is not None and source is not None
            expected = source.weight[pieces].double().mean(dim=0)
            torch.testing.assert_close(table.weight[token_id].double(), expected, rtol=1e-6, atol=1e-6)
        checked += 1
    assert checked > 20


def test_special_tokens_task_tokens_and_image_codes_keep_their_rows() -> None:
    old, moved = old_model(), retokenize(old_model(), OLD, NEW)
    table, before = moved.model.embedding.weight, old.embedding.weight
    for name in ("bos_id", "eos_id", "pad_id", "sep_id", "user_id", "end_id"):
        assert torch.equal(table[getattr(NEW, name)], before[getattr(OLD, name)])
    for name in TASKS:
        assert torch.equal(table[NEW.task_id(name)], before[OLD.task_id(name)])
    assert torch.equal(table[NEW.first_image_id :], before[OLD.first_image_id :])
    assert moved.num_unknown_special == 0


def test_a_move_to_the_same_tokenizer_changes_nothing() -> None:
    old, moved = old_model(), retokenize(old_model(), OLD, OLD)
    used = OLD.text.vocab_size + 44
    assert torch.equal(moved.model.embedding.weight[:used], old.embedding.weight[:used])
    assert moved.num_composed == 0


def test_a_move_there_and_back_keeps_what_both_tokenizers_have() -> None:
    old = old_model()
    back = retokenize(retokenize(old, OLD, NEW).model, NEW, OLD).model
    ids = [OLD.bos_id, *(OLD.text.encode("x y z."))]
    with torch.inference_mode():
        torch.testing.assert_close(back(torch.tensor([ids])), old(torch.tensor([ids])), rtol=0, atol=0)


def test_tables_of_n_grams_begin_anew_and_the_old_model_keeps_its_own() -> None:
    wide = HeadSpec(name="topic", kind=HeadKind.CLASSIFICATION, labels=("a", "b"), pooling="mean", ngram_buckets=16)
    config = tiny_model_config(vocab_size=OLD.size, num_image_codes=16, grid_size=2)
    old = tiny_model(config, heads=(wide,), std=0.3)
    moved = retokenize(old, OLD, NEW).model
    before, after = old.heads["topic"].ngrams, moved.heads["topic"].ngrams
    assert before is not None and after is not None
    assert before.weight.abs().sum() > 0 and after.weight.abs().sum() == 0
