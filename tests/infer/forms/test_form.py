import json
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from banyan.core.errors import ConfigError, InputError
from banyan.core.types import FinishReason
from banyan.infer.engine import Engine
from banyan.infer.forms.automaton import DEAD, Automaton
from banyan.infer.forms.form import form_of, with_space_before
from banyan.infer.sampling import SamplingConfig
from banyan.testing.prompts import VOCABULARY, make_model, picture_prompt, text_prompt


class Note(BaseModel, extra="forbid", strict=True):
    """A part that the schema refers to."""

    text: Annotated[str, Field(min_length=1, max_length=4)]
    is_sure: bool


class Person(BaseModel, extra="forbid", strict=True):
    """What a client's own types say; pydantic writes the schema, and is the judge of what fits it."""

    name: Annotated[str, Field(max_length=12)]
    age: Annotated[int, Field(ge=0, le=130)]
    tags: Annotated[list[Literal["red", "绿", 3]], Field(max_length=2)] = []
    note: Note | None


PERSON = Person.model_json_schema()
JUDGES: list[tuple[Any, dict[str, Any]]] = [
    (Person, PERSON),
    (dict[str, Any], {"type": "object"}),
    (Annotated[list[float], Field(min_length=2)], {"type": "array", "items": {"type": "number"}, "minItems": 2}),
    (dict[str, bool], {"type": "object", "additionalProperties": {"type": "boolean"}}),
    (int | str, {"anyOf": [{"const": "yes"}, {"type": ["integer", "string"]}]}),
    (Any, {}),
]


def accepts(schema: dict[str, Any], text: str) -> bool:
    form = form_of(SamplingConfig(json_schema=json.dumps(schema)))
    assert form is not None
    automaton = Automaton(form)
    return automaton.may_end(automaton.walk(automaton.start, text.encode()))


def written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**14), 10**14) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(VALUES)
@settings(max_examples=60)
def test_any_json_value_may_be_written_as_python_writes_it(value: Any) -> None:
    assert accepts({}, written(value)) and accepts({}, json.dumps(value))
    assert accepts({"type": "object"}, written(value)) == isinstance(value, dict)


NOTES = st.none() | st.builds(
    lambda text, is_sure: {"text": text, "is_sure": is_sure}, st.text(max_size=5), st.booleans()
)


@given(
    st.fixed_dictionaries(
        {"name": st.text(max_size=13), "age": st.integers(-1, 131)},
        optional={"tags": st.lists(st.sampled_from(["red", "绿", 3, "blue"]), max_size=3), "note": NOTES},
    )
)
@settings(max_examples=60)
def test_a_schema_takes_exactly_what_its_validator_takes(value: dict[str, Any]) -> None:
    in_order = {name: value[name] for name in PERSON["properties"] if name in value}
    try:
        Person.model_validate(in_order)
        fits = True
    except ValidationError:
        fits = False
    assert accepts(PERSON, written(in_order)) == fits


@pytest.mark.parametrize(("kind", "schema"), JUDGES, ids=range(len(JUDGES)))
def test_every_answer_that_is_drawn_parses_and_fits_its_schema(kind: Any, schema: dict[str, Any]) -> None:
    samplings = [
        SamplingConfig(temperature=1.5, seed=seed, json_schema=json.dumps(schema), max_tokens=90) for seed in range(12)
    ]
    with Engine(make_model(max_seq_len=160), VOCABULARY, num_slots=6) as engine:
        completions = engine.complete([text_prompt("The banyan")] * len(samplings), samplings)
    for completion in completions:
        assert completion.finish_reason is FinishReason.STOP
        TypeAdapter(kind).validate_json(completion.text or "")


def test_an_answer_is_one_of_its_choices_and_all_of_them_come() -> None:
    choices = ("yes", "yes, but", "no", "独木成林")
    samplings = [SamplingConfig(temperature=3.0, seed=seed, choices=choices, max_tokens=20) for seed in range(40)]
    with Engine(make_model(), VOCABULARY, num_slots=8) as engine:
        found = {answer.text for answer in engine.complete([text_prompt("The")] * len(samplings), samplings)}
    assert found == set(choices)


def test_a_form_that_cannot_go_on_ends_its_own_request_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object, **__: object) -> None:
        raise InputError("too many cases")

    with Engine(make_model(), VOCABULARY, num_slots=2) as engine:
        monkeypatch.setattr("banyan.infer.forms.form.FormReader.forbidden", explode)
        good = engine.submit(text_prompt("The"))
        bad = engine.submit(text_prompt("The"), SamplingConfig(choices=("yes",)))
        with pytest.raises(InputError, match="too many cases"):
            bad.result(30)
        assert good.result(30).token_ids


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ('{"type": "string", "pattern": "a+"}', '"pattern" is not supported'),
        ('{"type": "strin"}', "is none of object"),
        (
            '{"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}}}}',
            "refers to itself",
        ),
        ('{"$ref": "http://elsewhere/schema"}', "names nothing"),
        ('{"type": "array", "maxItems": 18446744073709551615}', "between 0 and 1024"),
        ('{"type": "string", "minLength": 3, "maxLength": 2}', "minLength=3 is above"),
        ('{"items": ' * 20 + "{}" + "}" * 20, "nested more than 16"),
        ('{"a":' * 3000, "not JSON"),
        ('{"enum": ["' + "x" * 20_000 + '"]}', "more than 16384 bytes"),
        ('{"enum": [NaN]}', "JSON cannot write"),
        ('{"type": "integer", "minimum": 3}', "both minimum and maximum"),
        ('{"type": "object", "properties": {}, "required": ["a"]}', "properties does not have"),
        ("[]", "an object or true"),
        ('{"type": "object", "properties": {"a": {}}, "required": [["a"]]}', "an array of texts"),
        ('{"anyOf": [{"type": "object"}], "required": ["a"]}', "required beside anyOf"),
        ('{"$ref": "#/$defs/a", "minLength": 2, "$defs": {"a": {"type": "string"}}}', r"minLength beside \$ref"),
        ('{"type": "integer", "enum": ["a", true, 1.5]}', "has the type"),
    ],
)
def test_a_schema_that_cannot_be_promised_is_refused_before_any_work(schema: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        form_of(SamplingConfig(json_schema=schema))


def test_of_constants_only_those_of_the_type_beside_them_may_be_written() -> None:
    schema = {"type": ["integer", "null"], "enum": [1, True, "a", None, 2.5]}
    assert [accepts(schema, written(value)) for value in schema["enum"]] == [True, False, False, True, False]


def test_wide_references_are_counted_before_they_are_built() -> None:
    levels: dict[str, Any] = {"a0": {"type": "string"}}
    for level in range(1, 12):
        below = {"$ref": f"#/$defs/a{level - 1}"}
        levels[f"a{level}"] = {"type": "object", "properties": {"l": below, "r": below}}
    with pytest.raises(InputError, match="more than 1000 nodes"):
        form_of(SamplingConfig(json_schema=json.dumps({"$ref": "#/$defs/a11", "$defs": levels})))


def test_a_definition_is_built_once_however_often_it_is_named() -> None:
    def num_rules(num_names: int) -> int:
        properties = {f"p{number}": {"$ref": "#/$defs/e"} for number in range(num_names)}
        schema = {"$defs": {"e": {"enum": [f"value {number}" for number in range(500)]}}, "properties": properties}
        form = form_of(SamplingConfig(json_schema=json.dumps(schema)))
        assert form is not None
        return sum(len(way) for ways in form.rules for way in ways)

    few, many = num_rules(2), num_rules(100)
    assert many - few < 5_000 < few  # what the names of the properties cost, and no enumeration
    assert accepts({"$defs": {"e": {"enum": [1, 2]}}, "properties": {"a": {"$ref": "#/$defs/e"}}}, '{"a": 2}')


def test_a_grammar_is_bounded_while_it_is_built() -> None:
    properties = {f"p{number}": {"type": "string", "maxLength": 700 + number} for number in range(250)}
    with pytest.raises(InputError, match="100000 symbols"):
        form_of(SamplingConfig(json_schema=json.dumps({"properties": properties})))


def test_a_form_refuses_what_would_break_it() -> None:
    for extra in ({"stop": ("a",)}, {"num_beams": 2}, {"min_tokens": 3}, {"no_repeat_ngram": 2}, {"choices": ("a",)}):
        with pytest.raises(ConfigError, match="does not go with"):
            SamplingConfig(json_schema="{}", **extra)  # type: ignore[arg-type]
    with Engine(make_model(), VOCABULARY, num_slots=1) as engine, pytest.raises(ConfigError, match="draws pictures"):
        engine.submit(picture_prompt("x"), SamplingConfig(choices=("a",)))


def test_one_space_may_stand_before_the_answer_where_the_model_writes_it() -> None:
    form = form_of(SamplingConfig(choices=("yes",)))
    assert form is not None
    automaton = Automaton(with_space_before(form))
    assert automaton.may_end(automaton.walk(automaton.start, b" yes"))
    assert automaton.walk(automaton.start, b"  y") == DEAD
