"""Rows of files of every kind, and of files that are broken in every way."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from gate.errors import ConfigError, MissingExtra
from gate.tuning import rows
from gate.tuning.rows import BrokenRow, Row, rows_of, sound_rows, strict_json


def values(path: Path) -> list[Any]:
    return [row.values for row in sound_rows(path)]


def written(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


TWO = [{"id": "1", "question": "Où?"}, {"id": "2", "question": 'a "quoted", one\nof two lines'}]
JSON = '{"id": "1", "question": "Où?"}\n\n{"id": "2", "question": "a \\"quoted\\", one\\nof two lines"}'
TABLE = 'id,question\r\n1,Où?\r\n,\r\n2,"a ""quoted"", one\nof two lines"\r\n'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", JSON.encode()),
        ("a.ndjson", JSON.replace("\n", "\r\n").encode()),
        ("a.JSONL", b"\xef\xbb\xbf" + JSON.encode()),
        ("a.jsonl", JSON.encode("utf-16")),
        ("a.jsonl", b"\xfe\xff" + JSON.encode("utf-16-be")),
        ("a.json.gz", gzip.compress(JSON.encode(), mtime=0)),
        ("a.jsonl.gz", gzip.compress(JSON.encode("utf-16"), mtime=0)),
        ("a.csv", TABLE.encode()),
        ("a.csv", TABLE.replace(",", ";").replace('quoted""; one', 'quoted"", one').encode()),
        ("a.csv", b"\xef\xbb\xbf" + TABLE.encode()),
        ("a.csv", TABLE.encode("utf-16")),
        ("a.csv.gz", gzip.compress(TABLE.encode(), mtime=0)),
        ("a.tsv", 'id\tquestion\n1\tOù?\n2\t"a ""quoted"", one\nof two lines"\n'.encode()),
    ],
)
def test_the_same_rows_in_every_kind_of_file(tmp_path: Path, name: str, content: bytes) -> None:
    assert values(written(tmp_path / name, content)) == TWO


def test_parquet_in_batches(tmp_path: Path) -> None:
    many = [{"id": str(n), "question": f"{n}?", "references": ["a", "b"]} for n in range(1300)]
    parquet.write_table(pa.Table.from_pylist(many), tmp_path / "a.parquet")
    read = list(sound_rows(tmp_path / "a.parquet"))
    assert [row.values for row in read] == many
    assert read[-1].where.endswith("a.parquet: row 1300")


def test_rows_know_their_line(tmp_path: Path) -> None:
    assert [row.where[-2:] for row in sound_rows(written(tmp_path / "a.jsonl", JSON))] == [":1", ":3"]
    read = list(sound_rows(written(tmp_path / "a.csv", 'id\n"1\n2"\n3\n')))
    assert [(row.where[-2:], row.number, row.flat) for row in read] == [(":2", 2, True), (":4", 4, True)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": NaN}\n', "not JSON: NaN is no JSON; write null"),
        (b'{"a": -Infinity}\n', "not JSON: -Infinity is no JSON"),
        (b'{"a": 1e999}\n', "not JSON: a number is too large"),
        (b'{"a": 1, "a": 2}\n', "not JSON: a key stands twice"),
        (b'{"a": 1,}\n', "not JSON: Expecting property name"),
        (b"[\n", "a line that is no JSON object; one object a line is wanted: jq"),
        (b'[{"a": 1}]\n', "a line that is no JSON object"),
        (b"3\n", "a line that is no JSON object"),
        (b'{"a": ' + b"[" * 100_000 + b"\n", "not JSON: "),
        (
            b'{"a": "M\xfcnchen"}\n',
            r"byte 0xfc at place 9 of this line is not UTF-8; .* iconv -f CP1252 -t UTF-8 'a.jsonl'",
        ),
    ],
)
def test_a_line_that_is_broken_says_how_and_the_rest_is_read(tmp_path: Path, line: bytes, reason: str) -> None:
    path = written(tmp_path / "a.jsonl", b'{"a": 1}\n' + line + b'{"a": 2}\n')
    first, broken, last = rows_of(path)
    assert isinstance(first, Row)
    assert isinstance(last, Row)
    assert isinstance(broken, BrokenRow)
    assert broken.number == 2
    with pytest.raises(ConfigError, match=rf"a\.jsonl:2: {reason}"):
        list(sound_rows(path))


def test_a_last_line_that_is_cut_off_is_called_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r":2: the last line is cut off"):
        list(sound_rows(written(tmp_path / "a.jsonl", '{"a": 1}\n{"a": "b')))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"a,b\n1\n", r"a\.csv:2: a row with more or fewer cells than the header"),
        ("a.csv", b"a,b\n1,2\n1,2,3\n", r"a\.csv:3: a row with more or fewer"),
        ("a.csv", b'a,b\n1,2\n3,"4\n5\n', r"a\.csv:3: not a table from here on .*a quotation mark is never closed"),
        ("a.csv", b"a,a\n1,2\n", r"a\.csv:1: two columns are called 'a'"),
        ("a.csv", b"a,A\n1,2\n", r"a\.csv:1: two columns are called 'A'"),
        ("a.csv", b"a,\n1,2\n", r"a\.csv:1: a column of the header has no name"),
        ("a.csv", b"a\nok\nM\xfcnchen\n", r"a\.csv:3: byte 0xfc at place 2"),
        ("a.jsonl", b"\xff\xfe{\x00}", "it begins as UTF-16 but is not"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 99, mtime=0)[:-9], "the gzip stream is cut off"),
        ("a.jsonl.gz", b"plain", "the gzip stream is cut off or damaged"),
        ("a.parquet", b"plain", "cannot read this Parquet file"),
        ("a.xlsx", b"", "its name ends in none of .jsonl"),
    ],
)
def test_a_file_that_cannot_go_on_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        list(sound_rows(written(tmp_path / name, content)))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.csv", "a.parquet", "a.jsonl.gz"):
        with pytest.raises(ConfigError, match=rf"{name}: cannot read this"):
            list(sound_rows(tmp_path / name))


def test_a_line_without_an_end_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_LONGEST", 1000)
    with pytest.raises(ConfigError, match="longer than"):
        list(sound_rows(written(tmp_path / "a.jsonl", b"[" * 5000)))


def test_long_cells_are_read(tmp_path: Path) -> None:
    long = "x" * 1_000_000
    assert values(written(tmp_path / "a.csv", f"a\n{long}\n")) == [{"a": long}]


def test_parquet_without_its_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pip install 'gate-llm\[parquet\]'"):
        list(sound_rows(tmp_path / "a.parquet"))


def test_rows_are_read_one_by_one(tmp_path: Path) -> None:
    """The first row of a file is there before the broken one behind it is looked at."""
    read: Iterator[Row] = sound_rows(written(tmp_path / "a.jsonl", b'{"a": 1}\n' * 1000 + b"broken\n"))
    assert next(read).values == {"a": 1}


def test_strict_json() -> None:
    assert strict_json('{"a": [1, 2.5, null, true]}') == {"a": [1, 2.5, None, True]}
    for text, message in (("NaN", "no JSON"), ("[1e400]", "too large"), ('[{"a": 1, "a": 1}]', "stands twice")):
        with pytest.raises(ValueError, match=message):
            strict_json(text)


@settings(deadline=None)
@given(content=st.binary(max_size=200))
def test_no_bytes_are_anything_but_rows_or_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    for name in ("a.jsonl", "a.csv", "a.tsv", "a.jsonl.gz", "a.parquet"):
        with suppress(ConfigError):
            for row in rows_of(written(folder / name, content)):
                assert row.number >= 1
