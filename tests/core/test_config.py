import dataclasses
from dataclasses import field
from pathlib import Path
from typing import Annotated

import pytest

from banyan.core.config import (
    apply_override,
    config,
    config_from_mapping,
    config_to_mapping,
    read_config,
    read_mapping,
    renamed,
    write_config,
)
from banyan.core.errors import BanyanError, ConfigError, FileError, UnknownNameError


@config
class Wheel:
    size: float
    spokes: int = 3
    name: str = "wheel"

    def __post_init__(self) -> None:
        if self.spokes < 0:
            raise ConfigError(f"spokes={self.spokes} must be >= 0.", hint="count them")


@config
class Cart:
    front: Wheel
    wheels: tuple[Wheel, ...] = ()
    loads: dict[str, float] = dataclasses.field(default_factory=dict)


@config
class Lamp:
    brightness: Annotated[int, renamed("brightness", before="watts")] = 40


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_recipe_becomes_a_frozen_object_and_numbers_may_use_an_exponent(tmp_path: Path) -> None:
    cart = read_config(Cart, write(tmp_path / "r.yaml", "front: {size: 1e-3}\nwheels:\n- {size: 2, spokes: 4}\n"))
    assert cart == Cart(front=Wheel(size=0.001), wheels=(Wheel(size=2.0, spokes=4),))
    with pytest.raises(dataclasses.FrozenInstanceError):
        cart.front = Wheel(size=1)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "error", "parts"),
    [
        ("front: {size: 1, spoke: 4}", UnknownNameError, ["r.yaml:1", "front.spoke", "did you mean spokes?"]),
        ("front: {size: 1}\nwheels:\n- {size: 1}\n- {siz: 2}", UnknownNameError, ["r.yaml:4", "wheels.1.siz", "size?"]),
        ("fron: {size: 1}", UnknownNameError, ["r.yaml:1", "did you mean front?"]),
        ("Front: {size: 1}", UnknownNameError, ["r.yaml:1", "unknown key 'Front'"]),
        ('front: {size: 1, "spo[kes": 2}', UnknownNameError, ["r.yaml:1", "unknown key 'front.spo[kes'"]),
        ("front: {size: round}", ConfigError, ["r.yaml:1", "front.size='round'", "number"]),
        ("front: {size: 1, spokes: -2}", ConfigError, ["r.yaml:1", "spokes=-2"]),
        ("wheels: []", ConfigError, ["'front'", "required"]),
        ("- 1\n- 2", ConfigError, ["mapping", "list"]),
        ("", ConfigError, ["mapping", "nothing"]),
        ("front: {size: 1", ConfigError, ["r.yaml:1", "YAML"]),
    ],
)
def test_a_bad_recipe_gets_one_line_with_place_and_rule(
    tmp_path: Path, text: str, error: type[BanyanError], parts: list[str]
) -> None:
    with pytest.raises(error) as caught:
        read_config(Cart, write(tmp_path / "r.yaml", text))
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_a_missing_recipe_is_a_file_error(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="not found"):
        read_config(Cart, tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("front.spokes=7", lambda cart: cart.front.spokes == 7),
        ("wheels.0.size=9", lambda cart: cart.wheels[0].size == 9.0),
        ("wheels.left.spokes=5", lambda cart: cart.wheels[0].spokes == 5),
        ("loads.hay=2.5", lambda cart: cart.loads == {"hay": 2.5}),
    ],
)
def test_any_key_can_be_overridden_by_its_path(tmp_path: Path, override: str, read: object) -> None:
    path = write(tmp_path / "r.yaml", "front: {size: 1}\nwheels:\n- {size: 2, name: left}\n")
    assert read(read_config(Cart, path, overrides=[override]))  # type: ignore[operator]


@pytest.mark.parametrize("override", ["front", "=3", "front.size.x=1", "wheels.right.size=1", "wheels.7.size=2"])
def test_an_override_that_leads_nowhere_is_refused(override: str) -> None:
    with pytest.raises(ConfigError):
        apply_override({"front": {"size": 1}, "wheels": [{"size": 2, "name": "left"}]}, override)


def test_a_child_recipe_lays_its_keys_over_its_parent(tmp_path: Path) -> None:
    write(tmp_path / "parent.yaml", "front: {size: 1, spokes: 5}\nloads: {hay: 1}\n")
    child = write(tmp_path / "child.yaml", "extends: parent.yaml\nfront: {size: 2}\n")
    assert read_mapping(child) == {"front": {"size": 2, "spokes": 5}, "loads": {"hay": 1}}


def test_recipes_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "extends: b.yaml\n")
    write(tmp_path / "b.yaml", "extends: a.yaml\n")
    with pytest.raises(ConfigError, match="extends itself"):
        read_mapping(tmp_path / "a.yaml")


def test_a_saved_config_reads_back_as_the_same_object(tmp_path: Path) -> None:
    cart = Cart(front=Wheel(size=0.1), wheels=(Wheel(size=2, name="左"),), loads={"hay": 1.0})
    write_config(tmp_path / "out.yaml", cart)
    assert read_config(Cart, tmp_path / "out.yaml") == cart
    assert config_from_mapping(Cart, config_to_mapping(cart)) == cart


def test_a_link_that_points_to_itself_is_an_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("a.yaml")
    with pytest.raises(FileError, match="symbolic links"):
        read_mapping(tmp_path / "a.yaml")


def test_a_key_that_was_renamed_is_read_under_either_name_and_saved_under_the_new_one() -> None:
    assert config_from_mapping(Lamp, {"watts": 9}) == config_from_mapping(Lamp, {"brightness": 9}) == Lamp(brightness=9)
    assert config_to_mapping(config_from_mapping(Lamp, {"watts": 9})) == {"brightness": 9}
    with pytest.raises(UnknownNameError, match="watts"):
        config_from_mapping(Lamp, {"brightness": 9, "watts": 9})
    with pytest.raises(UnknownNameError, match="did you mean brightness"):
        config_from_mapping(Lamp, {"brightnes": 9})


def test_without_defaults_only_what_differs_from_them_is_told() -> None:
    @config
    class Part:
        size: int = 1
        names: tuple[str, ...] = ()

    @config
    class Whole:
        seed: int
        part: Part = field(default_factory=Part)
        parts: tuple[Part, ...] = ()

    same = Whole(seed=0, part=Part(size=1))
    other = Whole(seed=0, part=Part(names=("a",)), parts=(Part(), Part(size=2)))
    assert config_to_mapping(same, with_defaults=False) == {"seed": 0}
    assert config_to_mapping(other, with_defaults=False) == {
        "seed": 0,
        "part": {"names": ["a"]},
        "parts": [{}, {"size": 2}],
    }
