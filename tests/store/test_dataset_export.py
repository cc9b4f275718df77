import pytest

from banyan.store.dataset_export import dataset_row, dataset_rows
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
    output: StoredOutput,
    *feedback: StoredFeedback,
    state: RequestState = RequestState.COMPLETED,
    **changes: object,
) -> StoredExchange:
    request = tiny_request(task_kind=kind, source=source, **changes)
    return StoredExchange(
        request=request, state=state, answer=StoredAnswer(state=state, outputs=(output,)), feedback=feedback
    )


def said(correction: str | None = None, rating: int | None = None) -> StoredFeedback:
    return StoredFeedback(request_id="x", correction=correction, rating=rating)


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
    assert dataset_row(exchange(kind, source, output)) == row


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
    assert dataset_row(exchange(kind, source, output, said("first"), said(correction, rating=-1))) == row


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
    assert list(dataset_rows([unusable])) == []


def test_a_liked_answer_stays_after_an_earlier_dislike() -> None:
    liked = exchange("classification", {"text": "a"}, StoredOutput(text="x"), said(rating=-1), said(rating=1))
    assert dataset_row(liked) == {"text": "a", "label": "x"}


def test_without_a_stored_source_the_body_is_read() -> None:
    body = {"model": "m", "messages": MESSAGES}
    row = dataset_row(exchange("dialogue", None, StoredOutput(text="hello"), body=body))
    assert row == {"messages": [*MESSAGES, {"role": "assistant", "content": "hello"}]}
    prompt = dataset_row(exchange("dialogue", None, StoredOutput(text="hello"), body={"prompt": "hi"}))
    assert prompt == row
