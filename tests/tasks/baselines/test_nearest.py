from banyan.tasks.baselines.nearest import nearest_answer
from banyan.tasks.conversations import Message
from banyan.tasks.dialogue import DialogueExample


def said(*texts: str, answer: str | None = None) -> DialogueExample:
    return DialogueExample(history=tuple(Message(role="user", content=text) for text in texts), answer=answer)


def test_the_answer_to_the_most_similar_last_message_is_given() -> None:
    train = [
        said("What is an oak?", answer="A tree."),
        said("What is the time?", answer="Noon."),
        said("树是什么？", answer="植物。"),
    ]
    answer = nearest_answer("chat", train)
    found = answer([said("oak", "And the time now?"), said("一棵树"), said("!")])
    assert [prediction.text for prediction in found] == ["Noon.", "植物。", "A tree."]
