import pytest
import torch

from banyan.model.tensor_source import FLOATS, TensorInfo


@pytest.mark.parametrize("name", FLOATS)
def test_the_size_of_a_tensor_follows_from_shape_and_format(name: str) -> None:
    tensor = torch.zeros(3, 5, dtype=FLOATS[name])
    info = TensorInfo.of(tensor)
    assert (info.dtype, info.shape, info.num_values, info.num_bytes) == (name, (3, 5), 15, tensor.nbytes)


def test_a_tensor_without_dimensions_is_one_number() -> None:
    assert TensorInfo(shape=(), dtype="F32").num_bytes == 4
