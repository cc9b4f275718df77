import json

import pytest

from banyan.core.errors import InputError
from banyan.infer.forms import automaton
from banyan.infer.forms.json_schema import schema_grammar


def words(num: int) -> str:
    return json.dumps({"enum": [f"{'a' * number}{number}" for number in range(num)]})


@pytest.mark.parametrize(("limit", "is_refused"), [(100, True), (10_000, False)])
def test_what_all_states_together_keep_is_bounded(
    monkeypatch: pytest.MonkeyPatch, limit: int, is_refused: bool
) -> None:
    monkeypatch.setattr(automaton, "MAX_KEPT_PLACES", limit)
    form = automaton.Automaton(schema_grammar(words(40)))
    text = b'"' + b"a" * 20
    if is_refused:
        with pytest.raises(InputError, match="too many cases"):
            form.walk(form.start, text)
    else:
        assert not form.must_end(form.walk(form.start, text))
