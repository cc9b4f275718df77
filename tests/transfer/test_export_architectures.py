import pytest

from banyan.core.errors import ConfigError
from banyan.model.presets import MODEL_PRESETS, model_config
from banyan.testing.models import tiny_model_config
from banyan.transfer.export_architectures import exportable_architecture


@pytest.mark.parametrize("preset", [name for name in MODEL_PRESETS if not name.startswith("sprint-")])
def test_every_other_preset_can_be_exported(preset: str) -> None:
    assert exportable_architecture("m", model_config(preset, {"vocab_size": 320}))


def test_a_sprint_is_refused_with_what_makes_it_one() -> None:
    with pytest.raises(ConfigError, match="m cannot be exported: no stock architecture .* computes lookback=3, "):
        exportable_architecture("m", model_config("sprint-nano", {"vocab_size": 320}))


def test_parts_that_only_do_not_go_together_are_named() -> None:
    with pytest.raises(ConfigError, match="norm=layer, position=rope, .* together"):
        exportable_architecture("m", tiny_model_config(norm="layer", qk_norm="none"))
