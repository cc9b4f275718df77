"""README.md of an export: what the model is, how it is opened, what is known of it, and what stayed behind.

Nothing is guessed: what is not known is left out, or said to be unknown.
Source: the front matter is that of Hugging Face model cards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from banyan import __version__

CARD_FILE = "README.md"
# Names a hub knows; any other licence is "other" there, with a name of its own.
_HUB_LICENCES = re.compile(
    r"apache-2\.0|mit|bsd(-2-clause|-3-clause)?|cc0-1\.0|cc-by(-sa|-nc|-nd|-nc-sa|-nc-nd)?-[234]\.\d|unlicense|"
    r"(l|a)?gpl-[23]\.[01]|mpl-2\.0|openrail(\+\+)?|(bigscience-)?openrail-m|llama2|llama3(\.[1-4])?|gemma|wtfpl|zlib"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskLine:
    """One task a model was taught."""

    name: str
    kind: str
    travels: bool  # other tools can ask it


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredScore:
    """One number from the run that made the model."""

    task: str
    metric: str
    value: float
    source: str  # which examples it was measured on


@dataclass(frozen=True, kw_only=True, slots=True)
class CardFacts:
    """Everything a card says."""

    name: str
    architecture: str
    weight_type: str  # as a person reads it
    num_parameters: int  # that were exported
    max_seq_len: int  # tokens the model can address
    format: str
    loading: str  # a section of Markdown
    licence: str | None = None
    languages: Sequence[str] = ()
    tasks: Sequence[TaskLine] = ()
    scores: Sequence[MeasuredScore] = ()
    left_behind: Sequence[str] = ()  # what other tools cannot compute
    remarks: Sequence[str] = ()
    dataset_fingerprint: str | None = None
    recipe_sha256: str | None = None
    parent: str | None = None
    can_talk: bool = False


def model_card(facts: CardFacts) -> str:
    """Return the card as Markdown with its front matter."""
    sections = (_title(facts), _loading(facts), _tasks(facts), _left_behind(facts), _origin(facts))
    body = "\n".join(line for section in sections for line in section)
    return f"---\n{_front_matter(facts)}---\n\n{body}\n"


def _front_matter(facts: CardFacts) -> str:
    content: dict[str, Any] = {
        "library_name": "transformers" if facts.format == "hf" else facts.format,
        "pipeline_tag": "text-generation",
        "tags": ["banyan", facts.architecture],
    }
    if facts.languages:
        content["language"] = list(facts.languages)
    if facts.licence is not None:
        content |= _licence(facts.licence)
    return yaml.safe_dump(content, sort_keys=True, allow_unicode=True)


def _licence(name: str) -> dict[str, str]:
    lowered = name.strip().lower()
    return {"license": lowered} if _HUB_LICENCES.fullmatch(lowered) else {"license": "other", "license_name": name}


def _title(facts: CardFacts) -> Iterator[str]:
    yield from (f"# {facts.name}", "")
    yield (
        f"A decoder-only language model of the {facts.architecture} architecture, exported from Banyan {__version__}."
    )
    yield ""
    rows = {
        "parameters": f"{facts.num_parameters:,}",
        "weights": facts.weight_type,
        "context": f"{facts.max_seq_len:,} tokens",
        "languages": ", ".join(facts.languages) or "not stated",
        "conversation": "through the tokenizer's chat template" if facts.can_talk else "was not taught",
        "parent model": facts.parent or "none known",
        "licence": facts.licence or "not stated",
    }
    yield from ("| | |", "|---|---|")
    yield from (f"| {name} | {_cell(value)} |" for name, value in rows.items())
    yield ""


def _loading(facts: CardFacts) -> Iterator[str]:
    yield from ("## How to open it", "", facts.loading)


def _tasks(facts: CardFacts) -> Iterator[str]:
    yield from ("## Tasks and scores", "")
    if not facts.tasks:
        yield from ("The model goes on with text; no task of its own is known.", "")
        return
    yield from ("| task | kind | in this export | measured |", "|---|---|---|---|")
    for task in facts.tasks:
        where = "yes" if task.travels else "no: stays with Banyan"
        yield f"| {_cell(task.name)} | {task.kind} | {where} | {_cell(_shown_scores(facts, task))} |"
    yield ""
    if any(score.task == task.name and not task.travels for score in facts.scores for task in facts.tasks):
        yield from ("Scores of tasks that stay behind were measured with Banyan.", "")


def _shown_scores(facts: CardFacts, task: TaskLine) -> str:
    found = [score for score in facts.scores if score.task == task.name]
    values = ", ".join(f"{score.metric} {score.value:.4g}" for score in found)
    return f"{values} ({found[0].source})" if found else "not measured"


def _left_behind(facts: CardFacts) -> Iterator[str]:
    yield from ("## What does not travel", "")
    yield from (f"- {line}" for line in facts.left_behind or ("nothing",))
    if facts.remarks:
        yield from ("", "Good to know:", "")
        yield from (f"- {line}" for line in facts.remarks)
    yield ""


def _origin(facts: CardFacts) -> Iterator[str]:
    yield from ("## Origin", "")
    yield f"- training data: {_fingerprint(facts.dataset_fingerprint)}"
    yield f"- recipe: {_fingerprint(facts.recipe_sha256)}"
    yield f"- parent model: {facts.parent or 'none known'}"
    yield f"- licence: {facts.licence or 'not stated'}"


def _fingerprint(value: str | None) -> str:
    return f"fingerprint `{value}`" if value else "not recorded"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
