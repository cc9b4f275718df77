"""`banyan explain MODEL --task NAME "text"`: which words carried an answer; with --mistakes, where a model errs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from banyan.cli.base_model import BaseOption
from banyan.cli.colours import coloured, print_coloured
from banyan.cli.mistakes import (
    DataOption,
    MaxExamplesOption,
    MaxTrainOption,
    MistakesOption,
    NeighboursOption,
    SplitOption,
    run_mistakes,
)
from banyan.cli.output import JsonOption, QuietOption, console, emit, print_table, say
from banyan.cli.progress import TerminalReporter
from banyan.cli.streams import harmless
from banyan.cli.ways import refuse_options_of_other_ways
from banyan.core.errors import ConfigError
from banyan.core.files import atomic_write_text
from banyan.workflows.explained_html import explained_page
from banyan.workflows.explaining import ExplainedAnswer, ExplainQuestion, Explanation, explain
from banyan.workflows.map_sanity import Sanity
from banyan.workflows.mistakes import MistakesQuestion

app = typer.Typer(add_completion=False)
_HELP = "banyan explain --help"
_QUESTION, _MISTAKES = "a question", "--mistakes"
_READS = {
    _QUESTION: ("method", "about", "each", "sanity", "max_tokens"),
    _MISTAKES: ("data", "split", "max_examples", "neighbours", "max_train"),
}
_SHOWN_WORDS = 10  # in the table; the coloured text has all of them


@app.command(name="explain")
def explain_command(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(help="A model directory, for example runs/demo/best")],
    task: Annotated[str, typer.Option(help="One of the model's tasks, by name.")],
    text: Annotated[str | None, typer.Argument(help="The question, as for banyan predict.")] = None,
    method: Annotated[
        str | None, typer.Option(help="integrated-gradients, or occlusion, which tables of n-grams need.")
    ] = None,
    about: Annotated[
        str | None, typer.Option(help="Another label, one entity or word, another stretch: not the answer as a whole.")
    ] = None,
    each: Annotated[bool, typer.Option("--each", help="Every label, or every word of a written answer.")] = False,
    sanity: Annotated[bool, typer.Option("--sanity", help="Compare with the same model with random weights.")] = False,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of a written answer, at most.")] = 32,
    mistakes: MistakesOption = None,
    data: DataOption = None,
    split: SplitOption = "test",
    max_examples: MaxExamplesOption = 500,
    neighbours: NeighboursOption = 3,
    max_train: MaxTrainOption = 2000,
    html: Annotated[Path | None, typer.Option(help="Write a page that any browser shows.")] = None,
    base: BaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show which words of a question carried the model's answer.

    Example: banyan explain runs/demo/best --task classification "Return the base name of a path."

    With --mistakes: the surest mistakes in a task, each with the training examples nearest to it.
    """
    if (text is None) == (mistakes is None):
        raise ConfigError("give either a question or --mistakes N, not both and not neither.", hint=_HELP)
    way = _QUESTION if mistakes is None else _MISTAKES
    refuse_options_of_other_ways(context, way=way, reads=_READS, hint=_HELP)
    if mistakes is not None:
        looked = MistakesQuestion(
            task=task,
            num=mistakes,
            data=data,
            split=split,
            max_examples=max_examples,
            num_neighbours=neighbours,
            max_train=max_train,
        )
        run_mistakes(model, looked, base=base, html=html, as_json=as_json, quiet=quiet)
        return
    asked = ExplainQuestion(
        task=task, text=text or "", method=method, about=about, each=each, checks_sanity=sanity, max_tokens=max_tokens
    )
    _run(model, asked, base=base, html=html, as_json=as_json, quiet=quiet)


def _run(
    model: Path, asked: ExplainQuestion, *, base: Path | None, html: Path | None, as_json: bool, quiet: bool
) -> None:
    with TerminalReporter(console(quiet=quiet, as_json=as_json)) as reporter:
        found = explain(model, asked, base=base, reporter=reporter)
    if html is not None:
        atomic_write_text(html, explained_page(found))
    emit(found, as_json=as_json, quiet=quiet, text=lambda: _tell(found, html))


def _tell(found: ExplainedAnswer, html: Path | None) -> None:
    sure = f"   ({found.probability:.1%})" if found.probability is not None else ""
    say(harmless(f"{found.task}: {found.answer}{sure}"))
    if found.num_dropped_tokens:
        say(f"the last {found.num_dropped_tokens} tokens of the question did not fit and were not read")
    for explanation in found.explanations:
        _tell_one(explanation)
    if html is not None:
        say(f"page: {html}")


def _tell_one(explanation: Explanation) -> None:
    say()
    say(harmless(f"What spoke for (blue) and against (red): {explanation.about}"))
    for part in explanation.parts:
        print_coloured(coloured(part, largest=explanation.largest, is_alone=len(explanation.parts) == 1))
    print_table(("word", "nats", "in"), _strongest(explanation))
    say(f"log-odds of the answer {explanation.log_odds:+.3f}, with blank words {explanation.blank_log_odds:+.3f}")
    if explanation.gap is not None:
        say(f"the values of all words add up to the difference but for {abs(explanation.gap):.4f}")
    if explanation.sanity is not None:
        say(_verdict(explanation.sanity))


def _strongest(explanation: Explanation) -> list[tuple[str, str, str]]:
    words = [(part.name, word) for part in explanation.parts for word in part.words]
    words.sort(key=lambda own: -abs(own[1].value))
    return [(harmless(word.text.strip()), f"{word.value:+.3f}", name) for name, word in words[:_SHOWN_WORDS]]


def _verdict(sanity: Sanity) -> str:
    """Say whether models that know nothing give such a map."""
    num_models = len(sanity.strengths)
    signed = sum(sanity.signed) / num_models
    line = (
        f"{num_models} models with random weights: rank correlation of strengths {sanity.mean:+.2f} "
        f"({min(sanity.strengths):+.2f} to {max(sanity.strengths):+.2f}), with signs {signed:+.2f}; the strongest word "
        f"is theirs too in {sanity.num_same_strongest} of {num_models}; unrelated maps stay within ±{sanity.chance:.2f}"
    )
    return f"{line}\nmore than chance: a part of this map was not learned" if sanity.is_above_chance else line
