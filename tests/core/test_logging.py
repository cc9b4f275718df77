from banyan.core.logging import format_fields


def test_a_log_line_stays_one_line_whatever_the_text_holds() -> None:
    line = format_fields({"step": 3, "loss": 1.25, "name": "a b", "attack": "x\ny\x1b[31m", "zh": "你好"})
    assert line == 'step=3 loss=1.25 name="a b" attack="x\\ny\\u001b[31m" zh=你好'
