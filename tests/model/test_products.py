import pytest
import torch
import torch.nn.functional as F

from banyan.model.products import fastest_products, onednn_linear, product_named

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this build of torch has no oneDNN")


@pytest.mark.parametrize("sizes", [(24, 16), (8, 40)], ids=["wider", "narrower"])
@pytest.mark.parametrize("has_bias", [True, False], ids=["bias", "no bias"])
def test_onednn_gives_the_product_and_the_gradients_of_a_linear_layer(sizes: tuple[int, int], has_bias: bool) -> None:
    num_outputs, num_inputs = sizes
    x = torch.randn(2, 7, num_inputs, requires_grad=True)
    weight = torch.randn(num_outputs, num_inputs, requires_grad=True)
    bias = torch.randn(num_outputs, requires_grad=True) if has_bias else None
    leaves = [leaf for leaf in (x, weight, bias) if leaf is not None]
    above = torch.randn(2, 7, num_outputs)
    results = []
    for routine in (F.linear, onednn_linear):
        output = routine(x, weight, bias)
        results.append((output, *torch.autograd.grad(output, leaves, above)))
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


def test_a_frozen_weight_gets_no_gradient() -> None:
    x, weight = torch.randn(4, 8, requires_grad=True), torch.randn(6, 8)
    onednn_linear(x, weight).sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is None
    torch.testing.assert_close(x.grad, weight.sum(0).expand(4, -1))


def test_other_number_formats_take_pytorchs_own_routine() -> None:
    x, weight = torch.randn(4, 8, dtype=torch.float64), torch.randn(6, 8, dtype=torch.float64)
    assert torch.equal(onednn_linear(x, weight), F.linear(x, weight))


def test_the_choice_is_one_of_the_two_and_stays() -> None:
    assert fastest_products() in ("torch", "onednn")
    assert product_named("auto") is product_named(fastest_products())
    assert (product_named("torch"), product_named("onednn")) == (F.linear, onednn_linear)
