"""How plainly a text states its answer, in several languages."""

from __future__ import annotations

import pytest

from gate.evidence.assurance import assurance


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Lagos", 1.0),
        ("Lagos lies in Nigeria. It is large.", 1.0),
        ("It is probably Lagos.", 0.5),
        ("I think it might be Lagos.", 0.25),
        ("I'm not sure, but it is Lagos.", 0.25),
        ("I don't know.", 0.0),
        ("I don\u2019t know", 0.0),
        ("Unknown", 0.0),
        ("Not sure.", 0.0),
        ("N/A", 0.0),
        ("Na", 1.0),
        ("The Unknown Soldier", 1.0),
        ("I am unsure about the answer. It could be Lagos or Abuja.", 0.0),
        ("Lagos is in Nigeria. It is probably the largest city.", 0.75),
        ("One. Two. Three. I don't know more than this.", 0.75),
        ("I don't know. One. Two. Three. Four.", 0.0),
        ("No lo sé.", 0.0),
        ("Quizás Lagos.", 0.5),
        ("Je ne sais pas.", 0.0),
        ("C'est peut-être Lagos.", 0.5),
        ("Ich weiß es nicht.", 0.0),
        ("Das ist wahrscheinlich Lagos.", 0.5),
        ("Non lo so.", 0.0),
        ("Não sei.", 0.0),
        ("Ik weet het niet.", 0.0),
        ("Я не знаю.", 0.0),
        ("我不知道。", 0.0),
        ("可能是上海。", 0.5),
        ("わかりません。", 0.0),
        ("", 1.0),
    ],
)
def test_how_plainly_an_answer_is_stated(text: str, value: float) -> None:
    assert assurance(text) == value
