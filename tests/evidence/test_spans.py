"""Which tokens are content, names and numbers, and the answer proper: by word and place, however the text was cut."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence.spans import (
    answer_place,
    answer_tokens,
    content_tokens,
    entity_tokens,
    every_token,
    first_answer_token,
)
from gate.types import Generation, TokenLogprob

SPANS = (every_token, content_tokens, entity_tokens, answer_tokens, first_answer_token)
Span = Callable[[Generation], Sequence[int]]


def cut(text: str, pieces: Sequence[str] | None = None) -> Generation:
    """An answer of these tokens; without them, a token a word with the space before it, and one a mark."""
    pieces = re.findall(r"[^\S\n]?\w+|\s|[^\w\s]", text) if pieces is None else pieces
    return Generation(text, tokens=tuple(TokenLogprob(piece, -0.1) for piece in pieces))


def shown(span: Span, generation: Generation) -> list[str]:
    return [(generation.tokens or ())[place].token for place in span(generation)]


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("Lagos is a city in Nigeria.", ["Lagos", " city", " Nigeria"]),
        ("It is 42 km.", [" 42", " km"]),
        ("Not here, never.", ["Not", " never"]),
        ("It's theirs", ["It", "'", "s", " theirs"]),  # nothing but small words: taken whole
        ("It's Ann's dog", [" Ann", "'", "s", " dog"]),
        ("A", ["A"]),
        ("A city", [" city"]),
        ("The answer is A.", [" answer", " A"]),
        ("Option A is right. A dog.", ["Option", " A", " right", " dog"]),
        ("WHO is in the US", ["WHO", " US"]),
        ("\\frac{1}{2}", ["1", "2"]),
        ("<think>Rome is big</think> Paris", [" Paris"]),
        ("東京です", ["東京です"]),
        ("نعم", ["نعم"]),
        ("?!", []),
        ("🦁", []),
        ("", []),
    ],
)
def test_content_words(text: str, content: list[str]) -> None:
    assert shown(content_tokens, cut(text)) == content


@pytest.mark.parametrize(
    ("text", "entities"),
    [
        ("Paris", ["Paris"]),
        ("Paris, France.", ["Paris", " France"]),
        ("Answer: Paris", [" Paris"]),
        ("Lagos is a city in Nigeria.", [" Nigeria"]),
        ("Marie Curie was born in 1867. Cities are big.", ["Marie", " Curie", " 1867"]),
        ("He lives in St. Petersburg now", [" St", " Petersburg"]),
        ("They met George W. Bush then", [" George", " W", " Bush"]),
        ("eBay sold 3.5 units", ["eBay", " 3", ".", "5"]),
        ("the cat sat", []),
        ("Cities are big.\nTowns are small.", []),
        ("東京です", []),
        ("人口は37百万", ["人口は37百万"]),
        ("", []),
    ],
)
def test_names_and_numbers(text: str, entities: list[str]) -> None:
    assert shown(entity_tokens, cut(text)) == entities


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Paris", "Paris"),
        ("  It is Paris, I think. Yes.\n", "It is Paris, I think. Yes."),
        ("I thought so.\nFirst 3, then 4.\n\nSo 7 in all.\n", "So 7 in all."),
        ("The answer is Paris.", "Paris"),
        ("The answer is Rome.\nWait. The answer is Paris. Truly.", "Paris"),
        ("The answer to the question of where it lies is: Paris", "Paris"),
        ("Answer: St. Petersburg. It is cold.", "St. Petersburg"),
        ("Answer: George W. Bush. He won.", "George W. Bush"),
        ("Answer: B. The others are wrong.", "B"),
        ("Answer: 3.5 km. Not more.", "3.5 km"),
        ("Answer: Washington, D.C. is it", "Washington, D.C. is it"),
        ("**Answer:** Paris, France\n\nAsk me more!", "Paris, France"),
        ("The answer is **Paris**, of course.", "Paris**, of course"),
        ("**Final Answer**\n\n42 km\n", "42 km"),
        ("I will give my final answer. It is long.\nParis", "Paris"),
        ("3 + 4 = 7\n#### 7", "7"),
        ("#### 1,234\n\nQuestion: what else?", "1,234"),
        ("#### Step two\nadd them\nso 7", "so 7"),
        ("##### Five\nso 7", "so 7"),
        ("So \\boxed{\\frac{1}{2}} is it.\nBye", "\\frac{1}{2}"),
        ("So \\boxed{x\\}} ok", "x\\}"),
        ("So \\boxed{12", "12"),
        ("the final answer is $\\boxed{12}$.", "12"),
        ("The capital is **Paris**.", "Paris"),
        ("**Step 1**\nlook\n\n**Note:** it is **Paris**", "Paris"),
        ("**Where:** Paris", "**Where:** Paris"),
        ("**Where**: Paris", "**Where**: Paris"),
        ("The area of $ABC$ is $12$.", "12"),
        ("So\n\\[\n x = 5 \n\\]", "x = 5"),
        ("So \\(x=5\\) then", "x=5"),
        ("So $$x=5$$", "x=5"),
        ("It costs $5 and $10 today", "It costs $5 and $10 today"),
        ("It costs $5-$10 today", "It costs $5-$10 today"),
        ('The answer is "yes".', "yes"),
        ("Rome? No answer is. Then:\nParis", "Paris"),
        ("Paris\nis the answer is", "is the answer is"),
        ("Réponse : Paris", "Paris"),
        ("Die Antwort ist Paris.", "Paris"),
        ("Ответ: Париж. Да.", "Париж"),
        ("最终答案是巴黎。因为它是首都。", "巴黎"),
        ("答えはパリです。はい。", "パリです"),
        ("الإجابة: باريس", "باريس"),
        ("<think>The answer is 3</think>\nIt is 4.", "It is 4."),
        ("?!", "?!"),
        ("answer: ?!", "answer: ?!"),
        ("\u0130\u0130 answer: Paris", "Paris"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_the_answer_proper(text: str, answer: str) -> None:
    characters = cut(text, list(text))
    assert "".join(shown(answer_tokens, characters)) == answer


def test_the_answer_runs_from_its_first_to_its_last_token() -> None:
    generation = cut("Thus. The answer is New York.")
    assert shown(answer_tokens, generation) == [" New", " York"]
    assert shown(first_answer_token, generation) == [" New"]


def test_a_first_token_of_space_alone_is_passed_over() -> None:
    assert shown(first_answer_token, cut("Paris \n", [" ", "Paris", " \n"])) == ["Paris"]
    assert shown(first_answer_token, cut("Answer:\n\nParis", ["Answer", ":\n\n", "Paris"])) == ["Paris"]
    assert shown(first_answer_token, cut("x", [" "])) == []


def test_a_token_that_merges_answer_and_marks_counts() -> None:
    merged = cut("The answer is (Paris).", ["The", " answer", " is (", "Par", "is)."])
    assert shown(content_tokens, merged) == [" answer", "Par", "is)."]
    assert shown(answer_tokens, merged) == [" is (", "Par", "is)."]
    assert shown(entity_tokens, merged) == ["Par", "is)."]


@pytest.mark.parametrize(
    ("text", "pieces", "content"),
    [
        ("Paris", [" Paris", "</s>"], [" Paris"]),
        ("Paris", ["\n\n", "Par", "is", "<|im_end|>"], ["Par", "is"]),
        ("New York", ["▁New", "▁York", "</s>"], ["▁New", "▁York"]),
        ("It is Paris", ["ĠIt", "Ġis", "ĠPar", "is", "<|end|>"], ["ĠPar", "is"]),
        (
            "It is 東京.",
            ["It", " is", " ", "<0xE6>", "<0x9D>", "<0xB1>", "京", "."],
            ["<0xE6>", "<0x9D>", "<0xB1>", "京"],
        ),
        ("is é", ["is ", "bytes:\\xc3", "\\xa9"], ["bytes:\\xc3", "\\xa9"]),
        ("It is 東.", ["It", " is", "", "", " 東", "."], ["", "", " 東"]),
        ("It is 東京", ["It", " is ", "\ufffd", "\ufffd", "京"], ["\ufffd", "\ufffd", "京"]),
        ("Paris", ["<think>", "Rome is big", "</think>", "Paris"], ["Paris"]),
        ("Paris", ["token_id:5", "token_id:6"], []),
        ("Paris", ["some", " of", " thing"], [" thing"]),  # tokens of another text are read as they stand
        ("", ["some", " of", " thing"], [" thing"]),
    ],
)
def test_tokens_that_do_not_spell_the_text(text: str, pieces: list[str], content: list[str]) -> None:
    assert shown(content_tokens, cut(text, pieces)) == content


def test_no_tokens_no_spans() -> None:
    for span in SPANS:
        assert not span(Generation("Paris"))
        assert not span(Generation("Paris", tokens=()))


def test_marks_that_carry_vowels_belong_to_their_word() -> None:
    assert shown(content_tokens, cut("दिल्ली.", list("दिल्ली."))) == list("दिल्ली")


PIECES = st.sampled_from(
    ["Paris", "the", "A", " ", "\n", ". ", "42", "3.5", "answer is ", "Answer:", "####", "\\boxed{", "}", "**", "$",
     "東京", "ि", "</think>", "St", "it's", "\\(", "\\)", "?!", "🦁", "\ud800", "<0xE6>"]
)  # fmt: skip
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=12).map("".join)


@given(TEXTS, st.data())
def test_a_token_counts_when_it_overlaps_what_counts_however_the_text_is_cut(text: str, data: st.DataObject) -> None:
    text = text.strip()
    places = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)) | {0, len(text)})
    pieces = [text[begin:end] for begin, end in pairwise(places)]
    for span in (content_tokens, entity_tokens, answer_tokens):
        letters = set(span(cut(text, list(text))))
        overlapping = [
            place for place, begin in enumerate(places[:-1]) if letters & set(range(begin, places[place + 1]))
        ]
        assert list(span(cut(text, pieces))) == overlapping


@given(TEXTS, st.lists(PIECES | st.text(max_size=4), max_size=12))
def test_whatever_the_tokens_are_a_span_lists_some_of_them_in_order(text: str, pieces: list[str]) -> None:
    generation = cut(text, pieces)
    for span in SPANS:
        places = list(span(generation))
        assert places == sorted(set(places) & set(range(len(pieces))))
    assert set(entity_tokens(generation)) <= set(content_tokens(generation))
    assert set(first_answer_token(generation)) <= set(answer_tokens(generation))


@given(TEXTS)
def test_an_answer_is_never_empty_where_there_is_text_and_stands_within_it(text: str) -> None:
    begin, end = answer_place(text)
    assert 0 <= begin <= end <= len(text)
    assert bool(text[begin:end].strip()) == bool(text.strip())


@pytest.mark.parametrize(
    "piece",
    ["answer ", "answer is\n", "A. ", ".", "\\boxed{", "\\[ x", "$$", "$ ", "**", "#### a\n", "final answer\n", "\n",
     "Paris ", "\ud800", "*_", "<0xE6>", "e.g. "],
)  # fmt: skip
def test_long_answers_are_read_in_time(piece: str) -> None:
    """A quadratic reading of 20,000 such tokens takes many seconds."""
    generation = cut(piece * 20_000, [piece] * 20_000)
    before = time.perf_counter()
    for span in SPANS:
        span(generation)
    assert time.perf_counter() - before < 3.0
