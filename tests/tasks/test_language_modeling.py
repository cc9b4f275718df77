import pytest

from banyan.core.errors import ConfigError, InputError
from banyan.core.types import NO_TARGET, Completion
from banyan.tasks.language_modeling import LanguageModeling, TextExample
from banyan.testing.vocabulary import tiny_vocabulary

VOCABULARY = tiny_vocabulary(["lm"])
LM = LanguageModeling(name="lm")


def test_a_text_is_its_own_prompt_without_a_task_token() -> None:
    prompt = LM.prompt(TextExample(text="一棵 tree"), VOCABULARY, max_tokens=100)
    assert prompt.token_ids == (VOCABULARY.bos_id, *VOCABULARY.encode("一棵 tree"))


def test_every_token_and_the_end_are_learned() -> None:
    sequence = LM.render(TextExample(text="一棵 tree"), VOCABULARY, max_tokens=100)
    assert sequence.targets == (*sequence.token_ids[1:], VOCABULARY.eos_id)


def test_a_text_that_was_cut_has_no_end_to_learn() -> None:
    sequence = LM.render(TextExample(text="tree " * 50), VOCABULARY, max_tokens=10)
    assert len(sequence) <= 10
    assert sequence.targets == (*sequence.token_ids[1:], NO_TARGET)


def test_a_continuation_is_read_as_it_is() -> None:
    prompt = LM.prompt(TextExample(text="a"), VOCABULARY, max_tokens=100)
    completion = Completion(token_ids=tuple(VOCABULARY.encode("  tree\n")))
    assert LM.read(prompt, completion, VOCABULARY).text == "  tree\n"


def test_a_template_makes_the_document() -> None:
    poem = LanguageModeling(name="lm", template="{title}\n{text}")
    assert poem.parse({"title": "静夜思", "text": "床前明月光"}).text == "静夜思\n床前明月光"


def test_there_must_be_a_beginning() -> None:
    with pytest.raises(InputError, match="beginning"):
        LM.example_from_text("")


def test_continuations_are_not_scored() -> None:
    with pytest.raises(ConfigError, match="bits"):
        LM.score([TextExample(text="a")], [])
