"""Stated confidence: reading out of a reply how sure it says it is. Pure, and safe on any text.

What counts, best first: a number beside a word such as "confidence", a level word beside one ("Confidence: high"), a
percentage or a ratio, a number that stands alone, a level word. Two that differ and count alike are no statement.

A number up to 1 is a share and one above 1 a percentage; a bare whole ``1`` may be 1 % or certainty, so it is neither.
A number that is denied ("not 90%") states nothing. What cannot be read is `Missing` with one of a few fixed reasons:
never 0, and never left out, because an upstream that does not do as it is told tells something too.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from gate.ports import Missing

NONE_STATED = Missing("the reply states no confidence")
ABOVE = Missing("the stated confidence is above 100 %")
NEGATIVE = Missing("the stated confidence is negative")
SEVERAL = Missing("the reply states several confidences")
ONE = Missing("the stated confidence may be 1 % or certainty")

LEVELS = {
    0.0: "impossible|(?:very|extremely) (?:low|unlikely)|no (?:confidence|chance)"
    "|not at all (?:confident|sure|certain|likely)",
    0.3: "unlikely|low|improbable|not likely|not (?:very|too|so|that) (?:confident|sure|certain|likely|high)",
    0.45: "doubtful|(?:fairly|somewhat|rather|medium) low|low to (?:medium|moderate)|unsure|uncertain"
    "|not (?:sure|certain|confident|high|probable)",
    0.5: "even|medium|moderate|average|toss[- ]?up|coin[- ]?(?:flip|toss)|maybe|possibl[ey]|neutral",
    0.65: "plausible|(?:fairly|somewhat|rather|medium|moderately|reasonably|pretty|quite)[- ]?"
    "(?:high|confident|sure|certain|likely)|(?:medium|moderate) to high",
    0.7: "likely|high|probabl[ey]|confident|strong",
    1.0: "certain|sure|definite(?:ly)?|absolute(?:ly)?|(?:almost|nearly|virtually) certain"
    "|(?:very|extremely|highly|absolutely|completely|totally|fully|entirely) "
    "(?:high|confident|sure|certain|likely|strong)",
}
"""Words for seven levels of confidence; the seven numbers are those of APRICOT (Ulmer et al., 2024)."""

_SPAN = 1000
"""Characters read at either end of a long reply."""
_LETTER = "a-z\u00c0-\u024f"
_PERCENT = (
    r"(?:%|per ?cent\b|pct\b|prozent|pour ?cent|por ?ciento|per ?cento|процент|パーセント|퍼센트|प्रतिशत|फीसदी"
    r"|بالمئة|بالمائة)"
)
_NUMBER = r"(?:\d+(?:[.,]\d+)?|\.\d+)(?:e[+-]?\d+)?"
_BEGIN = rf"(?<![{_LETTER}\d])(?<!\d[.,:/-])"
_END = rf"(?![{_LETTER}\d°]|[.,:/-]\d)"
_AMOUNT = re.compile(
    rf"(?P<minus>(?<![^\s:=(\[,])-)?{_BEGIN}(?P<before>%|百分之\s?)?(?:"
    rf"(?P<low>{_NUMBER})\s?(?P<low_percent>{_PERCENT})?\s?(?:-|–|~|to\b)\s?(?P<high>{_NUMBER})"
    rf"(?:\s?(?P<high_percent>{_PERCENT})|{_END})"
    rf"|(?P<part>{_NUMBER})\s?(?:/\s?(?P<over>\d+)|out of (?P<of>\d+)|in (?P<tens>[2-9]|10+))(?:\s?{_PERCENT}|{_END})"
    rf"|(?P<one>{_NUMBER})(?:\s?(?P<percent>{_PERCENT})|{_END}))"
)
_CUE = (
    r"(?:(?<![a-z])(?:confiden(?:ce|t)|probability|likelihood|likely|certainty|certain|sure|chance|credence"
    r"|konfidenz|sicherheit|wahrscheinlichkeit|confiance|probabilité|certitude|confianza|probabilidad|confiança)(?![a-z])"
    r"|p\((?:true|correct|right)\)|уверенность|вероятность|置信度|可信度|确信度|把握|信心|概率|可能性|確信度|確率|신뢰도|확신도|확률|ثقة|احتمال|आत्मविश्वास)"
)
_OPINION = r"(?:\b(?:i'd|i would|i will|i'll) (?:say|estimate|guess|rate (?:it|this)|give (?:it|this)|put (?:it|this)))"
_BETWEEN = (
    r"(?:[^\w.;!?。]|[为為是はがの约約]|(?<![a-z])(?:is|was|of|at|about|around|roughly|approximately|approx|level|score"
    r"|rating|value|estimated?|my|the|this|in|answer|for|as|being|be|would|i'd|i|say|a|an|it|it's|correct|right"
    r"|true|very|fairly|high|low|medium|moderate|percent|percentage|number|overall|final|stated|equals?|only"
    r"|just|to|out)(?![a-z]))*"
)
"""What may stand between a cue and its number."""
_AFTER_CUE = re.compile(rf"{_CUE}{_BETWEEN}\Z")
_AFTER_OPINION = re.compile(rf"{_OPINION}{_BETWEEN}\Z")
_BEFORE_CUE = re.compile(rf" ?(?:-|of )? ?(?:\w+ )?{_CUE}")
_WRONG = r"\b(?:wrong|incorrect|false|mistaken|untrue|in error|(?:not|n't) (?:right|correct|true))\b"
_AFTER_DOUBT = re.compile(
    rf"(?:(?:uncertain(?:ty)?|unsure|doubt|error|risk)|(?:probability|chance|likelihood)[^.;!?\n]{{0,40}}{_WRONG}){_BETWEEN}\Z"
)
_BEFORE_DOUBT = re.compile(
    r"\s?(?:chance|probability|likelihood|risk)? ?(?:(?:that|of|it|is|it's|this|i|am|i'm|being|the|answer|my) )*"
    rf"(?:{_WRONG}|uncertain|unsure|doubt)"
    rf"| ?{_CUE}[^.,:;!?\n]{{0,60}}?{_WRONG}"
)
_BEFORE_WRONG = re.compile(rf"[^.,:;!?\n]{{0,60}}?{_WRONG}")
_OPENING = re.compile(r"\W*\Z")
_GOES_ON = re.compile(r"\s*(?:\Z|[\n.,;:)\]}–—-]|(?:on|because|since|as|given|that)\b)")
_SCALE = re.compile(
    rf"\(?(?:on a )?(?:scale (?:of|from) |from )?(?<![\d.,])[01]\s?%?\s?(?:-|–|to)\s?"
    rf"(?:(?P<whole>100)\s?{_PERCENT}?|(?P<ten>10|1)(?!\s?{_PERCENT}))(?![\d.,]\d|\d)(?: scale)?\)?"
    r"|scale (?:of|from) [01]\s?(?:-|–|to)\s?(?P<other>[2-9])\b|\(\s?out of (?P<out>100|10)\s?\)"
)
_LEVEL = re.compile(
    r"(?<![a-z])(?<!un)(?:"
    + "|".join(f"(?P<level{place}>{words})" for place, words in reversed(list(enumerate(LEVELS.values()))))
    + r")(?![a-z])"
)
_NOT = re.compile(r"(?:\bnot|n't|\bnever|\bhardly|\bno)(?: \w+)? \Z")
_DENIED = (
    r"(?:\b(?:not|never|hardly|cannot)|n't)(?: (?:at|about|around|quite|even|really|exactly|nearly|over|above|more|than"
    r"|a|the|be|think|believe|say|it|is|it's|this|that|i|am|i'm))* "
)
"""What, right before a number, says that it is not that one."""
_AFTER_DENIAL = re.compile(rf"{_DENIED}\Z")
_DENIED_AMOUNT = re.compile(rf"{_DENIED}(?=[\d.])")

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
)
_SMALL = {word: value for value, word in enumerate([*_UNITS.split(), "eighteen", "nineteen"])}
_TENS = {
    word: 10 * value
    for value, word in enumerate(("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"), 2)
}
_SPELT = "|".join(sorted([*_SMALL, *_TENS], key=len, reverse=True))
_BELOW_HUNDRED = rf"(?:(?:{'|'.join(_TENS)})[- ](?:{'|'.join(list(_SMALL)[1:10])})|{_SPELT})"
_WORDS = re.compile(rf"\b(?:(?:(?:a|{_SPELT}) )?hundred(?:(?: and)? {_BELOW_HUNDRED})?|{_BELOW_HUNDRED})\b")
_COUNTS = re.compile(rf"\s?(?:{_PERCENT}|out of\b|in ten\b|-? ?to ?-?{_BELOW_HUNDRED} ?{_PERCENT})")
_COUNTED = re.compile(rf"\b(?:out of|(?:\d|{_SPELT}) (?:in|to)) \Z")

_TAG = re.compile(r"</?[a-z]{1,6} ?/?>")
_READ_AS = str.maketrans({
    **dict.fromkeys('*`"“”„«»<>{}\\$|_', " "),
    "⁄": "/", "∕": "/", "\u2212": "-", "٪": "%", "٫": ".", "’": "'", "〜": "~",
})  # fmt: skip
"""Quotes and markup as space; marks of other scripts as those of ASCII."""


@dataclass(frozen=True, slots=True)
class _Stated:
    """A number in the reply, and what speaks for its being the confidence."""

    value: float | Missing
    digits: frozenset[str]
    cued: bool
    """A word for confidence stands beside it."""
    marked: bool
    """It is written as a percentage, a ratio or below zero."""
    alone: bool
    """It has its line to itself, or opens the reply."""


def confidence_in(reply: str, *, answer: str = "", cued: bool = False) -> float | Missing:
    """The confidence a reply states, in [0, 1], or why there is none.

    ``answer`` is what the reply is about: where several numbers stand in the reply, those of the answer do not count.
    ``cued`` is for replies that hold the answer itself: only what stands beside a word for confidence counts.
    """
    text = _plain(reply)
    text, top = _without_scale(text)
    found = [stated for match in _AMOUNT.finditer(text) if (stated := _weighed(match, text, top, opinion=not cued))]
    numbers = frozenset(re.findall(_NUMBER, _plain(answer)))
    ranks: list[list[_Stated]] = [
        [s for s in found if s.cued and s.marked],
        [s for s in found if s.cued and not s.marked],
    ]
    said, beyond = _first_said(ranks, numbers)
    if said is None:
        said = _level(text, beside_cue=True)
    if said is None and not cued:
        alone = [s for s in found if s.alone and not s.cued and not s.marked]
        said, other = _first_said([[s for s in found if s.marked and not s.cued], alone], numbers)
        beyond = beyond or other
    if said is None and not cued and not found and not _DENIED_AMOUNT.search(text):
        said = _level(text, beside_cue=False)
    return said if said is not None else beyond or NONE_STATED


def level_in(reply: str) -> float | Missing:
    """The level of `LEVELS` a reply names, or why there is none. Numbers in it count for nothing."""
    text = _plain(reply)
    said = _level(text, beside_cue=True)
    said = _level(text, beside_cue=False) if said is None else said
    return NONE_STATED if said is None else said


# --- numbers -----------------------------------------------------------------------------------------------------


def _plain(text: str) -> str:
    """Folded case, width, digits of any script, quotes, markup and number words; one space at a time."""
    if len(text) > 2 * _SPAN:
        text = f"{text[:_SPAN]}\n{text[-_SPAN:]}"
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
        text = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)
    text = _TAG.sub(" ", text.casefold()).translate(_READ_AS)
    text = re.sub(r"[^\S\n]+", " ", text)
    text = re.sub(r"\b50 ?/ ?50\b|\bfifty[-/ ]fifty\b", "50%", text)
    text = _WORDS.sub(_in_digits, text)
    return re.sub(rf"\bbetween ({_NUMBER}) ?({_PERCENT})? and (?={_NUMBER})", r"\1\2 to ", text)


def _in_digits(found: re.Match[str]) -> str:
    """A number word in digits, where it can only be an amount: "one" is a number less often than not."""
    head, tail = found.string[max(0, found.start() - 80) : found.start()], found.string[found.end() :]
    counts = _COUNTS.match(tail) or _COUNTED.search(head) or _AFTER_CUE.search(head)
    if counts or (_OPENING.match(tail) and _OPENING.match(head)):
        return str(_value_of(found[0]))
    return found[0]


def _value_of(words: str) -> int:
    total = 0
    for word in re.split(r"[- ]", words):
        if word == "hundred":
            total = 100 * (total or 1)
        else:
            total += _SMALL.get(word, 0) + _TENS.get(word, 0)
    return total


def _without_scale(text: str) -> tuple[str, float]:
    """The text without mentions of the scale ("0-100"), and the top of a scale that ends at ten or below; else 0."""
    tops = [float(match["ten"] or match["other"] or match["out"] or 0) for match in _SCALE.finditer(text)]
    return _SCALE.sub(" ", text), max((top for top in tops if 1 < top <= 10), default=0.0)


def _weighed(found: re.Match[str], text: str, top: float, *, opinion: bool) -> _Stated | None:
    """None for a number that says how sure it is *not*, or that it denies."""
    value = _share(found, top)
    head, tail = text[max(0, found.start() - 80) : found.start()], text[found.end() : found.end() + 60]
    if value is None or _AFTER_DOUBT.search(head) or _BEFORE_DOUBT.match(tail) or _AFTER_DENIAL.search(head):
        return None
    cue = _AFTER_CUE.search(head) or _BEFORE_CUE.match(tail) or (opinion and _AFTER_OPINION.search(head))
    line_start, line_end = head.rpartition("\n")[2], tail.partition("\n")[0]
    opens = found.start() == len(head) and _OPENING.match(head) and _GOES_ON.match(tail)
    return _Stated(
        value,
        frozenset(re.findall(_NUMBER, found[0])),
        cued=bool(cue),
        marked=found["one"] is None or any(found[g] for g in ("percent", "before", "minus")),
        alone=bool(opens or (_OPENING.match(line_start) and _OPENING.match(line_end))),
    )


def _share(found: re.Match[str], top: float) -> float | Missing | None:
    """What the amount says, in [0, 1]. None when it is no amount of confidence at all (odds, a year in a range)."""
    if found["minus"]:
        return NEGATIVE
    if found["part"]:
        part, whole = _number(found["part"]), _number(found["over"] or found["of"] or found["tens"])
        return ABOVE if not part <= whole or not whole else part / whole
    percent = bool(found["before"] or found["percent"] or found["high_percent"])
    if found["one"]:
        return _single(found["one"], percent=percent, top=top)
    low, high = _number(found["low"]), _number(found["high"])
    if not low <= high:
        return _single(found["low"], percent=True, top=top) if found["low_percent"] else None
    percent = percent or bool(found["low_percent"]) or high > 1
    if high > (top or 100):
        return ABOVE if percent and found["high_percent"] else None
    return (low + high) / 2 / (top or (100 if percent else 1))


def _single(digits: str, *, percent: bool, top: float) -> float | Missing:
    value = _number(digits)
    if top and not percent and value <= top:
        return value / top
    if digits == "1" and not percent:
        return ONE
    if percent or value > 1:
        return ABOVE if not value <= 100 else value / 100
    return value


def _number(digits: str) -> float:
    whole, comma, part = digits.partition(",")
    thousands = comma and len(part) == 3 and whole.strip("0")
    return float(whole + part if thousands else digits.replace(",", "."))


def _first_said(
    ranks: Iterable[list[_Stated]], numbers: frozenset[str]
) -> tuple[float | Missing | None, Missing | None]:
    """What the first rank that says something says; and why a bare number was passed over, if one was."""
    beyond = None
    for rank in ranks:
        values = {s.value for s in rank if s.marked or s.value is not ABOVE}
        if len(values) > 1:
            values = {s.value for s in rank if s.value in values and not s.digits & numbers} or values
        if values:
            return (values.pop() if len(values) == 1 else SEVERAL), beyond
        beyond = ABOVE if rank else beyond
    return None, beyond


# --- words -------------------------------------------------------------------------------------------------------


def _level(text: str, *, beside_cue: bool) -> float | Missing | None:
    """The one level named in the text (beside a word for confidence, if so asked); None without any."""
    named = set()
    for found in _LEVEL.finditer(text):
        head, tail = text[max(0, found.start() - 80) : found.start()], text[found.end() : found.end() + 60]
        if _NOT.search(head) or _AFTER_DOUBT.search(head) or _BEFORE_WRONG.match(tail):
            continue
        if not beside_cue or _AFTER_CUE.search(head) or re.match(rf" {_CUE}", tail):
            named.add(next(value for place, value in enumerate(LEVELS) if found[f"level{place}"]))
    return None if not named else named.pop() if len(named) == 1 else SEVERAL
