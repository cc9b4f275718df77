import sys
import unicodedata
from typing import Any

import ftfy
import pysbd
import pytest
import snowballstemmer

from banyan.core.config import config_from_mapping
from banyan.core.errors import ConfigError, MissingExtraError
from banyan.tasks.config import TaskConfig
from banyan.tasks.preprocessing import Preprocessing
from banyan.tasks.question_answering import QuestionExample
from banyan.tasks.registry import TASK_KINDS, task_from_spec
from banyan.testing.tasks import TASKS, VOCABULARY, example_about

ENGLISH = "Dr. Smith's Houses were growing ﬁne. They sold “schÃ¶n” ones!"
CHINESE = "独木成林：ｔｒｅｅ　一棵树。真的吗？是的！"


def test_each_step_is_that_of_its_library() -> None:
    for text in (ENGLISH, CHINESE):
        assert Preprocessing(normalise="nfkc").clean(text) == unicodedata.normalize("NFKC", text)
        assert Preprocessing(normalise="ftfy").clean(text) == ftfy.fix_text(text)
    sentences = pysbd.Segmenter(language="zh", clean=False).segment(CHINESE)
    assert Preprocessing(split_sentences="zh").clean(CHINESE).split("\n") == [one.strip() for one in sentences]
    assert Preprocessing(split_sentences="en").clean("Dr. Smith sold it. He left.") == "Dr. Smith sold it.\nHe left."
    stem = snowballstemmer.stemmer("english").stemWord
    assert (
        Preprocessing(stem="english").clean("Houses were  growing.")
        == f"{stem('houses')} {stem('were')}  {stem('growing')}."
    )
    assert Preprocessing(stem="english").clean(CHINESE) == CHINESE.lower()


def test_nothing_is_done_unless_asked_and_no_unit_disappears() -> None:
    assert Preprocessing().clean(ENGLISH) == ENGLISH
    assert Preprocessing(normalise="ftfy").clean_unit("\ufeff") == "\ufeff" != ftfy.fix_text("\ufeff")


def with_steps(kind: str, **steps: Any) -> Any:
    """The task as it comes back from beside a model."""
    return task_from_spec({**TASKS[kind].spec(), "preprocess": steps})


@pytest.mark.parametrize("kind", ["classification", "translation", "summarization"])
def test_a_saved_task_reads_a_text_as_it_reads_the_cleaned_one(kind: str) -> None:
    steps = {"normalise": "nfkc", "stem": "english", "split_sentences": "en"}
    cleaned = Preprocessing(**steps).clean(ENGLISH)
    assert cleaned != ENGLISH
    task, plain = with_steps(kind, **steps), TASKS[kind]
    assert asked(task, kind, ENGLISH) == asked(plain, kind, cleaned) != asked(plain, kind, ENGLISH)


def asked(task: Any, kind: str, text: str) -> tuple[int, ...]:
    return tuple(task.prompt(example_about(kind, text), VOCABULARY, max_tokens=2000).token_ids)


def test_tags_and_spans_stay_at_their_words_and_answers_are_those_of_the_text_as_it_was() -> None:
    example = TASKS["tagging"].parse({"tokens": ["ﬁne", "Oaks", "树"], "tags": ["O", "B-tree", "B-tree"]})
    task = with_steps("tagging", normalise="nfkc", stem="english")
    prompt = task.prompt(example, VOCABULARY, max_tokens=200)
    assert VOCABULARY.decode(prompt.token_ids[2:-1]) == "fine oak树"
    assert len(prompt.decoding.positions) == 3
    asking = with_steps("question_answering", stem="english")
    question = QuestionExample(question="Which Trees?", context="the Growing Oaks and 树")
    prompt = asking.prompt(question, VOCABULARY, max_tokens=200)
    start = question.context.index("Oaks")
    first, last = prompt.notes.positions(start, start + 4)
    assert VOCABULARY.decode(prompt.token_ids[first : last + 1]).strip() == "oak"
    assert question.context[slice(*prompt.notes.characters(first, last))] == "Oaks"


@pytest.mark.parametrize(
    "kind", [name for name, kind in TASK_KINDS.items() if "split_sentences" not in kind.preprocessing]
)
def test_a_step_that_a_kind_cannot_have_is_refused(kind: str) -> None:
    given = {"name": "it", "kind": kind, "preprocess": {"split_sentences": "en"}}
    with pytest.raises(ConfigError, match=f"preprocess.split_sentences=en cannot be used for {kind}"):
        config_from_mapping(TaskConfig, given)


@pytest.mark.parametrize("steps", [{"stem": "klingon"}, {"split_sentences": "klingon"}])
def test_an_unknown_language_is_named_with_those_that_are_known(steps: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="klingon") as refusal:
        config_from_mapping(TaskConfig, {"name": "it", "kind": "classification", "preprocess": steps})
    assert refusal.value.hint and "known: " in refusal.value.hint


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ftfy", None)
    with pytest.raises(MissingExtraError, match="ftfy, which is not installed") as refusal:
        config_from_mapping(TaskConfig, {"name": "it", "kind": "classification", "preprocess": {"normalise": "ftfy"}})
    assert refusal.value.hint == 'pip install "banyan-gpt[text]"'
