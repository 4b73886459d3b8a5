"""BM25: what is found, that no query can do harm, and what is said of a broken file."""

from __future__ import annotations

import gc
import json
import sqlite3
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gate.errors import ConfigError
from gate.retrieval import Bm25Retriever, PocketWorldRetriever

CITIES = (
    ("lagos", "Lagos is a city in Nigeria."),
    ("abuja", "The capital of Nigeria is Abuja."),
    ("paris", "Paris is a city in France, and a city of light."),
    ("near", "A city near the sea, not far from another city."),
)
RETRIEVER = Bm25Retriever("world", CITIES)


def found(query: str, k: int = 10, retriever: Bm25Retriever = RETRIEVER) -> list[str]:
    return [passage.id for passage in retriever.search(query, k)]


def test_the_passage_with_the_rare_word_comes_first() -> None:
    assert found("Which city is Lagos?")[0] == "lagos"
    assert found("abuja") == ["abuja"]
    first = RETRIEVER.search("abuja", 1)[0]
    assert (first.text, first.id) == (CITIES[1][1], "abuja")


def test_the_score_is_bm25_and_falls_down_the_list() -> None:
    pair = Bm25Retriever("pair", [("1", "lagos"), ("2", "x y"), ("3", "x y"), ("4", "x y")])
    (only,) = pair.search("lagos", 3)
    # idf = ln((4 - 1 + .5) / (1 + .5)); length 1 against an average of 7/4
    expected = 0.8472979 * 2.2 / (1 + 1.2 * (0.25 + 0.75 / 1.75))
    assert only.score == pytest.approx(expected, abs=1e-6)
    scores = [passage.score for passage in RETRIEVER.search("city in nigeria lagos", 10)]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] > 0


def test_equal_scores_keep_the_order_of_the_file() -> None:
    same = Bm25Retriever("same", [(str(i), "lagos") for i in range(5)])
    assert found("lagos", 3, same) == ["0", "1", "2"]


@pytest.mark.parametrize("query", ["", " ", "?!", "🦁", "zanzibar", "\x00", "\ud800"])
def test_a_query_that_nothing_answers_finds_nothing(query: str) -> None:
    assert found(query) == []


def test_an_empty_index_finds_nothing() -> None:
    assert found("lagos", 3, Bm25Retriever("empty", ())) == []


@pytest.mark.parametrize("k", [0, 1, 2, 3, 100])
def test_no_more_than_k_come_and_they_are_the_best(k: int) -> None:
    assert found("city", k) == found("city")[:k]
    assert len(found("city")) == 3


def test_a_query_of_two_hundred_thousand_characters_is_cut_not_refused() -> None:
    assert found("lagos " + "x" * 200_000)[0] == "lagos"
    assert found("lagos " + " ".join(f"word{i}" for i in range(20_000)))[0] == "lagos"
    assert found("x " * 100_000 + "lagos") == ["lagos"]
    assert found(" ".join(f"word{i}" for i in range(40)) + " lagos") == ["lagos"]
    assert found(" ".join(f"word{i}" for i in range(20_000)) + " lagos") == []


@pytest.mark.parametrize(
    "query",
    ['" OR NEAR(', 'lagos" OR "', "lagos AND", "NOT lagos", "(lagos", "lagos*", "^lagos", "text : lagos", "-lagos", "+",
     "NEAR(lagos paris, 1)", "id:lagos", "'; DROP TABLE passages; --", "{id} : lagos", "_"],
)  # fmt: skip
def test_operators_are_words_like_any_other(query: str) -> None:
    assert ("lagos" in found(query)) == ("lagos" in query)
    assert found("abuja") == ["abuja"]


@given(st.text(max_size=60) | st.text(alphabet="\"()*^:+-_{}' ANDORTEnear\x00", max_size=30), st.integers(0, 5))
@example('" OR NEAR(', 3)
def test_any_text_is_a_query(query: str, k: int) -> None:
    passages = RETRIEVER.search(query, k)
    assert len(passages) <= k
    assert {(passage.id, passage.text) for passage in passages} <= set(CITIES)


@pytest.mark.parametrize(
    "word",
    ["Zürich", unicodedata.normalize("NFD", "Zürich"), "Hauptstraße", "İstanbul", "ΑΘΉΝΑΣ", "Łódź", "Київ",
     "القاهرة", "दिल्ली", "東京", "กรุงเทพ", "3.14", "AT&T", "O'Brien", "snake_case"],
)  # fmt: skip
def test_a_word_finds_itself_in_any_script(word: str) -> None:
    filed = Bm25Retriever("filed", [("other", "something else entirely"), ("word", f"… {word} …")])
    assert found(word, 3, filed)[:1] == ["word"]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("zurich", "Zürich"),
        ("ZÜRICH", "zürich"),
        (unicodedata.normalize("NFD", "Zürich"), "Zürich"),
        ("istanbul", "İstanbul"),
        ("HAUPTSTRAẞE", "Hauptstraße"),
    ],
)
def test_case_and_accents_make_no_difference(query: str, text: str) -> None:
    assert found(query, 1, Bm25Retriever("one", [("1", text)])) == ["1"]


def test_the_fingerprint_is_that_of_the_passages() -> None:
    again = Bm25Retriever("another name", CITIES)
    assert again.fingerprint == RETRIEVER.fingerprint
    changed = [CITIES[:-1], CITIES[::-1], (("LAGOS", CITIES[0][1]), *CITIES[1:]), (("lagos", "Gone."), *CITIES[1:]), ()]
    assert len({Bm25Retriever("x", passages).fingerprint for passages in changed} | {RETRIEVER.fingerprint}) == 6


def test_many_threads_may_search_at_once() -> None:
    words = {"lagos": "lagos", "abuja": "abuja", "paris": "paris", "sea": "near"}
    start = Barrier(8)

    def work(_: int) -> bool:
        start.wait()
        return all(found(word) == [id_] for word, id_ in words.items() for _ in range(50))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [True] * 8


def lines(tmp_path: Path, *written: str) -> Path:
    path = tmp_path / "passages.jsonl"
    path.write_text("\n".join(written) + "\n", encoding="utf-8")
    return path


GOOD = '{"id": "lagos", "text": "Lagos is a city in Nigeria."}'


def test_a_file_is_read_line_by_line_and_is_the_same_as_its_passages(tmp_path: Path) -> None:
    rows = [json.dumps({"id": id_, "text": text, "source": "kept out"}) for id_, text in CITIES]
    filed = Bm25Retriever.of_file("world", lines(tmp_path, *rows))
    assert found("abuja", 3, filed) == ["abuja"]
    assert filed.fingerprint == RETRIEVER.fingerprint


def test_an_id_that_is_a_number_is_read_as_text(tmp_path: Path) -> None:
    assert found("lagos", 1, Bm25Retriever.of_file("w", lines(tmp_path, '{"id": 7, "text": "lagos"}'))) == ["7"]


@pytest.mark.parametrize(
    "broken",
    ["{", "", "[]", "7", '"text"', "null", '{"id": "a"}', '{"text": "a"}', '{"id": "a", "text": null}',
     '{"id": "a", "text": ["b"]}', '{"id": "a", "text": "\\ud800"}', '{"id": "a", "text": ' + "[" * 100_000],
    ids=lambda broken: broken[:40] or "empty",
)  # fmt: skip
def test_a_broken_line_is_named(tmp_path: Path, broken: str) -> None:
    path = lines(tmp_path, GOOD, GOOD, broken, GOOD)
    with pytest.raises(ConfigError, match="each line must be") as caught:
        Bm25Retriever.of_file("world", path)
    assert caught.value.where == f"{path}:3"


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85"])
def test_a_line_ends_where_json_lines_says_and_nowhere_else(tmp_path: Path, mark: str) -> None:
    row = json.dumps({"id": "lagos", "text": f"Lagos{mark}Nigeria"}, ensure_ascii=False)
    filed = Bm25Retriever.of_file("world", lines(tmp_path, row))
    assert [passage.text for passage in filed.search("lagos", 1)] == [f"Lagos{mark}Nigeria"]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    binary = tmp_path / "binary.jsonl"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "absent.jsonl", tmp_path, binary):
        with pytest.raises(ConfigError, match="cannot read the passages") as caught:
            Bm25Retriever.of_file("world", path)
        assert caught.value.where == str(path)


def test_the_passages_of_the_pocket_world_come_along() -> None:
    shipped = PocketWorldRetriever.from_options("world", PocketWorldRetriever.Options())
    assert shipped.name == "world"
    assert any("Nigeria" in passage.text for passage in shipped.search("Where is Lagos?", 5))
    shipped.close()


def test_an_index_goes_with_its_retriever_even_one_that_could_not_be_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda *args, **kwargs: opened.append(connect(*args, **kwargs)) or opened[-1]
    )

    def broken() -> Iterator[tuple[str, str]]:
        yield CITIES[0]
        raise ConfigError("the second line is broken")

    forgotten = Bm25Retriever("world", CITIES)
    assert found("lagos", retriever=forgotten)[0] == "lagos"
    del forgotten
    with pytest.raises(ConfigError):
        Bm25Retriever("world", broken())
    gc.collect()
    assert len(opened) == 2
    for index in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            index.execute("SELECT 1")


def test_closing_frees_the_index_at_once_and_twice_does_nothing() -> None:
    closed = Bm25Retriever("world", CITIES)
    closed.close()
    closed.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        closed.search("lagos", 1)
