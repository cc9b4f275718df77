"""`banyan diagnose`: what happened in a run, since when, why, and what to change; read from the files it left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from banyan.core.config import read_config
from banyan.core.errors import BanyanError, FileError
from banyan.core.locks import is_held
from banyan.core.paths import runs_directory
from banyan.train.health.signals import SIGNALS
from banyan.train.run_files import EVENTS_FILE, METRICS_FILE, read_json_lines
from banyan.workflows.diagnosis_patch import patch_for
from banyan.workflows.recipe import Recipe
from banyan.workflows.sidecars import RECIPE_FILE

# The gravest first; what is not named here is only told.
_GRAVEST = (
    "diverged", "not_finite", "wrong_vocabulary", "wrong_targets", "masked_batch", "repeated_batch", "frozen_layer",
    "codebook_collapse", "chronic_spikes", "attention_logits", "stuck_start", "over_fit", "update_too_large",
    "layer_gradient", "dead_units", "log_normaliser", "residual_growth", "bad_batch", "plateau",
)  # fmt: skip
_DONE = {
    "reported": "nothing was changed",
    "skipped": "its update was left out",
    "rescaled": "the gradient was shortened",
    "rewound": "the run went back to sound weights, with a lower learning rate",
    "rate_lowered": "the learning rate was lowered",
    "scores_shrunk": "queries and keys of that layer were made smaller",
    "stopped": "the run was ended",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Episode:
    """One thing that went wrong, from its first sign to fifty steps after its last."""

    signal: str
    step: int
    where: str | None  # a task, a weight or a layer
    value: float | None
    threshold: float | None
    action: str
    count: int
    loss_before: float | None
    loss_after: float | None  # None: the run did not get that far
    recent: Sequence[Sequence[float | None]]  # step, loss, gradient norm, up to the first sign
    rows: Sequence[Mapping[str, Any]]  # of the batch: tasks and hash
    data: Mapping[str, Any] | None  # where the batch stands in the data


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """What can be said about a run."""

    run_directory: Path
    state: str  # running, completed, early_stop, interrupt, stopped or broken_off
    step: int
    summary: str  # one sentence
    episodes: tuple[Episode, ...]  # the gravest first
    remarks: tuple[str, ...]
    changes: Mapping[str, Any]  # by key of the recipe
    recipe: Recipe | None
    losses: Sequence[tuple[int, float]]


def find_run(name: str) -> Path:
    """Return the directory of a run, given by its path or its name.

    Raises: FileError if there is none.
    """
    for path in (Path(name), runs_directory() / name):
        if (path / EVENTS_FILE).is_file():
            return path
        if path.is_dir() and (path / RECIPE_FILE).is_file():
            raise FileError(f"{path} has no {EVENTS_FILE}: nothing is known of how the run went.")
    raise FileError(f"{name} is neither a run's folder nor a run in {runs_directory()}.", hint="banyan runs list")


def diagnose(run_directory: Path) -> Diagnosis:
    """Read what a run left and say what happened; the run may be over, broken off, or still going on.

    Raises: FileError if its events cannot be read.
    """
    events = [e for e in _objects(run_directory / EVENTS_FILE) if "event" in e]
    if not events:
        raise FileError(f"{run_directory / EVENTS_FILE} holds no event that can be read.")
    lines = [line for line in _objects(run_directory / METRICS_FILE) if _is_number(line.get("loss"))]
    recipe, remarks = _read_recipe(run_directory / RECIPE_FILE)
    episodes = tuple(sorted(_episodes(events), key=_gravity))
    state = _state(events, run_directory)
    step = max((e.get("step", 0) for e in [*events, *lines] if isinstance(e.get("step"), int)), default=0)
    remarks += _remarks(events, state)
    scale = next((e["learning_rate_scale"] for e in reversed(events) if _is_number(e.get("learning_rate_scale"))), 1.0)
    return Diagnosis(
        run_directory=run_directory,
        state=state,
        step=step,
        summary=_summary(episodes, state=state, step=step),
        episodes=episodes,
        remarks=tuple(remarks),
        changes=patch_for(episodes[0].signal, recipe, rate_scale=scale) if episodes and recipe else {},
        recipe=recipe,
        losses=[(line["step"], line["loss"]) for line in lines if isinstance(line.get("step"), int)],
    )


def _objects(path: Path) -> list[dict[str, Any]]:
    return [line for line in read_json_lines(path) if isinstance(line, dict)]


def _read_recipe(path: Path) -> tuple[Recipe | None, list[str]]:
    try:
        return read_config(Recipe, path), []
    except BanyanError as error:
        return None, [f"no change can be proposed: {error.message}"]


def _episodes(events: Sequence[Mapping[str, Any]]) -> list[Episode]:
    """Join each alarm with what was said of it fifty steps later."""
    later = [event for event in events if event["event"] == "alarm_followed_up"]
    found = []
    for event in events:
        if event["event"] != "alarm" or event.get("signal") not in SIGNALS:
            continue
        after: Mapping[str, Any] = next((e for e in later if _follows(e, event)), {})
        found.append(
            Episode(
                signal=event["signal"],
                step=event.get("step", 0),
                where=event.get("where"),
                value=event.get("value"),
                threshold=event.get("threshold"),
                action=event.get("action", "reported"),
                count=after.get("count", 1),
                loss_before=after.get("loss_before"),
                loss_after=after.get("loss_after"),
                recent=event.get("recent") or [],
                rows=event.get("rows") or [],
                data=event.get("data") or None,
            )
        )
    return found


def _follows(later: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    return all(later.get(key) == event.get(key) for key in ("signal", "where")) and later.get("since") == event["step"]


def _gravity(episode: Episode) -> tuple[int, int]:
    place = _GRAVEST.index(episode.signal) if episode.signal in _GRAVEST else len(_GRAVEST)
    return place, episode.step


def _state(events: Sequence[Mapping[str, Any]], run_directory: Path) -> str:
    if is_held(run_directory):
        return "running"
    for event in reversed(events):
        if event["event"] == "ended":
            return str(event.get("stopped_by", "completed"))
        if event["event"] == "stopped":
            return "stopped"
        if event["event"] in ("started", "resumed"):
            break
    return "broken_off"


def _remarks(events: Sequence[Mapping[str, Any]], state: str) -> list[str]:
    remarks = []
    if stopped := [event for event in events if event["event"] == "stopped"]:
        remarks.append(f"it was stopped at step {stopped[-1].get('step')}: {stopped[-1].get('reason')}")
    for event in events:
        if event["event"] == "rewound":
            remarks.append(
                f"at step {event.get('from_step')} it went back to step {event.get('step')}; the learning rate is "
                f"{event.get('learning_rate_scale'):g} times the planned one since"
            )
    if skipped := sum(event["event"] == "step_skipped" for event in events):
        remarks.append(f"{skipped} updates were left out in all")
    if failed := [event for event in events if event["event"] == "checkpoint_failed"]:
        remarks.append(f"{len(failed)} checkpoints could not be written: {failed[-1].get('reason')}")
    if damaged := [event for event in events if event["event"] == "checkpoint_quarantined"]:
        remarks.append(f"{len(damaged)} damaged checkpoints were set aside")
    if state == "broken_off":
        remarks.append("it ended without a word: killed, or out of memory; --resume goes on from the last checkpoint")
    return remarks


def _summary(episodes: Sequence[Episode], *, state: str, step: int) -> str:
    how = {
        "running": "is going on",
        "broken_off": "broke off",
        "stopped": "was stopped",
        "interrupt": "was interrupted",
    }
    ended = f"the run {how.get(state, 'ended in order')} at step {step}"
    if not episodes:
        return f"{ended}; nothing is wrong with it."
    first = episodes[0]
    where = f" ({first.where})" if first.where else ""
    return f"{ended}; since step {first.step}: {SIGNALS[first.signal].means}{where}."


def tell_episode(episode: Episode) -> list[str]:
    """Say one episode in plain words, line by line."""
    signal = SIGNALS[episode.signal]
    where = f", {episode.where}" if episode.where else ""
    times = f", {episode.count} times" if episode.count > 1 else ""
    lines = [f"step {episode.step}{where}: {signal.means}{times}"]
    if episode.value is not None and episode.threshold is not None:
        lines.append(f"  evidence: {episode.value:.4g}, where {episode.threshold:.4g} is the bound")
    lines.append(f"  likely cause: {signal.cause}")
    lines.append(f"  what was done: {_DONE.get(episode.action, episode.action)}")
    if episode.loss_after is not None and episode.loss_before is not None:
        lines.append(f"  fifty steps later: loss {episode.loss_before:.3f} before, {episode.loss_after:.3f} after")
    lines.append(f"  what to do: {signal.advice}")
    return lines


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
