"""Logs of many shapes, imported."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from gate.errors import ConfigError
from gate.tuning.chat_logs import ImportReport, Tally, import_logs
from gate.tuning.examples import Example, read_examples
from gate.types import Message


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str | None) -> dict[str, str | None]:
    return {"role": "assistant", "content": text}


def completion(text: str | None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": assistant(text)}]}


def imported(folder: Path, *rows: Any) -> tuple[ImportReport, list[Example]]:
    source, target = folder / "log.jsonl", folder / "examples.jsonl"
    source.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    report = import_logs(source, target, overwrite=True)
    return report, list(read_examples(target))


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [user("Where?"), assistant("Paris")]},
        {"messages": [user("Where?")], "response": completion("Paris")},
        {"messages": [user("Where?")], "choices": completion("Paris")["choices"]},
        {"request": {"model": "m", "messages": [user("Where?")]}, "response": completion("Paris")},
        {"body": {"messages": [user("Where?")]}, "response": {"status_code": 200, "body": completion("Paris")}},
        {"request": {"body": {"messages": [user("Where?")]}}, "response": {"body": completion("Paris")}},
        {"question": "Where?", "answer": "Paris"},
        {"prompt": "Where?", "response": "Paris"},
        {"Input": "Where?", "Output": " Paris "},
        {"prompt": [user("Where?")], "completion": "Paris"},
        {"request": json.dumps({"messages": [user("Where?")]}), "response": json.dumps(completion("Paris"))},
        {"messages": [user("Where?"), assistant("Paris")], "response": "Paris"},
    ],
)
def test_logs_of_many_shapes_hold_a_question_and_its_answer(tmp_path: Path, row: Any) -> None:
    report, (example,) = imported(tmp_path, row)
    assert (example.question.messages, example.logged_answer) == ((Message("user", "Where?"),), "Paris")
    assert (example.references, example.logged_correct) == ((), None)
    assert report == ImportReport(1, 1, 0, 0, {}, {})


def test_a_conversation_stays_one(tmp_path: Path) -> None:
    turns = [user("Hello"), assistant("Hello."), user("Where?"), assistant("Paris")]
    _, (example,) = imported(tmp_path, {"messages": turns})
    assert [message.content for message in example.question.messages] == ["Hello", "Hello.", "Where?"]
    assert example.logged_answer == "Paris"


def test_an_answer_begun_for_the_model_is_part_of_the_question(tmp_path: Path) -> None:
    turns = [user("Where?"), assistant("It is")]
    _, (example,) = imported(tmp_path, {"messages": turns, "response": completion("Paris")})
    assert (example.question.messages[-1].content, example.logged_answer) == ("It is", "Paris")


def test_an_answer_in_json_is_an_answer(tmp_path: Path) -> None:
    _, (example,) = imported(tmp_path, {"question": "Where?", "response": '{"city": "Paris"}'})
    assert example.logged_answer == '{"city": "Paris"}'


def test_generation_fields_are_kept_and_what_is_about_the_call_is_not(tmp_path: Path) -> None:
    request = {
        "model": "m",
        "stream": True,
        "user": "u",
        "temperature": 0.2,
        "stop": None,
        "messages": [user("Where?")],
    }
    for row in ({"request": request}, request | {"response": completion("Paris"), "latency": 3}):
        assert imported(tmp_path, row)[1][0].question.options == {"temperature": 0.2}


@pytest.mark.parametrize(
    ("more", "references", "correct"),
    [
        ({"ideal": "Paris"}, ("Paris",), None),
        ({"references": ["Paris", "paris"]}, ("Paris", "paris"), None),
        ({"label": "correct"}, ("Lyon",), True),
        ({"correct": False}, (), False),
        ({"is_correct": 1, "ideal": "Paris"}, ("Paris", "Lyon"), True),
        ({"label": "no", "feedback": "thumbs-up"}, (), False),
    ],
)
def test_labels_and_ideal_answers_say_what_is_right(
    tmp_path: Path, more: dict[str, Any], references: tuple[str, ...], correct: bool | None
) -> None:
    report, (example,) = imported(tmp_path, {"question": "Where?", "answer": "Lyon"} | more)
    assert (example.references, example.logged_correct) == (references, correct)
    assert report.with_references == bool(references)


def test_what_there_was_to_read_stays_and_parts_questions(tmp_path: Path) -> None:
    report, (first, second) = imported(
        tmp_path, {"question": "When?", "context": "In 1914."}, {"question": "When?", "context": ["In 1918."]}
    )
    assert [first.passages[0].text, second.passages[0].text] == ["In 1914.", "In 1918."]
    assert first.id != second.id
    assert report.duplicates == 0


def test_a_label_without_an_answer_labels_nothing(tmp_path: Path) -> None:
    _, (example,) = imported(tmp_path, {"question": "Where?", "label": "yes"})
    assert (example.references, example.logged_correct) == ((), None)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"label": "geography"}, "a label that is neither yes nor no"),
        ({"label": 0.5}, "a label that is neither yes nor no"),
    ],
)
def test_a_label_that_is_none_is_counted_and_its_question_used(
    tmp_path: Path, more: dict[str, Any], reason: str
) -> None:
    report, (example,) = imported(tmp_path, {"question": "Where?", "answer": "Lyon"} | more)
    assert example.logged_correct is None
    assert report.unread_labels == {reason: Tally(1, [1])}


@pytest.mark.parametrize(
    "more", [{"rating": 1}, {"rating": "5"}, {"feedback": "thumbs-up"}, {"rating": "\U0001f44e"}, {"thumbs": True}]
)
@pytest.mark.parametrize("ideal", [(), ("Paris",)])
def test_a_rating_is_no_label_and_makes_no_reference(
    tmp_path: Path, more: dict[str, Any], ideal: tuple[str, ...]
) -> None:
    """People rate up what is polite and wrong: an answer somebody liked must not teach what is right."""
    row = {"question": "Where?", "answer": "Lyon", "ideal": list(ideal)} | more
    report, (example,) = imported(tmp_path, row)
    assert (example.logged_answer, example.logged_correct, example.references) == ("Lyon", None, ideal)
    assert report.with_references == bool(ideal)
    assert report.unread_labels == {"a rating: it says what somebody liked, not what is right": Tally(1, [1])}


def test_a_label_is_read_beside_a_rating_that_says_otherwise(tmp_path: Path) -> None:
    report, (example,) = imported(tmp_path, {"question": "Where?", "answer": "Lyon", "label": "yes", "rating": "down"})
    assert (example.references, example.logged_correct) == (("Lyon",), True)
    assert report.unread_labels == {}


def test_every_row_is_written_a_duplicate_or_unusable_for_a_reason(tmp_path: Path) -> None:
    report, examples = imported(
        tmp_path,
        {"question": "Where is it?", "answer": "Lyon", "id": "a"},
        {"question": "where is it", "answer": "Paris", "label": "yes", "id": "b"},
        {"question": "WHERE is it?", "answer": "Nice", "label": "no", "id": "c"},
        {"custom_id": "r1", "response": completion("Paris")},
        {"messages": [assistant("Hello")]},
        {"messages": []},
        *[{"messages": [user(" ")]}] * 7,
        {"question": "When?", "id": "b"},
        '{"question": "cut',
    )
    assert (examples[0].id, examples[0].logged_answer) == ("b", "Paris")
    assert examples[1].question.text == "When?"
    assert examples[1].id != "b"
    assert (report.rows, report.written, report.duplicates, report.with_references) == (15, 2, 2, 1)
    assert report.unusable == {
        "neither messages nor a question": Tally(2, [4, 6]),
        "messages hold no user message": Tally(1, [5]),
        "every user message is empty": Tally(7, [7, 8, 9, 10, 11]),
        "the last line is cut off, as if the file was copied while it was written: copy it again or delete the line": (
            Tally(1, [15])
        ),
    }
    assert report.rows == report.written + report.duplicates + sum(t.count for t in report.unusable.values())


@pytest.mark.parametrize(
    "response",
    [
        {"status_code": 500, "body": {"error": {"message": "down"}}},
        completion(None),
        {"choices": []},
        {"choices": [{"message": {"content": [{"type": "text"}]}}]},
        None,
        17,
    ],
)
def test_a_question_whose_answer_failed_is_still_a_question(tmp_path: Path, response: Any) -> None:
    report, (example,) = imported(tmp_path, {"request": {"messages": [user("Where?")]}, "response": response})
    assert example.logged_answer is None
    assert report.written == 1


def test_tables_are_logs_too(tmp_path: Path) -> None:
    cell = json.dumps([user("Where?"), assistant("Paris")])
    (tmp_path / "log.csv").write_text(
        'messages,label\n"' + cell.replace('"', '""') + '",correct\n"[{",correct\n', encoding="utf-8"
    )
    report = import_logs(tmp_path / "log.csv", tmp_path / "a.jsonl")
    (example,) = read_examples(tmp_path / "a.jsonl")
    assert (example.logged_answer, example.references, example.logged_correct) == ("Paris", ("Paris",), True)
    assert [tally for reason, tally in report.unusable.items() if "messages is no JSON" in reason] == [Tally(1, [3])]
    rows = [{"messages": [user("Where?"), assistant("Paris")], "label": True}, {"messages": None, "label": False}]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "log.parquet")
    report = import_logs(tmp_path / "log.parquet", tmp_path / "b.jsonl")
    assert (report.written, report.unusable) == (1, {"neither messages nor a question": Tally(1, [2])})
    assert [e.logged_correct for e in read_examples(tmp_path / "b.jsonl")] == [True]


def test_reasons_are_told_apart_up_to_a_bound(tmp_path: Path) -> None:
    broken = [{"messages": [*[user("a")] * n, 3]} for n in range(60)]
    report, _ = imported(tmp_path, {"question": "Where?"}, *broken)
    assert len(report.unusable) == 51
    assert report.unusable["other reasons"] == Tally(10, [52, 53, 54, 55, 56])


def test_nothing_is_written_over_and_nothing_half_written(tmp_path: Path) -> None:
    source, target = tmp_path / "log.jsonl", tmp_path / "a.jsonl"
    source.write_text('{"question": "Where?"}\n')
    target.write_text("mine")
    with pytest.raises(ConfigError, match=r"a\.jsonl: this file exists"):
        import_logs(source, target)
    with pytest.raises(ConfigError, match="the log would be written over"):
        import_logs(source, source, overwrite=True)
    assert target.read_text() == "mine"
    assert import_logs(source, target, overwrite=True).written == 1


def test_a_log_without_a_question_is_refused_with_the_reasons(tmp_path: Path) -> None:
    source, target = tmp_path / "log.jsonl", tmp_path / "a.jsonl"
    source.write_text('{"a": 1}\n{"a": 2}\n')
    with pytest.raises(ConfigError, match=r"no row .* can be used: neither messages nor a question \(2 rows, from 1\)"):
        import_logs(source, target)
    source.write_text("\n")
    with pytest.raises(ConfigError, match="this file holds no rows"):
        import_logs(source, target)
    with pytest.raises(ConfigError, match="cannot read this file"):
        import_logs(tmp_path / "none.jsonl", target)
    assert not target.exists()


NAMES = ("messages", "request", "response", "body", "choices", "message", "content", "role", "question", "prompt")
NAMES += ("answer", "output", "ideal", "label", "rating", "id", "segment", "context", "type", "text", "tools", "")
WORDS = ("user", "assistant", "Where?", "yes", "up", "text", "", "{", '[{"role": "user", "content": "Where?"}]')
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats() | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(rows=st.lists(st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=6), max_size=4))
def test_whatever_a_log_holds_every_row_is_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("log")
    for name in ("log.jsonl", "log.csv"):
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            if name == "log.jsonl":
                file.writelines(json.dumps(row) + "\n" for row in [*rows, {"question": "One is sound."}])
            else:
                columns = [column for column in NAMES if column]
                writer = csv.DictWriter(file, columns)
                writer.writeheader()
                flat = [{k: v if isinstance(v, str) else json.dumps(v) for k, v in row.items() if k} for row in rows]
                writer.writerows([*filter(None, flat), {"question": "One is sound."}])
        report = import_logs(folder / name, folder / f"{name}.jsonl")
        written = list(read_examples(folder / f"{name}.jsonl"))
        assert len(written) == report.written >= 1
        assert report.rows == report.written + report.duplicates + sum(t.count for t in report.unusable.values())
