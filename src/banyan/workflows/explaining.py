"""`banyan explain`: which words of a question carried the answer, and whether random weights would say the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from banyan.core.errors import ConfigError, InputError, UnknownNameError
from banyan.core.registry import did_you_mean
from banyan.infer.attribution import GRADIENTS, METHODS, OCCLUSION, Method, require_captum
from banyan.infer.decisions import HeadDecision, SpanDecision
from banyan.runtime.defaults import override
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.tokenizers.vocabulary import Vocabulary
from banyan.workflows.answer_decisions import Answered, NamedDecision, decisions_of
from banyan.workflows.map_sanity import Sanity, check_map
from banyan.workflows.reporter import Reporter
from banyan.workflows.source_words import Part, source_parts

_BLANK = " "  # stands for a word that is not there: every tokenizer knows it, and so does every model


@dataclass(frozen=True, kw_only=True, slots=True)
class WordValue:
    """A word of the question and what it was worth, in nats of log-odds: above 0 it spoke for the answer."""

    text: str
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ExplainedPart:
    """A stretch of the question with the values of its words."""

    name: str  # "text", "question", "context", or who said it
    words: tuple[WordValue, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """What carried one decision."""

    about: str  # the label, entity, span or words decided on
    log_odds: float  # of the decision, in nats
    blank_log_odds: float  # of the same, had all words been blank
    parts: tuple[ExplainedPart, ...]
    gap: float | None  # what the values fail to add up to; None: the method does not promise it
    num_steps: int | None  # of the integral
    sanity: Sanity | None = None

    @property
    def words(self) -> tuple[WordValue, ...]:
        """All words, in their order."""
        return tuple(word for part in self.parts for word in part.words)

    @property
    def largest(self) -> float:
        """The strength of the strongest word."""
        return max((abs(word.value) for word in self.words), default=0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExplainedAnswer:
    """An answer, and what carried each of the decisions asked about."""

    model: str
    task: str
    method: str
    answer: str
    probability: float | None
    explanations: tuple[Explanation, ...]
    num_dropped_tokens: int = 0  # of the question, which the model did not read


@dataclass(frozen=True, kw_only=True, slots=True)
class ExplainQuestion:
    """What is to be explained, and how."""

    task: str
    text: str
    method: str | None = None  # integrated gradients, and occlusion where no gradient reaches all that was read
    about: str | None = None
    each: bool = False
    checks_sanity: bool = False
    max_tokens: int = 32  # of a written answer


def explain(
    directory: Path, asked: ExplainQuestion, *, base: Path | None = None, reporter: Reporter
) -> ExplainedAnswer:
    """Let a model answer a question, and find out which words carried the answer.

    Raises: MissingExtraError without Captum; UnknownNameError for a method, task or label that is not there;
    ConfigError for a task with pictures; InputError for a question that cannot be asked, or an answer in which nothing
    was decided; as `load` for the model.
    """
    if asked.method is not None:
        method_named(asked.method)  # an unknown one is refused before the model is opened
    require_captum()
    reporter.stage("load")
    with load(directory, base=base) as model:
        reporter.stage("explain")
        return explain_answer(model, asked, reporter=reporter)


def method_named(name: str) -> Method:
    """Return a method by its name.

    Raises: UnknownNameError with the nearest one.
    """
    if name not in METHODS:
        raise UnknownNameError(f"no method {name!r}{did_you_mean(name, METHODS)}", hint=f"one of {', '.join(METHODS)}")
    return METHODS[name]


def explain_answer(model: LoadedModel, asked: ExplainQuestion, *, reporter: Reporter) -> ExplainedAnswer:
    """Return what carried a model's answer. Nobody else may use the model meanwhile."""
    answered, parts = _ask(model, asked)
    decisions = decisions_of(model, answered, about=asked.about, each=asked.each)
    name = _method_for(model, asked, decisions)
    method = method_named(name)
    explanations = []
    for number, decision in enumerate(decisions):
        reporter.progress(number, len(decisions), note=decision.about)
        explanations.append(_explain(model, decision, parts, method=method, checks_sanity=asked.checks_sanity))
    reporter.progress(len(decisions), len(decisions), note=name)
    return ExplainedAnswer(
        model=str(model.directory),
        task=asked.task,
        method=name,
        answer=answered.prediction.text,
        probability=answered.prediction.score,
        explanations=tuple(explanations),
        num_dropped_tokens=answered.prompt.num_dropped_tokens,
    )


def _method_for(model: LoadedModel, asked: ExplainQuestion, decisions: Sequence[NamedDecision]) -> str:
    reads_table = _reads_a_table(model, decisions)
    if asked.method == GRADIENTS and reads_table:
        raise InputError(
            f"task {asked.task} cannot be explained by {GRADIENTS}: its head also reads tokens (a table of n-grams, "
            "or matches), which no gradient reaches.",
            hint=f"--method {OCCLUSION}",
        )
    return asked.method or (OCCLUSION if reads_table else GRADIENTS)


def _reads_a_table(model: LoadedModel, decisions: Sequence[NamedDecision]) -> bool:
    """Whether a head that decided read tokens besides the trunk: gradients are followed to embeddings alone."""
    found = [named.decision for named in decisions]
    asked = [(own.adapter, own.head) for own in found if isinstance(own, HeadDecision)]
    asked += [(own.adapter, own.decoding.head) for own in found if isinstance(own, SpanDecision)]
    return any(model.model.heads_under(adapter).reads_tokens(head) for adapter, head in asked)


def _ask(model: LoadedModel, asked: ExplainQuestion) -> tuple[Answered, tuple[Part, ...]]:
    """Let the model give its likeliest answer, and return it with the words of the question."""
    task = model.task(asked.task)
    if task.has_pictures:
        raise ConfigError(f"task {task.name} reads or draws pictures; only words can be explained.")
    example = task.example_from_text(asked.text)
    prompt = model.prompt(asked.task, example)
    parts = source_parts(task, example, prompt, model.vocabulary)
    if not parts:
        raise InputError(f"the question to task {asked.task} has no words that could be looked at.")
    sampling = override(model.sampling_for(asked.task), temperature=0.0, max_tokens=asked.max_tokens)
    completion = model.engine.submit(prompt, sampling).result()
    answered = Answered(prompt=prompt, completion=completion, prediction=model.read(prompt, completion))
    return answered, parts


def _explain(
    model: LoadedModel, named: NamedDecision, parts: Sequence[Part], *, method: Method, checks_sanity: bool
) -> Explanation:
    groups = [word.positions for part in parts for word in part.words]
    blank_id = blank_id_of(model.vocabulary)
    found = method(model.model, named.decision, groups, blank_id=blank_id)
    sanity = None
    if checks_sanity:
        sanity = check_map(model.model, named.decision, groups, found, method=method, blank_id=blank_id)
    values = iter(found.values)
    return Explanation(
        about=named.about,
        log_odds=found.log_odds,
        blank_log_odds=found.blank_log_odds,
        parts=tuple(
            ExplainedPart(
                name=part.name, words=tuple(WordValue(text=word.text, value=next(values)) for word in part.words)
            )
            for part in parts
        ),
        gap=found.gap,
        num_steps=found.num_steps,
        sanity=sanity,
    )


def blank_id_of(vocabulary: Vocabulary) -> int:
    """Return the token that stands for a word that is not there."""
    ids = vocabulary.encode_inside(_BLANK)
    return ids[-1] if ids else vocabulary.pad_id
