"""The chat format, told twice: the roles our code opens messages with, and the same as a template for other tools.

`<|bos|>`, then per message `<|role|>` text `<|end|>`; to ask for an answer, `<|assistant|>`; the answer ends with
`<|end|>`. We never execute the template; a test compares its ids with ours.
"""

from __future__ import annotations

ROLES: tuple[str, ...] = ("system", "user", "assistant", "tool")

CHAT_TEMPLATE = (
    "{{ '<|bos|>' }}"
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
