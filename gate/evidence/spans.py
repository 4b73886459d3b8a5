"""Spans: which tokens of an answer are its content words, its names and numbers, and the answer proper.

Decided on the text and carried over to tokens by character offsets: a token belongs to a word, or to the answer, when
it overlaps it, however the tokeniser cut it. The text is found in what the tokens spell, so an end marker, leading
space and reasoning that a server cut off the text, or that ends in ``</think>``, belong to no span. Tokens in raw
vocabulary form (``<0xE6>``, ``\\xe6``, ``▁``, ``Ġ``, ``token_id:7``) are spelled out first; where tokens and text still
differ, the tokens are read as they stand. A part of a character goes with the token that completes it when it has no
text of its own, and counts as a letter when it is shown as U+FFFD.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from gate.evidence.words import STOP_WORDS, placed_words
from gate.types import Generation

Placed = tuple[int, int, str]
"""Where a word begins and ends, and the word."""

_MARKUP = re.compile(r"<(?!0x[0-9A-Fa-f]{2}>)/?[^<>\s]+>|token_id:\d+")
_BYTE = re.compile(rb"<0x([0-9A-Fa-f]{2})>|\\x([0-9a-fA-F]{2})")
_RAW = str.maketrans({"\u2581": " ", "\u0120": " ", "\u010a": "\n", "\ufffd": "\u02bc"})
_DRAFTS = 32
_PARTS = re.compile(r"[-'\u2019.,:/]")
_CLITICS = frozenset({"d", "ll", "m", "re", "ve"})
_ABBREVIATED = re.compile(r"\b(?:Dr|Ft|Jr|Mr|Mrs|Ms|Mt|Prof|Sr|St|vs|[A-Z](?:\.[A-Z])*)\Z")
_SENTENCE_MARKS = frozenset(".!?\u2026\u3002\uff01\uff1f\u0964\n")

_ANSWER_WORDS = (
    "answer", "antwort", "réponse", "respuesta", "resposta", "risposta", "ответ", "الإجابة", "الجواب", "उत्तर",
    "答案", "答え", "回答", "정답",
)  # fmt: skip
_LABELS = frozenset({*_ANSWER_WORDS, "final"})
_MARKER_HEADS = (*_ANSWER_WORDS, "####", "\\boxed")
"""What a marker begins with: looked for first, as plain text, which is many times faster than any pattern."""
_MARKER = re.compile(
    rf"""
    (?<![a-zß-ÿа-яё]) (?:{"|".join(_ANSWER_WORDS)}) (?:\s+(?:to|for)\b[^.:\n]{{1,80}}?)?
      [*_]*\s* (?: [:：=] | \b(?:is|ist|est|es|é|è)\b | 是 | 为 | は )
    | (?<=final\ ) answer\b [*_\ ]* \n
    | (?P<line> ^\#{{4}}(?!\#)[^\S\n]* (?= [-+$€£]?\d[\d.,/]*%?[^\S\n]*$ | [^\n]+\s*\Z ) )
    | (?P<boxed> \\boxed\s*\{{ )
    """,
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_EMPHASIS = re.compile(
    r"\*\*(?P<bold>[^*\n]+)\*\*(?P<label>\s*:)?|\$\$(?P<display>[^$]+)\$\$|\\\[(?P<bracketed>.{1,400}?)\\\]"
    r"|\\\((?P<inline>.{1,400}?)\\\)|(?<![$\\])\$(?=\S)(?P<dollars>[^$\n]*[^$\s])\$(?![$\d])",
    re.DOTALL,
)
_OPENING = re.compile(r"(?:[\s*_`\"'\u201c\u201d\u2018\u2019\u00ab\u300c:\uff1a]|\\[(\[]|\$+(?=[^$\n]*\$))*")
_CLOSING = " \t\r\n*_`\"'\u201d\u2019\u00bb\u300d$.,;:!?\u2026\u3002\uff01\uff1f\u0964"
_END = re.compile(r"\n|(?<![.!?\u2026])[.!?\u2026]++[\"')\]\u201d\u2019*_]*+(?=\s|\Z)|[\u3002\uff01\uff1f\u0964]")
_THOUGHT_ENDS = "</think>"


def every_token(generation: Generation) -> range:
    """All tokens, the end marker included where the upstream lists it."""
    return range(len(generation.tokens or ()))


def content_tokens(generation: Generation) -> tuple[int, ...]:
    """The tokens of words that are neither stop words nor mere punctuation: names, numbers and other words.

    Stop words are English; in any other language all words count. An answer of nothing but stop words is taken whole.
    A capital "A" that is no article (a choice, a grade) and an acronym ("US", "WHO") are content.
    """
    return _content_tokens(*_as_written(generation))


def entity_tokens(generation: Generation) -> tuple[int, ...]:
    """The tokens of names and numbers: words that hold a digit or a capital letter.

    A capitalised word that begins a sentence says nothing by its capital: it is a name where another capitalised word
    follows it, or where no word of the answer is written small ("Paris"). Scripts without case have numbers only.
    """
    return _entity_tokens(*_as_written(generation))


def answer_tokens(generation: Generation) -> range:
    """The tokens of the answer proper, which reasoning before it would swamp.

    It stands behind the last explicit marker ("answer is", "answer:", "final answer" above a line, their like in
    some other languages, ``####``; within ``\\boxed{}``) and ends with the sentence or line. Without one, it is the
    last bold or LaTeX piece of the last paragraph; without that, the last line that is not empty, which in an answer of
    one line is all of it.
    """
    return _answer_tokens(*_as_written(generation))


def first_answer_token(generation: Generation) -> range:
    """The first token of the answer proper that shows something."""
    tokens = generation.tokens or ()
    where = answer_tokens(generation)
    return next((range(place, place + 1) for place in where if not tokens[place].token.isspace()), where[:1])


# --- from tokens to text and back --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Spelling:
    """The text, and where in it each token begins and the last one ends; those outside it lie below 0 or behind it."""

    text: str
    bounds: Sequence[int]


def _as_written(generation: Generation) -> tuple[str, tuple[str, ...]]:
    return generation.text, tuple(token.token for token in generation.tokens or ())


# A dozen signals of one decision ask for the spans of the same draft: the last few are remembered.


@lru_cache(maxsize=_DRAFTS)
def _content_tokens(text: str, tokens: tuple[str, ...]) -> tuple[int, ...]:
    spelled = _spell(text, tokens)
    return _overlapping(spelled, _content(spelled.text, placed_words(spelled.text)))


@lru_cache(maxsize=_DRAFTS)
def _entity_tokens(text: str, tokens: tuple[str, ...]) -> tuple[int, ...]:
    spelled = _spell(text, tokens)
    placed = placed_words(spelled.text)
    return _overlapping(spelled, _entities(spelled.text, placed, _content(spelled.text, placed)))


@lru_cache(maxsize=_DRAFTS)
def _answer_tokens(text: str, tokens: tuple[str, ...]) -> range:
    spelled = _spell(text, tokens)
    begin, end = answer_place(spelled.text)
    where = _overlapping(spelled, [(begin, end, "")] if begin < end else [])
    return range(where[0], where[-1] + 1) if where else range(0)


def _spell(said: str, tokens: tuple[str, ...]) -> _Spelling:
    pieces = list(tokens)
    text, whole = _spoken(said).strip(), "".join(pieces)
    at = whole.rfind(text)
    if at < 0:
        pieces = _spelled_out(pieces)
        whole = "".join(pieces)
        at = whole.rfind(text)
    if at < 0 or not text:
        at, text = 0, whole
    return _Spelling(text, list(accumulate(map(len, pieces), initial=-at)))


def _spoken(text: str) -> str:
    """The text without the reasoning before it, unless there is nothing else."""
    spoken = text.rpartition(_THOUGHT_ENDS)[2]
    return spoken if spoken.strip() else text


def _spelled_out(pieces: Iterable[str]) -> list[str]:
    """Tokens in raw vocabulary form as the text they stand for; a character of several tokens comes with the last."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return [decoder.decode(encoded(piece)) for piece in pieces]


def encoded(piece: str) -> bytes:
    """A token in raw vocabulary form as the bytes it stands for; of one that is none, its own."""
    if _MARKUP.fullmatch(piece):
        return b""
    raw = piece.removeprefix("bytes:").translate(_RAW).encode("utf-8", "surrogatepass")
    return _BYTE.sub(lambda found: bytes.fromhex((found[1] or found[2]).decode()), raw)


def _overlapping(spelled: _Spelling, placed: Iterable[Placed]) -> tuple[int, ...]:
    """The tokens that overlap these words, which stand in order and are not empty."""
    bounds = spelled.bounds
    found: list[int] = []
    beyond = 0
    for begin, end, _ in placed:
        first = bisect_right(bounds, begin, beyond) - 1
        while first and bounds[first - 1] == bounds[first]:  # tokens without text go with the one behind them
            first -= 1
        stop = bisect_left(bounds, end, first)
        found += range(max(beyond, first), stop)
        beyond = max(beyond, stop)
    return tuple(found)


# --- words that carry content ------------------------------------------------------------------------------------


def _content(text: str, placed: Sequence[Placed]) -> list[Placed]:
    spoken = [word for word in placed if text[word[0] - 1 : word[0]] != "\\"]  # \frac is no word
    kept = [word for word in spoken if not _small(word[2]) or _no_article(text, *word)]
    return [(begin, _with_marks(text, end), word) for begin, end, word in kept or spoken]


def _small(word: str) -> bool:
    folded = word.casefold()
    if folded in STOP_WORDS:
        return len(word) == 1 or not word.isupper()
    return not folded.isalnum() and all(part in STOP_WORDS or part in _CLITICS for part in _PARTS.split(folded))


def _no_article(text: str, begin: int, end: int, word: str) -> bool:
    """Whether this is a capital A that names a choice, and no article at the head of a sentence."""
    if word != "A":
        return False
    before, behind = text[max(0, begin - 8) : begin].rstrip(" ")[-1:], text[end : end + 2]
    heads = not before or before in _SENTENCE_MARKS
    return not (heads and behind[:1] == " " and behind[1:].isalpha())


def _with_marks(text: str, end: int) -> int:
    """The end of a word with the combining marks behind it, which many scripts write vowels with."""
    while end < len(text) and text[end] > "\u02ff" and unicodedata.category(text[end])[0] == "M":
        end += 1
    return end


def _entities(text: str, placed: Sequence[Placed], content: Sequence[Placed]) -> list[Placed]:
    content = [word for word in content if word[2].casefold() not in _LABELS]
    all_names = not any(word.islower() and not _numbered(word) for _, _, word in content)
    heads = set() if all_names else _sentence_heads(text, placed)
    capitals = {begin for begin, _, word in content if word[0].isupper()}
    return [
        (begin, end, word)
        for begin, end, word in content
        if _numbered(word)
        or any(letter.isupper() for letter in word[1:])
        or (word[0].isupper() and (begin not in heads or (end + 1 in capitals and text[end] == " ")))
    ]


def _numbered(word: str) -> bool:
    return any(letter.isdigit() for letter in word)


def _sentence_heads(text: str, placed: Sequence[Placed]) -> set[int]:
    """Where the words that begin a sentence or a line stand."""
    heads = {placed[0][0]} if placed else set()
    behind = 0
    for begin, end, _ in placed:
        if not _SENTENCE_MARKS.isdisjoint(text[behind:begin]) and not _abbreviated(text, behind):
            heads.add(begin)
        behind = end
    return heads


def _abbreviated(text: str, at: int) -> bool:
    """Whether the mark at this place is the full stop of an abbreviation or an initial."""
    return text[at : at + 2] == ". " and _ABBREVIATED.search(text, max(0, at - 8), at) is not None


# --- the answer proper -------------------------------------------------------------------------------------------


def answer_place(text: str) -> tuple[int, int]:
    """Where the answer proper begins and ends in a text; see `answer_tokens`. Empty when the text is blank."""
    for marker in _markers(text):
        begin, end = _behind(text, marker)
        if begin < end:
            return begin, end
    end = len(text.rstrip())
    line, paragraph = text.rfind("\n", 0, end) + 1, text.rfind("\n\n", 0, end) + 1
    pieces = list(_emphasised(text, paragraph, end))
    return pieces[-1] if pieces else (end - len(text[line:end].lstrip()), end)


def _markers(text: str) -> Iterator[re.Match[str]]:
    """Every marker, the last one first."""
    lowered = text.lower()
    if len(lowered) != len(text):  # few letters change length, and none of them is in a marker
        lowered = text
    heads = [head for head in _MARKER_HEADS if head in lowered]
    at = len(text)
    while heads:
        at = max(lowered.rfind(head, 0, at) for head in heads)
        if at < 0:
            return
        if marker := _MARKER.match(text, at):
            yield marker


def _emphasised(text: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Bold and LaTeX pieces that show something and are no bold label."""
    for piece in _EMPHASIS.finditer(text, begin, end):
        kind = next(name for name, inner in piece.groupdict().items() if inner is not None)
        label = kind == "bold" and (piece["label"] or piece[kind].rstrip().endswith(":"))
        inner = _trimmed(text, *piece.span(kind))
        if not label and inner[0] < inner[1]:
            yield inner


def _behind(text: str, marker: re.Match[str]) -> tuple[int, int]:
    """What stands behind a marker, up to the end of its sentence; empty when nothing does."""
    if marker["boxed"]:
        return _trimmed(text, marker.end(), _closing_brace(text, marker.end()))
    opening = _OPENING.match(text, marker.end())
    begin = opening.end() if opening else marker.end()
    if marker["line"]:
        end = text.find("\n", begin)
        return _trimmed(text, begin, len(text) if end < 0 else end)
    return _trimmed(text, begin, _sentence_end(text, begin))


def _sentence_end(text: str, begin: int) -> int:
    for mark in _END.finditer(text, begin):
        at = mark.start()
        if mark[0] == "\n":
            return at
        labels = at == begin + 1  # "B." is a choice; "George W." goes on
        if labels or not _abbreviated(text, at):
            return mark.end()
    return len(text)


def _closing_brace(text: str, begin: int) -> int:
    depth = 1
    for brace in re.finditer(r"\\[{}]|[{}]", text[begin:]):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if not depth:
            return begin + brace.start()
    end = text.find("\n", begin)
    return len(text) if end < 0 else end


def _trimmed(text: str, begin: int, end: int) -> tuple[int, int]:
    """Without the space, quotes, emphasis and closing punctuation around it; empty when that is all there is."""
    opening = _OPENING.match(text, begin, end)
    inner = opening.end() if opening else begin
    return inner, inner + len(text[inner:end].rstrip(_CLOSING))
