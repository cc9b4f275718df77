import pytest

from banyan.core.types import Row
from banyan.store.dataset_export import training_rows
from banyan.store.lineage import lineage_of
from banyan.store.types import (
    RequestState,
    StoredAnswer,
    StoredArtifact,
    StoredExchange,
    StoredFeedback,
    StoredOutput,
)
from banyan.testing.store import tiny_request

CONTEXT = "Banyan trees grow wide."
MESSAGES = [{"role": "user", "content": "hi"}]
PICTURE = StoredArtifact(media_type="image/png", data=b"png")
TAGS = {"tags": ["O", "B-X"]}
ENTITIES = [{"label": "X", "start": 2, "end": 3, "text": "b"}]


def exchange(
    kind: str,
    source: dict[str, object] | None,
    *parts: StoredOutput | StoredFeedback,
    state: RequestState = RequestState.COMPLETED,
    **changes: object,
) -> StoredExchange:
    outputs = tuple(part for part in parts if isinstance(part, StoredOutput))
    feedback = tuple(part for part in parts if isinstance(part, StoredFeedback))
    request = tiny_request(task_kind=kind, source=source, num_choices=len(outputs), **changes)
    return StoredExchange(
        request=request, state=state, answer=StoredAnswer(state=state, outputs=outputs), feedback=feedback
    )


def said(correction: str | None = None, rating: int | None = None, on: int | None = None) -> StoredFeedback:
    return StoredFeedback(request_id="x", correction=correction, rating=rating, choice_index=on)


def learned(asked: StoredExchange, *, only_judged: bool = False) -> list[Row]:
    return [found.row for found in training_rows(asked, only_judged=only_judged)]


LANGUAGES = {"source_language": "en", "target_language": "de"}
ANSWERED = [
    ("classification", {"text": "a"}, StoredOutput(text="x"), {"text": "a", "label": "x"}),
    ("picture_classification", {"image": "data:"}, StoredOutput(text="x"), {"image": "data:", "label": "x"}),
    (
        "picture_classification",
        {"image": "data:", "text": "a"},
        StoredOutput(text="x"),
        {"image": "data:", "text": "a", "label": "x"},
    ),
    ("captioning", {"image": "data:"}, StoredOutput(text="a cat"), {"image": "data:", "text": "a cat"}),
    ("tagging", {"tokens": ["a", "b"]}, StoredOutput(prediction=TAGS), {"tokens": ["a", "b"], **TAGS}),
    (
        "question_answering",
        {"context": CONTEXT, "question": "how?"},
        StoredOutput(text="wide", prediction={"span": [18, 22]}),
        {"context": CONTEXT, "question": "how?", "answers": [{"text": "wide", "start": 18}]},
    ),
    (
        "question_answering",
        {"context": CONTEXT, "question": "why?"},
        StoredOutput(text=""),
        {"context": CONTEXT, "question": "why?", "answers": []},
    ),
    (
        "translation",
        {"text": "tree", **LANGUAGES},
        StoredOutput(text="Baum"),
        {"translation": {"en": "tree", "de": "Baum"}},
    ),
    (
        "translation",
        {"translation": {"en": "tree"}, **LANGUAGES},
        StoredOutput(text="Baum"),
        {"translation": {"en": "tree", "de": "Baum"}},
    ),
    ("translation", {"text": "tree"}, StoredOutput(text="Baum"), {"source": "tree", "target": "Baum"}),
    (
        "translation",
        {"source": "tree", "target_language": "fr"},
        StoredOutput(text="arbre"),
        {"source": "tree", "target": "arbre", "target_language": "fr"},
    ),
    (
        "tagging",
        {"text": "a b"},
        StoredOutput(prediction={"entities": ENTITIES, **TAGS}),
        {"text": "a b", "entities": ENTITIES},
    ),
    (
        "question_answering",
        {"text": f"how? ||| {CONTEXT}"},
        StoredOutput(text="wide"),
        {"context": CONTEXT, "question": "how?", "answers": [{"text": "wide", "start": 18}]},
    ),
    ("summarization", {"document": "long"}, StoredOutput(text="s"), {"document": "long", "summary": "s"}),
    (
        "dialogue",
        {"messages": MESSAGES},
        StoredOutput(text="hello"),
        {"messages": [*MESSAGES, {"role": "assistant", "content": "hello"}]},
    ),
    ("language_modeling", {"text": "once "}, StoredOutput(text="upon"), {"text": "once upon"}),
    (
        "image_generation",
        {"text": "a seven"},
        StoredOutput(artifacts=(PICTURE,)),
        {"image": f"images/{PICTURE.sha256[:32]}.png", "text": "a seven"},
    ),
]


@pytest.mark.parametrize(("kind", "source", "output", "row"), ANSWERED)
def test_an_answer_becomes_a_row_of_its_tasks_format(
    kind: str, source: dict[str, object], output: StoredOutput, row: dict[str, object]
) -> None:
    assert learned(exchange(kind, source, output)) == [row]


CORRECTED = [
    ("classification", {"text": "a"}, StoredOutput(text="x"), "y", {"text": "a", "label": "y"}),
    (
        "tagging",
        {"tokens": ["a", "b"]},
        StoredOutput(prediction=TAGS),
        '["O", "O"]',
        {"tokens": ["a", "b"], "tags": ["O", "O"]},
    ),
    (
        "question_answering",
        {"context": CONTEXT, "question": "what?"},
        StoredOutput(text="wide", prediction={"span": [18, 22]}),
        "trees",
        {"context": CONTEXT, "question": "what?", "answers": [{"text": "trees", "start": 7}]},
    ),
    ("summarization", {"text": "long"}, StoredOutput(text="s"), "t", {"document": "long", "summary": "t"}),
]


@pytest.mark.parametrize(("kind", "source", "output", "correction", "row"), CORRECTED)
def test_a_correction_takes_the_place_of_the_answer(
    kind: str, source: dict[str, object], output: StoredOutput, correction: str, row: dict[str, object]
) -> None:
    assert learned(exchange(kind, source, output, said("first"), said(correction, rating=-1))) == [row]


@pytest.mark.parametrize(
    "unusable",
    [
        exchange("classification", {"text": "a"}, StoredOutput(text="x"), said(rating=-1)),
        exchange("classification", {"text": "a"}, StoredOutput(text="x"), state=RequestState.FAILED),
        exchange("classification", {}, StoredOutput(text="x")),
        exchange("unheard_of", {"text": "a"}, StoredOutput(text="x")),
        exchange("tagging", {"text": "a b"}, StoredOutput(prediction=TAGS)),
        exchange("tagging", {"text": "a b"}, StoredOutput(prediction={"entities": ENTITIES}), said("not json")),
        exchange("question_answering", {"text": "how? of what?"}, StoredOutput(text="wide")),
        exchange("tagging", {"tokens": ["a"]}, StoredOutput(prediction=TAGS)),
        exchange("tagging", {"tokens": ["a", "b"]}, StoredOutput(prediction=TAGS), said("not json")),
        exchange("question_answering", {"context": CONTEXT, "question": "?"}, StoredOutput(text="palm")),
        exchange("question_answering", {"question": "?"}, StoredOutput(text="palm")),
        exchange("translation", {"translation": {"en": "tree"}}, StoredOutput(text="Baum")),
        exchange("image_generation", {"text": "a seven"}, StoredOutput()),
        exchange("dialogue", {}, StoredOutput(text="x"), body={"seed": 1}),
        exchange("summarization", {}, StoredOutput(text="x"), body={"seed": 1}),
        exchange("language_modeling", {}, StoredOutput(text="x"), body={"seed": 1}),
    ],
)
def test_what_cannot_be_learned_from_gives_no_row(unusable: StoredExchange) -> None:
    assert learned(unusable) == []


def test_a_liked_answer_stays_after_an_earlier_dislike() -> None:
    liked = exchange("classification", {"text": "a"}, StoredOutput(text="x"), said(rating=-1), said(rating=1))
    assert learned(liked) == [{"text": "a", "label": "x"}]


def test_without_a_stored_source_the_body_is_read() -> None:
    body = {"model": "m", "messages": MESSAGES}
    rows = learned(exchange("dialogue", None, StoredOutput(text="hello"), body=body))
    assert rows == [{"messages": [*MESSAGES, {"role": "assistant", "content": "hello"}]}]
    assert learned(exchange("dialogue", None, StoredOutput(text="hello"), body={"prompt": "hi"})) == rows


def batch(*feedback: StoredFeedback, per_input: int = 1) -> StoredExchange:
    """Return two inputs with their answers, the second one labelled wrongly."""
    labels = [label for label in ("x", "y") for _ in range(per_input)]
    outputs = [StoredOutput(choice_index=n, text=f"{label}{n % per_input or ''}") for n, label in enumerate(labels)]
    sources = ({"text": "first"}, {"text": "second"})
    return exchange("classification", None, *outputs, *feedback, sources=sources)


FIRST, SECOND = {"text": "first", "label": "x"}, {"text": "second", "label": "y"}


@pytest.mark.parametrize(
    ("feedback", "rows", "judged"),
    [
        ([], [FIRST, SECOND], []),
        ([said("z", -1, on=1)], [FIRST, {**SECOND, "label": "z"}], [{**SECOND, "label": "z"}]),
        ([said("z", on=0), said(rating=-1, on=1)], [{**FIRST, "label": "z"}], [{**FIRST, "label": "z"}]),
        ([said(rating=1, on=0)], [FIRST, SECOND], [FIRST]),
        ([said("z", -1)], [FIRST, SECOND], []),
    ],
    ids=["nothing said", "one corrected", "one corrected and one disliked", "one liked", "nobody said which"],
)
def test_every_input_of_a_batch_is_a_row_with_what_was_said_of_its_own_answer(
    feedback: list[StoredFeedback], rows: list[Row], judged: list[Row]
) -> None:
    assert learned(batch(*feedback)) == rows
    assert learned(batch(*feedback), only_judged=True) == judged


@pytest.mark.parametrize(
    ("feedback", "labels", "judged"),
    [
        ([], ["x"], []),
        ([said(rating=1, on=2)], ["x2"], ["x2"]),
        ([said(rating=-1, on=0)], [], []),
        ([said(rating=-1, on=1)], ["x"], []),
        ([said(rating=-1, on=0), said("z", on=1)], ["z"], ["z"]),
        ([said("z", on=0), said("z", on=2)], ["z"], ["z"]),
        ([said(rating=1, on=0), said(rating=1, on=1)], ["x", "x1"], ["x", "x1"]),
        ([said("z")], ["z"], ["z"]),
        ([said(rating=0, on=0)], ["x"], ["x"]),
    ],
)
def test_of_several_answers_those_are_learned_that_somebody_liked_or_corrected_else_the_first(
    feedback: list[StoredFeedback], labels: list[str], judged: list[str]
) -> None:
    outputs = [StoredOutput(choice_index=n, text=f"x{n or ''}") for n in range(3)]
    asked = exchange("classification", {"text": "a"}, *outputs, *feedback)
    assert [row["label"] for row in learned(asked)] == labels
    assert [row["label"] for row in learned(asked, only_judged=True)] == judged


def test_several_answers_to_each_of_several_inputs_are_kept_apart() -> None:
    asked = batch(said(rating=1, on=1), said("z", on=3), per_input=2)
    assert learned(asked) == [{"text": "first", "label": "x1"}, {"text": "second", "label": "z"}]
    assert [found.choice_index for found in training_rows(asked)] == [1, 3]


def test_the_lineage_of_a_row_tells_its_answer_and_what_was_said_of_that() -> None:
    asked = batch(said(rating=1, on=0), said("z", -1, on=1))
    first, second = (lineage_of(asked, choice_index=n, line=n + 1) for n in range(2))
    assert [(row["line"], row["index"], row["rating"]) for row in (first, second)] == [(1, 0, 1), (2, 1, -1)]
    assert (first["corrected_by"], second["corrected_by"]) == (None, asked.feedback[1].feedback_id)
