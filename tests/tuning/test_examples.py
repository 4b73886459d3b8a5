"""Labelled questions from files."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from gate.errors import ConfigError
from gate.tuning.examples import Example, Split, read_examples, to_json
from gate.types import Message, Passage, Question


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def read(path: Path, *rows: Any, require_references: bool = False) -> list[Example]:
    return list(read_examples(lines(path, *rows), require_references=require_references))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "questions.jsonl"


WHOLE = Example(
    id="q1",
    question=Question((Message("user", "Where is it?"),), {"temperature": 0.0}),
    references=("Paris", "the city of light"),
    segment="geo",
    split="certify",
    passages=(Passage("p", "It is in Paris."), Passage("2", "It is not in Lyon.")),
    logged_answer="Lyon",
    logged_correct=False,
)


def test_an_example_with_everything_in_every_kind_of_file(tmp_path: Path) -> None:
    row = {
        "ID": "q1",
        "Question": "Where is it?",
        "References": ["Paris", "the city of light"],
        "segment": "geo",
        "split": "Certify",
        "context": [{"id": "p", "text": "It is in Paris."}, "It is not in Lyon."],
        "options": {"temperature": 0.0, "stop": None},
        "logged answer": "Lyon",
        "logged-correct": "no",
        "more": 3,
    }
    flat = {k: json.dumps(v) if isinstance(v, list | dict) else str(v) for k, v in row.items()}
    table = ",".join(flat) + "\n" + ",".join('"' + v.replace('"', '""') + '"' for v in flat.values()) + "\n"
    (tmp_path / "a.csv").write_text(table, encoding="utf-8")
    row["context"] = [{"id": "p", "text": "It is in Paris."}, {"id": "2", "text": "It is not in Lyon."}]
    parquet.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    lines(tmp_path / "a.jsonl", row)
    lines(tmp_path / "b.JSONL", row)
    for name in ("a.csv", "a.parquet", "a.jsonl", "b.JSONL"):
        assert list(read_examples(tmp_path / name, require_references=True)) == [WHOLE]


def test_an_example_goes_out_and_comes_in_again(file: Path) -> None:
    talk = Question((Message("system", "Be brief."), Message("user", "Where?")), {"stop": ["\n"]})
    chat = Example("q2", talk, split="fit")
    file.write_bytes(to_json(WHOLE) + b"\n" + to_json(chat) + b"\n")
    assert list(read_examples(file)) == [WHOLE, chat]


@pytest.mark.parametrize("name", ["question", "prompt", "input", "Query"])
@pytest.mark.parametrize("right", ["references", "reference", "answer", "answers", "gold", "Ideal"])
def test_columns_have_the_names_that_people_give_them(file: Path, name: str, right: str) -> None:
    (example,) = read(file, {name: "Where?", right: "Paris"}, require_references=True)
    assert (example.question.text, example.references) == ("Where?", ("Paris",))


def test_messages_instead_of_a_question(file: Path, tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where?"}]
    asked = (Message("system", "Be brief."), Message("user", "Where?"))
    for row in ({"messages": messages}, {"prompt": messages}, {"messages": messages, "question": "Where?"}):
        assert read(file, row)[0].question.messages == asked
    cell = json.dumps(messages).replace('"', '""')
    (tmp_path / "a.csv").write_text(f'messages,answer\n"{cell}",Paris | Lyon\n', encoding="utf-8")
    (example,) = read_examples(tmp_path / "a.csv")
    assert (example.question.messages, example.references) == (asked, ("Paris", "Lyon"))


def test_an_id_is_made_of_what_the_row_holds(file: Path) -> None:
    first = read(file, {"question": "a?"}, {"question": "b?"}, {"question": "a?", "answer": "b"})
    assert len({example.id for example in first}) == 3
    assert all(re.fullmatch("[0-9a-f]{16}", example.id) for example in first)
    again = read(file, {"answer": "b", "question": "a?"}, {"question": "b?", "split": "fit"})
    assert [example.id for example in again] == [first[2].id, first[1].id]


def test_numbers_are_ids_and_answers_too(file: Path) -> None:
    (example,) = read(file, {"id": 7, "question": "How many?", "answer": 42})
    assert (example.id, example.references) == ("7", ("42",))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"qestion": "a?", "answer": "b"}],
            r":1: no column holds the question: is it 'qestion'\? then call it 'question'",
        ),
        ([{"question": "a?"}, {"question": " "}], r":2: the question is empty \(column 'question'\)"),
        ([{"question": None, "answer": "b"}], r":1: the question is empty"),
        ([{"messages": [{"role": "assistant", "content": "a"}]}], ":1: messages hold no user message"),
        ([{"messages": "[{]"}], ":1: messages are no list"),
        (
            [{"messages": [{"role": "user", "content": "a?"}], "question": "b?"}],
            ":1: question and messages ask different",
        ),
        ([{"id": "1", "question": "a?"}, {"id": 1, "question": "b?"}], ":2: the id '1' is that of row 1 too"),
        ([{"question": "a?"}, {"question": "b?"}, {"question": "a?"}], ":3: this row says the same as row 1"),
        ([{"question": "a?", "split": "train"}], ":1: the split 'train' is none of fit, certify, test"),
        (
            [{"question": "Is the sky blue?", "split": "certify"}, {"question": "is sky  BLUE", "split": "fit"}],
            r":2: the same question stands in the fit and the certify split \(row 1 has it too\)",
        ),
        ([{"question": "a?", "options": ["a", "b"]}], ":1: options are generation fields"),
        ([{"question": "a?", "options": 3}], ":1: options are generation fields"),
        ([{"question": "a?", "passages": [{"title": "x"}]}], ":1: passage 1 has no 'text'"),
        ([{"question": "a?", "logged_correct": "perhaps"}], ":1: 'perhaps' is no label"),
        ([{"question": "a?", "answer": ["b", ["c"]]}], r":1: references holds \['c'\], where text is wanted"),
        ([{"question": ["a?"]}], ":1: messages.0 is no object"),
        ([{"question": "a?", "id": {"a": 1}}], ":1: id holds"),
        ([{"question": "a?", "Question": "b?"}], ":1: two columns are called 'question'"),
        (['{"question": "a?", "score": NaN}'], ":1: not JSON: NaN"),
        (['{"question": "a?"}', '{"question": "b'], ":2: the last line is cut off"),
        ([], "questions.jsonl: this file holds no rows"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_line(file: Path, rows: list[Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(file, *rows)


def test_the_same_question_may_stand_twice_in_one_split_or_without(file: Path) -> None:
    rows = [{"id": n, "question": "a?", "split": split} for n, split in enumerate(["fit", "", "fit"])]
    assert [example.split for example in read(file, *rows)] == ["fit", "", "fit"]
    with_context = [
        {"question": "When?", "context": "In 1914.", "split": "fit"},
        {"question": "When?", "context": "In 1918.", "split": "test"},
    ]
    assert len(read(file, *with_context)) == 2


def test_references_may_be_required(file: Path) -> None:
    assert read(file, {"question": "a?", "answer": ""})[0].references == ()
    with pytest.raises(ConfigError, match=":1: there is no reference answer: write one, or take the row out"):
        read(file, {"question": "a?", "answer": ["", None]}, require_references=True)
    with pytest.raises(ConfigError, match=":1: no column holds the references: is it 'anwser'"):
        read(file, {"question": "a?", "anwser": "b"}, require_references=True)


def test_numbers_that_are_none_do_not_come_out_of_parquet(tmp_path: Path) -> None:
    for column in ("answer", "id", "logged_correct"):
        parquet.write_table(pa.table({"question": ["a?"], column: [float("nan")]}), tmp_path / "a.parquet")
        with pytest.raises(ConfigError, match=r"a\.parquet: row 1: .*nan"):
            list(read_examples(tmp_path / "a.parquet"))
    options = pa.table({"question": ["a?"], "options": [{"temperature": float("inf")}]})
    parquet.write_table(options, tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match="inf is no number"):
        list(read_examples(tmp_path / "a.parquet"))


def test_a_long_file_is_read_while_it_is_used(file: Path) -> None:
    with file.open("w") as out:
        out.writelines(f'{{"question": "{n}?"}}\n' for n in range(1000))
        out.write("broken")
    examples = read_examples(file)
    assert next(examples).question.text == "0?"
    with pytest.raises(ConfigError, match=":1001: the last line is cut off"):
        list(examples)


TEXT = st.text(max_size=30).map(str.strip)
NEVER_EMPTY = TEXT.filter(bool)
SPLITS: tuple[Split, ...] = ("", "fit", "certify", "test")


@settings(deadline=None)
@given(
    example=st.builds(
        Example,
        id=NEVER_EMPTY,
        question=NEVER_EMPTY.map(Question.from_text),
        references=st.lists(NEVER_EMPTY, unique=True).map(tuple),
        segment=TEXT,
        split=st.sampled_from(SPLITS),
        passages=st.lists(NEVER_EMPTY).map(lambda texts: tuple(Passage(str(n), t) for n, t in enumerate(texts))),
        logged_answer=st.none() | NEVER_EMPTY,
        logged_correct=st.none() | st.booleans(),
    )
)
def test_whatever_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, example: Example) -> None:
    path = tmp_path_factory.mktemp("round") / "a.jsonl"
    path.write_bytes(to_json(example) + b"\n")
    assert list(read_examples(path)) == [example]


NAMES = ("id", "question", "messages", "prompt", "references", "answer", "context", "split", "segment", "options")
NAMES += ("role", "content", "type", "text", "value", "logged_answer", "logged_correct", "")
WORDS = ("user", "fit", "Where?", "yes", "text", "", "{", "[", "['a']", '[{"role": "user", "content": "Where?"}]')
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats() | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=10,
)


@settings(deadline=None)
@given(row=st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=6), flat=st.booleans())
def test_whatever_a_row_holds_it_is_an_example_that_can_be_written_or_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, row: dict[str, Any], flat: bool
) -> None:
    folder = tmp_path_factory.mktemp("any")
    path = folder / ("a.csv" if flat else "a.jsonl")
    with path.open("w", encoding="utf-8", newline="") as file:
        if flat:
            writer = csv.writer(file)
            writer.writerows([row, (v if isinstance(v, str) else json.dumps(v) for v in row.values())])
        else:
            file.write(json.dumps(row))
    try:
        examples = list(read_examples(path))
    except ConfigError:
        return
    (folder / "b.jsonl").write_bytes(b"".join(to_json(example) + b"\n" for example in examples))
    assert list(read_examples(folder / "b.jsonl")) == examples
