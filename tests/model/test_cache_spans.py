import pytest
import torch

from banyan.core.errors import ContextLengthError, ShapeError
from banyan.model.cache_spans import CacheSpans, Span
from banyan.model.kv_cache import KVCache
from banyan.model.transformer import Transformer
from banyan.testing.models import tiny_model, tiny_model_config
from tests.model.test_kv_cache import SHAPES, assert_near, random_ids


def read(model: Transformer, cache: KVCache, *pieces: tuple[int, torch.Tensor], is_causal: bool = True) -> torch.Tensor:
    """Read pieces in one pass with three tokens that nobody wants behind them."""
    spans = tuple(Span(slot=slot, seq_len=len(piece), is_causal=is_causal) for slot, piece in pieces)
    token_ids = torch.cat([*(piece for _, piece in pieces), torch.zeros(3, dtype=torch.int64)])
    return model(token_ids[None], cache=CacheSpans(cache=cache, spans=spans))[0, :-3]


@torch.no_grad()
@pytest.mark.parametrize("shape", SHAPES)
def test_spans_behind_what_their_slots_hold_equal_whole_texts(shape: str) -> None:
    model = tiny_model(tiny_model_config(**SHAPES[shape]))
    cache = KVCache(model.config, num_slots=4)
    first, second, third = (random_ids(length, seed=length) for length in (11, 5, 7))
    read(model, cache, (2, first[:4]), (0, second[:1]))
    found = read(model, cache, (0, second[1:]), (3, third), (2, first[4:9]), (2, first[9:]))
    assert_near(found[:4], model(second[None])[0, 1:])
    assert_near(found[4:11], model(third[None])[0])
    assert_near(found[11:], model(first[None])[0, 4:])
    assert cache.lengths.tolist() == [5, 0, 11, 7]


@torch.no_grad()
@pytest.mark.parametrize("shape", SHAPES)
def test_slots_that_were_read_in_spans_go_on_token_by_token(shape: str) -> None:
    model = tiny_model(tiny_model_config(**SHAPES[shape]))
    cache = KVCache(model.config, num_slots=2)
    texts = [random_ids(9, seed=1), random_ids(6, seed=2)]
    read(model, cache, *enumerate(texts))
    fed = random_ids(2, 1, seed=3)
    hidden = model(fed, cache=cache.rows(range(2)))
    for slot, text in enumerate(texts):
        assert_near(hidden[slot, 0], model(torch.cat([text, fed[slot]])[None])[0, -1])


@torch.no_grad()
@pytest.mark.parametrize("shape", SHAPES)
def test_a_span_that_is_not_causal_is_read_in_both_directions(shape: str) -> None:
    model = tiny_model(tiny_model_config(**SHAPES[shape]))
    cache = KVCache(model.config, num_slots=3)
    texts = [random_ids(6, seed=1), random_ids(4, seed=2)]
    found = read(model, cache, (2, texts[0]), (1, texts[1]), is_causal=False)
    for part, text in zip(found.split([6, 4]), texts, strict=True):
        until = torch.full((1, len(text)), len(text) - 1)
        assert_near(part, model(text[None], attend_until_BT=until)[0])


def test_spans_that_do_not_fit_are_refused_and_nothing_is_stored() -> None:
    model = tiny_model()
    cache = KVCache(model.config, num_slots=2, max_seq_len=16)
    with torch.no_grad():
        read(model, cache, (0, random_ids(10)))
        with pytest.raises(ContextLengthError, match="17 tokens do not fit in a cache slot of 16"):
            read(model, cache, (1, random_ids(3)), (0, random_ids(7)))
        with pytest.raises(ShapeError, match="stands behind 10 tokens of slot 0"):
            read(model, cache, (0, random_ids(2)), is_causal=False)
        with pytest.raises(ShapeError, match="they lie in one row"):
            model(random_ids(1, 3), cache=CacheSpans(cache=cache, spans=(Span(slot=1, seq_len=4),)))
        with pytest.raises(ShapeError, match="attend_until cannot be given with spans"):
            spans = CacheSpans(cache=cache, spans=(Span(slot=1, seq_len=3),))
            model(random_ids(1, 3), cache=spans, attend_until_BT=torch.zeros(1, 3, dtype=torch.int64))
    assert cache.lengths.tolist() == [10, 0]
