"""What a model without task tokens is told to do with a text, where the recipe does not say it."""

from __future__ import annotations

from collections.abc import Sequence

from banyan.tasks.units import has_unspaced_script

# By kind, in English and in Chinese; {name} is the task's own name.
_INSTRUCTIONS = {
    "classification": ("Which label fits this text ({name})?", "这段文字属于哪一类（{name}）？"),
    "tagging": ("Mark the entities in this text ({name}).", "标出这段文字中的实体（{name}）。"),
    "translation": ("Translate this text.", "翻译这段文字。"),
    "summarization": ("Summarize this text.", "概括这段文字。"),
    "question_answering": ("Answer the question with words of the text.", "用文中的词语回答问题。"),
    "image_generation": ("Draw this.", "画出下面的内容。"),
    "picture_classification": ("Which label fits this picture ({name})?", "这张图片属于哪一类（{name}）？"),
    "captioning": ("What is in this picture?", "这张图片里有什么？"),
}
_OWN_KIND = ("Do this: {name}.", "请完成：{name}。")  # for a kind from a plug-in
_LABELS = (" Answer with one of: {labels}.", "请从以下选项中选择：{labels}。")
_MAX_LABEL_CHARACTERS = 400  # longer lists would push the text itself out of the context


def default_instruction(kind: str, name: str, *, text: str, labels: Sequence[str] = ()) -> str:
    """Return the instruction of a kind of task, in the language of the text; with `labels` it lists the choices."""
    language = 1 if has_unspaced_script(text) else 0
    said = _INSTRUCTIONS.get(kind, _OWN_KIND)[language].format(name=name.replace("_", " "))
    listed = ("、" if language else ", ").join(labels)
    if listed and len(listed) <= _MAX_LABEL_CHARACTERS:
        said += _LABELS[language].format(labels=listed)
    return said
