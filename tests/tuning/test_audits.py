"""Labels for a log: read as people write them, and refused with the line where they cannot be."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from gate.errors import ConfigError
from gate.tuning.audits import read_audits
from gate.tuning.decision_log import Audit


def table(folder: Path, text: str, name: str = "labels.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("said", "correct"),
    [("yes", True), ("No", False), ("1", True), ("0", False), ("TRUE", True), ("false", False), ("wrong", False)],
)
def test_labels_are_read_as_people_write_them(tmp_path: Path, said: str, correct: bool) -> None:
    assert read_audits(table(tmp_path, f"id,correct\na,{said}\n")) == {"a": Audit(correct)}


def test_a_table_of_any_kind_with_any_of_the_names(tmp_path: Path) -> None:
    assert read_audits(table(tmp_path, "id\tLabel\tAudit Probability\tsegment\na\tyes\t0.25\tvip\n", "t.tsv")) == {
        "a": Audit(True, 0.25, "vip")
    }
    lines = '{"id": "a", "correct": true, "probability": 0.5}\n{"id": 7, "correct": 0}\n{"id": "c", "correct": null}\n'
    assert read_audits(table(tmp_path, lines, "t.jsonl")) == {"a": Audit(True, 0.5), "7": Audit(False)}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_what_spreadsheets_write_is_read(tmp_path: Path, encoding: str) -> None:
    assert read_audits(table(tmp_path, "id;correct;probability\r\na;yes;0,5\r\n", encoding=encoding)) == {
        "a": Audit(True, 0.5)
    }


def test_a_label_may_be_of_the_first_draft(tmp_path: Path) -> None:
    text = "id,correct,draft\na,yes,first\nb,no,last\nc,no,\n"
    assert read_audits(table(tmp_path, text)) == {"a": Audit(True, first=True), "b": Audit(False), "c": Audit(False)}
    with pytest.raises(ConfigError, match=r"labels\.csv:2: the draft 'second' is none of first, last"):
        read_audits(table(tmp_path, "id,correct,draft\na,yes,second\n"))


def test_rows_without_a_label_are_left_out_and_the_same_label_may_stand_twice(tmp_path: Path) -> None:
    assert read_audits(table(tmp_path, "id,correct\na,yes\nb,\na,1\n")) == {"a": Audit(True)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,right\na,yes\n", "labels.csv:2: no column holds the correct: call it 'correct'"),
        ("key,correct\na,yes\n", "labels.csv:2: no column holds the id: "),
        ("id,correct\na,yes\n,no\n", "labels.csv:3: there is no id: give that of the decision"),
        ("id,correct\na,yes\nb,maybe\n", "labels.csv:3: 'maybe' is no label: write yes or no"),
        ("id,correct\na,yes\nb,0.7\n", "labels.csv:3: '0.7' is no label"),
        ("id,correct\na,yes\na,no\n", "labels.csv:3: the decision 'a' is labelled twice, differently"),
        ("id,correct\na,\n", "labels.csv: no row holds a label"),
        ("id,correct\n", "labels.csv: no row holds a label"),
        ("", "labels.csv: no row holds a label"),
        ("id,correct\na,yes\nb,no", None),
        ("id,correct\na,yes\nb", "labels.csv:3: a row with more or fewer cells than the header.*cut off"),
        ('id,correct\na,yes\n"b,no', "labels.csv:3: not a table from here on"),
        *(
            (f"id,correct,probability\na,yes,{cell}\n", "labels.csv:2: the probability '.*' is no number above 0")
            for cell in ("0", "2", "nan", "-0.5", "inf", "often")
        ),
    ],
)  # fmt: skip
def test_bad_tables_are_refused_with_the_row(tmp_path: Path, text: str, said: str | None) -> None:
    path = table(tmp_path, text)
    if said is None:
        assert read_audits(path) == {"a": Audit(True), "b": Audit(False)}
        return
    with pytest.raises(ConfigError, match=said) as caught:
        read_audits(path)
    assert "\n" not in str(caught.value)


def test_mixed_encodings_and_unknown_kinds_are_named(tmp_path: Path) -> None:
    mixed = tmp_path / "mixed.csv"
    mixed.write_bytes(codecs.BOM_UTF8 + "id,correct\nä,yes\n".encode() + "ö,no\n".encode("cp1252"))
    with pytest.raises(ConfigError, match=r"mixed\.csv:3: byte 0xf6 .* not UTF-8.*iconv"):
        read_audits(mixed)
    with pytest.raises(ConfigError, match="cannot tell what this file is"):
        read_audits(table(tmp_path, "id,correct\na,yes\n", "labels.xlsx"))
    with pytest.raises(ConfigError, match=r"none\.csv: cannot read this file"):
        read_audits(tmp_path / "none.csv")
