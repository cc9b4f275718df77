import pytest
import torch
import torch.nn.functional as F

from banyan.train import peak
from banyan.train.peak import peak_flops, published_flops


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        ("NVIDIA H200", 989),
        ("NVIDIA L40S", 362),
        ("NVIDIA L4", 121),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA L40", 181),
    ],
)
def test_the_longest_name_that_fits_a_gpu_counts(name: str, teraflops: float) -> None:
    assert published_flops(name) == teraflops * 1e12


def test_an_unknown_gpu_has_nothing_published() -> None:
    assert published_flops("Some GPU") is None


def test_a_cpu_is_measured_without_touching_random_numbers() -> None:
    before = torch.get_rng_state()
    assert 1e9 < peak_flops(torch.device("cpu")) < 1e14
    assert torch.equal(torch.get_rng_state(), before)


def test_every_routine_of_a_cpu_takes_its_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def other(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        taken.append(x.dtype)
        return x

    monkeypatch.setattr(peak, "routines", lambda: (F.linear, other))
    peak_flops(torch.device("cpu"))
    assert set(taken) == {torch.float32}
