"""adapter_config.json, in which the PEFT library says what kind of adapter lies beside it and how large it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from banyan.core.errors import BanyanError, CheckpointError
from banyan.core.files import read_json
from banyan.model.adapters import LoraConfig

ADAPTER_CONFIG_FILE = "adapter_config.json"

# Keys of PEFT's config that change nothing about what an adapter computes. Any other one that is set asks for a kind
# of adapter that is none of ours.
_HARMLESS = {
    "auto_mapping",
    "base_model_name_or_path",
    "exclude_modules",
    "fan_in_fan_out",  # of the matrix beside it; the factors lie the same way round
    "inference_mode",
    "layers_to_transform",  # likewise known from the file
    "layers_pattern",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "target_modules",  # what the file holds says the same, layer by layer
    "task_type",
}
_READ = {"peft_type", "r", "lora_alpha", "lora_dropout", "bias", "init_lora_weights"}
_PLAIN_STARTS = (True, False, "gaussian", "orthogonal")  # the others change the matrix beside the adapter, too


def peft_config(
    config: LoraConfig, *, base: str, modules: Sequence[str], blocks: Sequence[int], is_transposed: bool
) -> dict[str, Any]:
    """Return the content of adapter_config.json.

    `modules` are the adapted ones in the names of the other tools, `blocks` the numbers of those they lie in.
    """
    alpha = config.scale * config.rank
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": config.rank,
        "lora_alpha": int(alpha) if alpha.is_integer() else alpha,
        "lora_dropout": config.dropout,
        "target_modules": list(modules),
        "layers_to_transform": list(blocks) if config.last_blocks else None,
        "fan_in_fan_out": is_transposed,
        "bias": "none",
        "init_lora_weights": True,
        "use_rslora": False,
        "use_dora": False,
        "inference_mode": True,
    }


def read_peft_config(path: Path, *, targets: tuple[str, ...], last_blocks: int, name: str) -> LoraConfig:
    """Read an adapter_config.json; which parts of which blocks it targets is known from the weights beside it.

    Raises: CheckpointError if it is missing, damaged, or asks for a kind of adapter that Banyan does not have.
    """
    try:
        stored = read_json(path)
        if not isinstance(stored, dict):
            raise CheckpointError("it must be a JSON object.")
        _check_kind(stored)
        return LoraConfig(
            rank=_rank(stored),
            alpha=float(_number(stored, "lora_alpha")),
            dropout=float(_number(stored, "lora_dropout", default=0.0)),
            targets=targets,
            last_blocks=last_blocks,
            name=name,
        )
    except BanyanError as error:
        place = "" if str(path) in error.message else f"{path}: "
        raise CheckpointError(f"{place}{error.message}", hint=error.hint) from error


def _check_kind(stored: Mapping[str, Any]) -> None:
    """Refuse every kind of adapter that computes something else.

    Raises: CheckpointError naming the key that says so.
    """
    if stored.get("peft_type") != "LORA":
        raise _other_kind("peft_type", stored.get("peft_type"), "LORA alone is known")
    if stored.get("bias", "none") != "none":
        raise _other_kind("bias", stored["bias"], "biases must stay as they are")
    if stored.get("init_lora_weights", True) not in _PLAIN_STARTS:
        raise _other_kind("init_lora_weights", stored["init_lora_weights"], "such a start changes the matrices, too")
    for key, value in stored.items():
        if value and key not in _READ | _HARMLESS:
            raise _other_kind(key, value, "plain LoRA alone is known")


def _other_kind(key: str, value: object, rule: str) -> CheckpointError:
    return CheckpointError(
        f"{str(key)[:60]}={str(value)[:60]!r} makes it a kind of adapter that Banyan does not have: {rule}.",
        hint="merge it into its model with peft (merge_and_unload), and import the result",
    )


def _rank(stored: Mapping[str, Any]) -> int:
    rank = _number(stored, "r")
    if not isinstance(rank, int):
        raise CheckpointError(f"r={rank} is not a whole number.")
    return rank


def _number(stored: Mapping[str, Any], key: str, *, default: float | None = None) -> float:
    value = stored.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CheckpointError(f"{key}={str(value)[:60]!r} is not a number.")
    return value
