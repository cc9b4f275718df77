import pytest

from banyan.core.errors import ConfigError, UnknownNameError
from banyan.workflows.planned_devices import DEVICES, modelled_step_seconds, parse_devices


@pytest.mark.parametrize(
    ("text", "name", "count"),
    [("h200", "h200", 1), ("h200x8", "h200", 8), ("RTX4090x2", "rtx4090", 2), ("rtx3090", "rtx3090", 1)]
    + [("4", "this machine", 4)],
)
def test_devices_are_named_with_their_number(text: str, name: str, count: int) -> None:
    devices = parse_devices(text)
    assert (devices.name, devices.count) == (name, count)
    assert (devices.spec is None) == (name == "this machine")


def test_an_unknown_device_is_refused_with_a_near_one() -> None:
    with pytest.raises(UnknownNameError, match="no device 'h20x8'; did you mean h200"):
        parse_devices("h20x8")


@pytest.mark.parametrize("text", ["0", "h200x0"])
def test_no_devices_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="1 or more"):
        parse_devices(text)


def test_more_devices_are_faster_until_launching_is_all_there_is() -> None:
    def seconds(count: int, flops: float) -> float:
        devices = parse_devices(f"h200x{count}")
        return modelled_step_seconds(
            devices, DEVICES["h200"], flops=flops, num_weights=10**6, num_layers=12, num_passes=1
        )

    assert seconds(8, 1e16) == pytest.approx(seconds(1, 1e16) / 8, rel=0.01)
    assert seconds(8, 1e9) == seconds(1, 1e9)
