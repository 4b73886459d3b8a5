"""Reading a stated confidence: every way models are known to write one, and the ways they write something else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence.stated import ABOVE, LEVELS, NEGATIVE, NONE_STATED, ONE, SEVERAL, confidence_in, level_in
from gate.ports import Missing

NUMBERS = [
    ("95%", 0.95),
    ("95 %", 0.95),
    ("95.5%", 0.955),
    ("99.9%", 0.999),
    ("0.95", 0.95),
    (".95", 0.95),
    ("0,95", 0.95),
    ("95,5 %", 0.955),
    ("0.5%", 0.005),
    ("95", 0.95),
    ("95.", 0.95),
    ("100", 1.0),
    ("100%", 1.0),
    ("1.0", 1.0),
    ("1%", 0.01),
    ("0", 0.0),
    ("0%", 0.0),
    ("0.0", 0.0),
    ("1e-2", 0.01),
    ("95 percent", 0.95),
    ("95 per cent", 0.95),
    ("95pct", 0.95),
    ("%95", 0.95),
    ("~95%", 0.95),
    (">95%", 0.95),
    ("about 95%", 0.95),
    ("95%+", 0.95),
    ("95/100", 0.95),
    ("9/10", 0.9),
    ("7.5/10", 0.75),
    ("10/10", 1.0),
    ("0/10", 0.0),
    ("9 out of 10", 0.9),
    ("19 out of 20", 0.95),
    ("9 in 10", 0.9),
    ("Probability: 1 in 4", 0.25),
    ("2 in 3", 2 / 3),
    ("50/50", 0.5),
    ("50-50", 0.5),
]
SPELT = [
    ("ninety-five percent", 0.95),
    ("Ninety five", 0.95),
    ("Eighty.", 0.8),
    ("twelve percent", 0.12),
    ("zero percent", 0.0),
    ("one percent", 0.01),
    ("one hundred percent", 1.0),
    ("a hundred percent", 1.0),
    ("nine out of ten", 0.9),
    ("nine in ten", 0.9),
    ("fifty-fifty", 0.5),
    ("Confidence: seventy", 0.7),
    ("I am ninety percent sure", 0.9),
]
RANGES = [
    ("80-90%", 0.85),
    ("80% - 90%", 0.85),
    ("80–90 %", 0.85),
    ("80 to 90 percent", 0.85),
    ("between 80 and 90%", 0.85),
    ("between 80% and 90%", 0.85),
    ("0.8-0.9", 0.85),
    ("80-90", 0.85),
    ("Confidence: 70~80%", 0.75),
]
SCRIPTS = [
    ("９５％", 0.95),
    ("０．９５", 0.95),
    ("٩٥٪", 0.95),
    ("٠٫٩٥", 0.95),
    ("९५%", 0.95),
    ("๙๕%", 0.95),
    ("置信度：95", 0.95),
    ("置信度为95%左右", 0.95),
    ("确信度 ９５", 0.95),
    ("百分之95", 0.95),
    ("95パーセント", 0.95),
    ("확률은 95%", 0.95),
    ("уверенность 80 процентов", 0.8),
    ("80 Prozent", 0.8),
    ("probabilité : 80 %", 0.8),
]
WRAPPED = [
    ("**95%**", 0.95),
    ("**Confidence:** 95%", 0.95),
    ("### Confidence\n\n95", 0.95),
    ("`0.95`", 0.95),
    ("> 95%", 0.95),
    ("- 95%", 0.95),
    ("| Confidence | 95% |", 0.95),
    ("\\boxed{95\\%}", 0.95),
    ("<confidence>95</confidence>", 0.95),
    ("<p>95</p>", 0.95),
    ("<answer>95%</answer>", 0.95),
    ('{"confidence": 0.9}', 0.9),
    ('{"confidence": "90%"}', 0.9),
    ('{"answer": 42, "confidence_score": 0.9}', 0.9),
    ('```json\n{"answer": "12", "confidence": 88}\n```', 0.88),
    ("Confidence (0-100): 85", 0.85),
    ("Confidence [0-1]: 0.7", 0.7),
    ("On a scale from 0 to 100, 85", 0.85),
    ("On a scale of 1 to 10, I'd say 8", 0.8),
    ("8 on a scale of 1-10", 0.8),
    ("Confidence (out of 10): 8", 0.8),
    ("Confidence - 95%", 0.95),
    ("My confidence in this answer is about 70 percent.", 0.7),
    ("Probability = 0.35", 0.35),
    ("P(True) = 0.35", 0.35),
    ("I'd say 85.", 0.85),
    ("I would estimate around 85", 0.85),
    ("0.95 probability", 0.95),
]
AMONG_OTHERS = [
    ("The answer is 42. Confidence: 80%", 0.8),
    ("I am 95% confident that 1969 is right", 0.95),
    ("I am 90% sure that 71 is the answer.", 0.9),
    ("It is 71%. Probability: 0.4", 0.4),
    ("In 1969, 2 men did so. 80%", 0.8),
    ("85\nBecause Lagos has 15 million people.", 0.85),
    ("85, because Lagos has 15 million people", 0.85),
    ("Confidence: High (0.9)", 0.9),
    ("Confidence: 90%. I repeat: 90%", 0.9),
    ("There is a 5% chance that it is wrong, so 95%", 0.95),
    ("Confidence: 95%, error 5%", 0.95),
    ("5%: it is wrong", 0.05),
    ("Not 90%, but 60%", 0.6),
    ("No, 90%", 0.9),
    ("It is not; 90%", 0.9),
    ("5% chance that it is right", 0.05),
    ("Confidence: High, as Lagos has 15 million people.", 0.7),
]
WORDS = [
    ("Confidence: High", 0.7),
    ("Confidence: **very high**", 1.0),
    ("high", 0.7),
    ("Low.", 0.3),
    ("very low", 0.0),
    ("low confidence", 0.3),
    ("I have high confidence in it.", 0.7),
    ("Medium", 0.5),
    ("It is likely right.", 0.7),
    ("That is unlikely.", 0.3),
    ("I'm not sure", 0.45),
    ("Not very confident.", 0.3),
    ("fairly certain", 0.65),
    ("certain", 1.0),
    ("impossible", 0.0),
    ("Not at all sure", 0.0),
    ('{"confidence": "high"}', 0.7),
]
UNREADABLE = [
    ("", NONE_STATED),
    ("   \n", NONE_STATED),
    ("Nigeria", NONE_STATED),
    ("n/a", NONE_STATED),
    ("None", NONE_STATED),
    ('{"confidence": null}', NONE_STATED),
    ("I have no idea.", NONE_STATED),
    ("one moment please", NONE_STATED),
    ("Lagos has 15 million people in 1 state", NONE_STATED),
    ("the 95th", NONE_STATED),
    ("12:30", NONE_STATED),
    ("07/20/1969", NONE_STATED),
    ("1.2.3", NONE_STATED),
    ("1914-1918", NONE_STATED),
    ("3 to 1", NONE_STATED),
    ("Uncertainty: 20%", NONE_STATED),
    ("The probability of it being wrong is 20%", NONE_STATED),
    ("I'm 100% sure the answer is wrong", NONE_STATED),
    ("90% confident that it is not correct", NONE_STATED),
    ("I am certain that it's wrong.", NONE_STATED),
    ("It is likely incorrect.", NONE_STATED),
    ("75°", NONE_STATED),
    ("150", ABOVE),
    ("150%", ABOVE),
    ("100.1%", ABOVE),
    ("1,000", ABOVE),
    ("Confidence: 150", ABOVE),
    ("Confidence: 1969", ABOVE),
    ("9" * 400, ABOVE),
    ("1e999", ABOVE),
    ("11/10", ABOVE),
    ("5/0", ABOVE),
    ("90-150%", ABOVE),
    ("one hundred and fifty percent", ABOVE),
    ("-5%", NEGATIVE),
    ("-0.3", NEGATIVE),
    ("\u22125 %", NEGATIVE),
    ("Confidence: -5", NEGATIVE),
    ("20% or 80%", SEVERAL),
    ("Confidence: 20%. No, confidence: 80%", SEVERAL),
    ("high or low", SEVERAL),
    ("1", ONE),
    ("Confidence: 1", ONE),
    ('{"confidence": 1}', ONE),
    ("not 90%", NONE_STATED),
    ("I am not 90% sure.", NONE_STATED),
    ("My confidence is not 90%", NONE_STATED),
    ("It isn't quite 90%", NONE_STATED),
    ("I don't think it is 90% likely", NONE_STATED),
    ("very high\nlow", SEVERAL),
]


@pytest.mark.parametrize(("reply", "said"), [*NUMBERS, *SPELT, *RANGES, *SCRIPTS, *WRAPPED, *AMONG_OTHERS, *WORDS])
def test_what_is_stated_is_read(reply: str, said: float) -> None:
    assert confidence_in(reply) == pytest.approx(said)


@pytest.mark.parametrize(("reply", "reason"), UNREADABLE)
def test_what_is_not_stated_is_missing_for_a_fixed_reason_and_never_zero(reply: str, reason: Missing) -> None:
    assert confidence_in(reply) == reason


@pytest.mark.parametrize(
    ("reply", "answer", "said"),
    [
        ("71% is right. 95%", "71% of it", 0.95),
        ("It is 71%, at 95%", "It is 71%.", 0.95),
        ("95%", "95%", 0.95),
        ("71%", "71%", 0.71),
        ("That 71% is right: 71%", "71%", 0.71),
    ],
)
def test_numbers_of_the_answer_do_not_count_beside_others(reply: str, answer: str, said: float) -> None:
    assert confidence_in(reply, answer=answer) == pytest.approx(said)


@pytest.mark.parametrize("reply", ["71%", "It is 71% water.", "42", "9/10", "high", "I'd say 42", "very low"])
def test_in_a_reply_that_holds_the_answer_only_what_stands_beside_a_word_for_confidence_counts(reply: str) -> None:
    assert confidence_in(reply, cued=True) == NONE_STATED
    assert confidence_in(f"{reply}\nConfidence: 60%", cued=True) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("impossible", 0.0),
        ("Unlikely.", 0.3),
        ("DOUBTFUL", 0.45),
        ("**even**", 0.5),
        ("plausible", 0.65),
        ('"likely"', 0.7),
        ("certain", 1.0),
        ("I'd call it likely, 1969 or not", 0.7),
        ("Confidence: low. High stakes, though.", 0.3),
        ("not certain", 0.45),
        ("very unlikely", 0.0),
        ("ｌｉｋｅｌｙ", 0.7),
    ],
)
def test_a_word_of_the_scale_is_its_level(reply: str, said: float) -> None:
    assert level_in(reply) == said


@pytest.mark.parametrize(
    ("reply", "reason"),
    [("95%", NONE_STATED), ("", NONE_STATED), ("Lagos", NONE_STATED), ("likely or unlikely", SEVERAL)],
)
def test_without_one_word_of_the_scale_there_is_no_level(reply: str, reason: Missing) -> None:
    assert level_in(reply) == reason


def test_the_levels_rise() -> None:
    assert list(LEVELS) == sorted(LEVELS) == [0.0, 0.3, 0.45, 0.5, 0.65, 0.7, 1.0]


def sound(said: float | Missing) -> bool:
    return said in (NONE_STATED, ABOVE, NEGATIVE, SEVERAL, ONE) if isinstance(said, Missing) else 0.0 <= said <= 1.0


WORDS_AND_MARKS = """
confidence : . , - / % ٩ ％ { | 95 0 100 1 ninety hundred and to between high very not sure wrong scale of out e9 0-10
"""
PIECES = st.sampled_from([*WORDS_AND_MARKS.split(), " ", "\n"])


@given(st.text(max_size=60) | st.lists(PIECES, max_size=14).map("".join), st.booleans())
def test_no_text_is_too_odd(reply: str, cued: bool) -> None:
    assert sound(confidence_in(reply, answer=reply[::2], cued=cued))
    assert sound(level_in(reply))


@pytest.mark.parametrize("reply", ["\ud800", "95%\udfff", "\x00", "½", "²", "Ⅸ", "九十五", "9\u20e3", "🦁 95%"])
def test_nor_any_character(reply: str) -> None:
    assert sound(confidence_in(reply))


@given(st.integers(0, 100))
def test_a_percentage_is_read_alike_in_all_its_forms(percent: int) -> None:
    for form in ("{}%", "{} %", "Confidence: {}%", "{}/100", "{} out of 100", "I am {}% sure.", "**{}%**"):
        assert confidence_in(form.format(percent)) == pytest.approx(percent / 100)
    assert confidence_in(f"{percent / 100:.2f}") == pytest.approx(percent / 100)


@pytest.mark.parametrize("piece", ["confidence ", "9", "9 ", "9,", "-", "95% ", "high ", "one hundred and ", "0-10 "])
@pytest.mark.timeout(2)
def test_a_long_reply_is_read_at_its_ends_alone(piece: str) -> None:
    assert sound(confidence_in(piece * 20_000))
    assert confidence_in("Well. " * 20_000 + "\nConfidence: 60%") == pytest.approx(0.6)
