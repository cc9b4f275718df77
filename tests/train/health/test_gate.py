import json

from banyan.testing.faults import mask_all
from banyan.testing.training import tiny_batch
from banyan.train.health.data import DataShape
from banyan.train.health.gate import TOO_MANY, WINDOW, BatchGate

SHAPE = DataShape(vocab_size=320, first_image_id=320, is_word_task=(True, False, False))


def test_a_batch_without_targets_is_found_whatever_it_holds() -> None:
    for shape in (SHAPE, None):
        (finding,) = BatchGate(shape).look(mask_all(tiny_batch(), 0))
        assert finding.signal == "masked_batch"


def test_the_data_is_broken_once_too_many_batches_of_a_hundred_were_kept_out() -> None:
    gate = BatchGate(SHAPE)
    for step in range(0, 10 * WINDOW, WINDOW // TOO_MANY + 1):
        gate.keep_out(step=step)
    assert not gate.is_broken
    again = BatchGate(SHAPE)
    again.restore(json.loads(json.dumps(gate.state())))
    for step in range(10 * WINDOW, 10 * WINDOW + TOO_MANY):
        again.keep_out(step=step)
    assert again.is_broken
