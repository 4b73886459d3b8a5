"""Label files: what people edit."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gate.errors import ConfigError
from gate.tuning.label_files import COLUMNS, LabelRow, read_label_rows, read_labels, write_labels

ROWS = (
    LabelRow("q1", "Paris", "Where?", ("Paris", "Lutetia"), True, "exact", 0.25, "sure"),
    LabelRow("q1", "Lyon, not Paris", "Where?", ("Paris",), False, "model"),
    LabelRow("q2", "", note="left open"),
)
DANGEROUS = ["=1+1", "+1", "-5 °C", "@cmd", "\tx", "\r", "\n=1", " =1", "'quoted'", "'", "''=1", "＝1", "'=1"]


def cells(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    assert write_labels(path, ROWS) == 3
    assert tuple(read_label_rows(path)) == ROWS
    assert read_labels(path) == {("q1", "Paris"): True, ("q1", "Lyon, not Paris"): False}


def test_the_file_is_one_that_spreadsheets_open(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    write_labels(path, ROWS)
    assert path.read_bytes().startswith(b"\xef\xbb\xbfid,answer,question,references,correct,grader,suspicion,note\r\n")
    assert cells(path)[1] == ["q1", "Paris", "Where?", '["Paris", "Lutetia"]', "yes", "exact", "0.25", "sure"]
    assert cells(path)[3] == ["q2", "", "", "", "", "", "", "left open"]


@pytest.mark.parametrize("text", DANGEROUS)
def test_no_cell_is_a_formula(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.csv"
    row = LabelRow(text, text, text, (text,), None, text, None, text)
    write_labels(path, [row])
    assert list(read_label_rows(path)) == [row]
    shown = cells(path)[1]
    for name, cell in zip(COLUMNS, shown, strict=True):
        if name not in {"references", "correct", "suspicion"}:
            assert cell == f"'{text}"


ANY = st.text(st.characters(), max_size=20) | st.sampled_from(DANGEROUS)


@settings(deadline=None)
@given(
    rows=st.lists(
        st.builds(
            LabelRow,
            id=ANY.filter(bool),
            answer=ANY,
            question=ANY,
            references=st.lists(ANY, max_size=3).map(tuple),
            correct=st.sampled_from([True, False, None]),
            grader=ANY,
            suspicion=st.none() | st.floats(0, 1),
            note=ANY,
        ),
        max_size=4,
        unique_by=lambda row: (row.id, row.answer),
    )
)
@example(rows=[LabelRow("\ud83d", 'a\r\n"b"\n\r,\x00;\t')])
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, rows: list[LabelRow]) -> None:
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    write_labels(path, rows)
    assert list(read_label_rows(path)) == rows


def test_what_people_made_of_it_is_read(tmp_path: Path) -> None:
    """Columns moved, added and left out; semicolons; a comma for the point; labels in their own spelling."""
    path = tmp_path / "labels.csv"
    path.write_text("Correct;who;answer;id;suspicion\nRIGHT;me;Paris;q1;0,5\n0;me;Lyon;q1;\n;me;Nice;q1;\n", "utf-8")
    assert read_labels(path) == {("q1", "Paris"): True, ("q1", "Lyon"): False}
    assert [row.suspicion for row in read_label_rows(path)] == [0.5, None, None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "id,answer,correct\nq1,Paris,yes\nq1,Lyon,perhaps\n",
            r"labels\.csv:3: 'perhaps' is no label: write yes or no",
        ),
        ("id,answer\nq1,Paris\n", ":2: no column holds the correct"),
        ("id,correct,anwser\nq1,yes,Paris\n", ":2: no column holds the answer: is it 'anwser'"),
        ("id,answer,correct\n,Paris,yes\n", ":2: there is no id"),
        (
            "id,answer,correct\nq1,Paris,yes\nq1,Paris,no\n",
            "one answer to the question 'q1' is labelled right and wrong",
        ),
        ("id,answer,correct,suspicion\nq1,Paris,yes,nan\n", ":2: the suspicion 'nan' is no number from 0 to 1"),
        ("id,answer,correct,suspicion\nq1,Paris,yes,high\n", ":2: the suspicion 'high' is no number"),
        ("id,answer,correct,references\nq1,Paris,yes,Paris\n", ":2: references are no JSON list"),
        ('id,answer,correct\nq1,"Paris,yes\n', ":2: not a table from here on"),
        ("id,answer,correct\nq1,Paris\n", ":2: a row with more or fewer cells"),
    ],
)
def test_what_is_no_label_file_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        read_labels(path)


def test_a_file_saved_in_another_encoding_is_refused_and_not_misread(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes("id,answer,correct\nq1,Köln,yes\n".encode("cp1252"))
    with pytest.raises(ConfigError, match=r":2: byte 0xf6 .* iconv -f CP1252"):
        read_labels(path)


def test_the_same_label_twice_is_one(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,answer,correct\nq1,Paris,yes\nq1,Paris,1\nq1,Paris,\n", encoding="utf-8")
    assert read_labels(path) == {("q1", "Paris"): True}


def test_what_people_wrote_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    write_labels(path, ROWS)
    edited = path.read_bytes().replace(b"sure", b"by hand")
    path.write_bytes(edited)
    with pytest.raises(ConfigError, match="this file exists and is not written over"):
        write_labels(path, ROWS)
    assert path.read_bytes() == edited
    write_labels(path, ROWS, overwrite=True)
    assert tuple(read_label_rows(path)) == ROWS


def test_two_rows_for_one_answer_are_a_fault_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two rows for one answer"):
        write_labels(tmp_path / "labels.csv", [ROWS[0], ROWS[0]])
    assert not list(tmp_path.iterdir())
