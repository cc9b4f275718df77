import pytest

from banyan.core.errors import ConfigError, DataError
from banyan.core.types import Completion, FinishReason, Text
from banyan.tasks.summarization import Summarization, SummaryExample
from banyan.testing.vocabulary import tiny_vocabulary

VOCABULARY = tiny_vocabulary(["sum"])
SUM = Summarization(name="sum", max_answer_tokens=10)


def test_room_for_the_answer_is_kept_free() -> None:
    prompt = SUM.prompt(SummaryExample(document="tree " * 100), VOCABULARY, max_tokens=50)
    assert isinstance(prompt.decoding, Text)
    assert len(prompt) + prompt.decoding.max_tokens == 50


def test_the_prompt_does_not_depend_on_the_answer() -> None:
    short, long = (SummaryExample(document="tree " * 100, summaries=(text,)) for text in ("a", "tree " * 40))
    assert SUM.prompt(short, VOCABULARY, max_tokens=50) == SUM.prompt(long, VOCABULARY, max_tokens=50)


def test_the_first_reference_is_learned() -> None:
    example = SummaryExample(document="x", summaries=("a tree", "树"))
    sequence = SUM.render(example, VOCABULARY, max_tokens=50)
    assert VOCABULARY.decode(target for target in sequence.targets if target >= 0) == "a tree"


def test_an_answer_that_ran_out_of_room_says_so() -> None:
    prompt = SUM.prompt(SummaryExample(document="x"), VOCABULARY, max_tokens=50)
    completion = Completion(token_ids=tuple(VOCABULARY.encode("a tree")), finish_reason=FinishReason.LENGTH)
    prediction = SUM.read(prompt, completion, VOCABULARY)
    assert (prediction.text, prediction.finish_reason) == ("a tree", FinishReason.LENGTH)
    assert prediction.num_completion_tokens == len(completion.token_ids)


def test_there_is_nothing_to_learn_without_an_answer_and_no_answer_without_room() -> None:
    with pytest.raises(DataError, match="without an answer"):
        SUM.render(SummaryExample(document="x"), VOCABULARY, max_tokens=50)
    with pytest.raises(ConfigError, match="max_answer_tokens=0"):
        Summarization(name="sum", max_answer_tokens=0)
