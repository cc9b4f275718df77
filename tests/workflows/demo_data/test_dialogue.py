from __future__ import annotations

import random
from pathlib import Path

from banyan.workflows.demo_data.dialogue import dialogue_rows
from banyan.workflows.demo_data.library import definitions_of, read_library


def test_turns_alternate_and_the_first_answer_is_the_first_sentence(library: Path) -> None:
    definitions = [definition for module in read_library(library) for definition in definitions_of(module)]
    rows = dialogue_rows(definitions, generator=random.Random(0))
    sentences = {definition.docstring.partition("\n")[0] for definition in definitions}
    assert {len(row["messages"]) for row in rows} == {2, 4}
    for row in rows:
        roles = [message["role"] for message in row["messages"]]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert row["module"] in row["messages"][0]["content"]
        assert row["messages"][1]["content"] in sentences


def test_arguments_are_only_asked_for_where_they_can_be_seen(library: Path) -> None:
    definitions = [definition for module in read_library(library) for definition in definitions_of(module)]
    asked = [
        row["messages"]
        for seed in range(3)
        for row in dialogue_rows(definitions, generator=random.Random(seed))
        if row["messages"][-1]["content"].startswith("It takes")
    ]
    assert asked
    for messages in asked:
        names = messages[-1]["content"].removeprefix("It takes ").rstrip(".").replace(" and ", ", ").split(", ")
        assert all(name in messages[0]["content"] or name == "no arguments" for name in names)
