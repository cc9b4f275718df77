from banyan.core.types import Completion, Prediction
from banyan.tasks.captioning import Captioning
from banyan.tasks.image_generation import PictureExample
from banyan.testing.tasks import GREY, PIXELS, VOCABULARY

SAY = Captioning(name="sum", captions=("a {name}", "一棵{name}"), names={"tree": ("tree", "oak", "树")})


def test_one_caption_is_learned_and_each_of_them_is_right() -> None:
    example = SAY.parse({"image": GREY, "label": "tree"})
    assert example.captions == ("a tree", "a oak", "一棵树") and example.caption in example.captions
    assert set(SAY.references(example)) == set(example.captions)
    predictions = [Prediction(task="sum", text=text) for text in ("一棵树", "a house")]
    scores = SAY.score([example, example], predictions)
    assert scores["exact_match"] == scores[SAY.main_metric] == 0.5


def test_a_question_needs_no_caption() -> None:
    asked = SAY.parse({"image": GREY}, with_answer=False)
    assert asked == PictureExample(caption="", image=PIXELS) and SAY.references(asked) == ()


def test_what_is_said_is_the_answer() -> None:
    prompt = SAY.prompt(PictureExample(caption="", codes=(1, 2, 3, 4)), VOCABULARY, max_tokens=60)
    assert SAY.read(prompt, Completion(text=" a tree\n"), VOCABULARY).text == "a tree"
