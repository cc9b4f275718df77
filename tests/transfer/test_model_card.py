from dataclasses import replace

import pytest
import yaml

from banyan.transfer.model_card import CardFacts, MeasuredScore, TaskLine, model_card

FACTS = CardFacts(
    name="tree",
    architecture="qwen3",
    weight_type="float32",
    num_parameters=12345,
    max_seq_len=1024,
    format="hf",
    loading="LOADING",
)


def front_matter(card: str) -> dict[str, object]:
    return yaml.safe_load(card.split("---\n")[1])


def test_nothing_is_made_up_where_nothing_is_known() -> None:
    card = model_card(FACTS)
    assert front_matter(card) == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["banyan", "qwen3"],
    }
    for line in ("| licence | not stated |", "| languages | not stated |", "| parent model | none known |"):
        assert line in card
    assert "training data: not recorded" in card


def test_what_is_known_is_said() -> None:
    card = model_card(replace(FACTS, parent="trunk", dataset_fingerprint="f00d", languages=["de", "zh"]))
    assert front_matter(card)["language"] == ["de", "zh"]
    for part in ("12,345", "1,024 tokens", "LOADING", "parent model: trunk", "fingerprint `f00d`"):
        assert part in card


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("MIT", {"license": "mit"}),
        ("apache-2.0", {"license": "apache-2.0"}),
        ("House rules: ask first", {"license": "other", "license_name": "House rules: ask first"}),
    ],
)
def test_a_licence_is_written_as_a_hub_knows_it(licence: str, expected: dict[str, str]) -> None:
    card = model_card(replace(FACTS, licence=licence))
    assert expected.items() <= front_matter(card).items()
    assert f"| licence | {licence} |" in card


def test_tasks_that_stay_behind_are_told_from_those_that_travel() -> None:
    tasks = [
        TaskLine(name="text", kind="language_modeling", travels=True),
        TaskLine(name="a|b", kind="tagging", travels=False),
    ]
    scores = [
        MeasuredScore(task="a|b", metric=metric, value=value, source="60 test examples")
        for metric, value in (("f1", 0.51234), ("recall", 0.4))
    ]
    card = model_card(replace(FACTS, tasks=tasks, scores=scores, left_behind=["heads: a|b"]))
    assert "| text | language_modeling | yes | not measured |" in card
    assert r"| a\|b | tagging | no: stays with Banyan | f1 0.5123, recall 0.4 (60 test examples) |" in card
    assert "- heads: a|b" in card
