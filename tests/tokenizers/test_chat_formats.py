from __future__ import annotations

from banyan.tokenizers.banyan_layout import SPECIAL_TOKENS
from banyan.tokenizers.chat_formats import ROLES


def test_every_role_has_its_own_special_token() -> None:
    assert {f"<|{role}|>" for role in ROLES} < set(SPECIAL_TOKENS)
