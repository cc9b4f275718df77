from banyan.tasks.baselines.tagging import most_frequent_tag
from banyan.tasks.tagging import Tagging

NER = Tagging(name="ner", labels=("place",))
TRAIN = [
    NER.parse({"tokens": ["New", "York", "is", "new"], "tags": ["B-place", "I-place", "O", "O"]}),
    NER.parse({"tokens": ["New", "York"], "tags": ["B-place", "I-place"]}),
    NER.parse({"tokens": ["York"], "tags": ["B-place"]}),
]


def test_each_word_gets_the_tag_it_had_most_often_made_legal() -> None:
    (prediction,) = most_frequent_tag("ner", TRAIN)([NER.example_from_text("New York or York")])
    assert prediction.tags == ("B-place", "I-place", "O", "B-place")
    assert [entity.text for entity in prediction.entities or ()] == ["New York", "York"]
