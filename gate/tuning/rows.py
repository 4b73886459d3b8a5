"""The rows of a file, one at a time: JSON lines (also gzipped), CSV, TSV and Parquet.

A row that cannot be read comes as a `BrokenRow`, so that whoever reads may refuse the file or count it. What leaves no
way to go on (a cut gzip stream, an encoding that is none, a table whose quotes do not close) raises `ConfigError`.
Memory holds one row, or one batch of Parquet.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from gate.errors import ConfigError, MissingExtra

KINDS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""Read by the end of the name; all but Parquet also with ``.gz`` behind it."""
_LONGEST = 64 * 2**20
"""Bytes of a line, and characters of a cell."""
_BATCH = 512
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_BREAKS = (OSError, EOFError, zlib.error)


@dataclass(frozen=True, slots=True)
class Row:
    where: str
    """``file:line``; of Parquet, the number of the row."""
    number: int
    values: Mapping[str, Any]
    flat: bool = False
    """Whether every value is text because the file knows nothing else (CSV, TSV)."""


@dataclass(frozen=True, slots=True)
class BrokenRow:
    where: str
    number: int
    reason: str
    """What is wrong and what to do, in the same words for the same fault."""


def rows_of(path: Path) -> Iterator[Row | BrokenRow]:
    """Every row of a file, in order; blank lines are none."""
    kind = path.with_suffix("").suffix if path.suffix.lower() == ".gz" else path.suffix
    match kind.lower():
        case ".jsonl" | ".ndjson" | ".json":
            yield from _json_rows(path)
        case ".csv" | ".tsv":
            yield from _table_rows(path, tabs=kind.lower() == ".tsv")
        case ".parquet":
            yield from _parquet_rows(path)
        case _:
            raise ConfigError(
                f"cannot tell what this file is: its name ends in none of {', '.join(KINDS)}", where=str(path)
            )


def sound_rows(path: Path) -> Iterator[Row]:
    """Every row of a file. Raises `ConfigError` at the first that is broken."""
    for row in rows_of(path):
        if isinstance(row, BrokenRow):
            raise ConfigError(row.reason, where=row.where)
        yield row


# --- text --------------------------------------------------------------------------------------------------------


def _opened(path: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path, "rb")) if path.suffix.lower() == ".gz" else path.open("rb")


def _unreadable(path: Path, error: BaseException) -> ConfigError:
    if isinstance(error, EOFError | zlib.error | gzip.BadGzipFile):
        return ConfigError(f"the gzip stream is cut off or damaged ({error}): copy the file again", where=str(path))
    return ConfigError(f"cannot read this file: {getattr(error, 'strerror', None) or error}", where=str(path))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines as bytes of UTF-8, with their numbers from 1 and their line ends."""
    try:
        with _opened(path) as file:
            start = file.read(4)
            file.seek(0)
            encoding = next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")
            if encoding == "utf-16":
                with io.TextIOWrapper(file, encoding, newline="") as text:
                    for number, line in enumerate(iter(lambda: text.readline(_LONGEST + 1), ""), 1):
                        yield number, line.encode("utf-8", "surrogatepass")
                return
            file.seek(len(codecs.BOM_UTF8) if encoding == "utf-8-sig" else 0)
            yield from enumerate(iter(lambda: file.readline(_LONGEST + 1), b""), 1)
    except UnicodeError as error:
        raise ConfigError(f"it begins as UTF-16 but is not ({error}): save it as UTF-8", where=str(path)) from error
    except _BREAKS as error:
        raise _unreadable(path, error) from error


def _undecodable(error: UnicodeDecodeError, name: str) -> str:
    return (
        f"byte 0x{error.object[error.start]:02x} at place {error.start + 1} of this line is not UTF-8; "
        f"convert the file, from Windows for example with: iconv -f CP1252 -t UTF-8 '{name}'"
    )


# --- JSON lines --------------------------------------------------------------------------------------------------


def _json_rows(path: Path) -> Iterator[Row | BrokenRow]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        if len(line) > _LONGEST:
            raise ConfigError("this line is longer than 64 MiB: one JSON object a line is wanted", where=where)
        try:
            value = strict_json(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            yield BrokenRow(where, number, _undecodable(error, path.name))
        except (ValueError, RecursionError) as error:
            yield BrokenRow(where, number, _no_json(line, error))
        else:
            if isinstance(value, dict):
                yield Row(where, number, value)
            else:
                yield BrokenRow(where, number, _ONE_A_LINE)


_ONE_A_LINE = "a line that is no JSON object; one object a line is wanted: jq -c '.[]' makes such lines of a JSON list"


def _no_json(line: bytes, error: Exception) -> str:
    bare = line.strip()
    if bare in {b"[", b"{"}:
        return _ONE_A_LINE
    if not line.endswith((b"\n", b"\r")) and isinstance(error, json.JSONDecodeError):
        return (
            "the last line is cut off, as if the file was copied while it was written: copy it again or delete the line"
        )
    said = error.msg if isinstance(error, json.JSONDecodeError) else str(error) or "nested too deep"
    return f"not JSON: {said}"


def strict_json(text: str) -> Any:
    """The value of a JSON text. Raises ValueError also for NaN, infinities and repeated keys, which others let pass."""
    return json.loads(text, parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_without_repeats)


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON; write null for what is not known")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large to be held")
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return values


# --- tables ------------------------------------------------------------------------------------------------------


def _table_rows(path: Path, *, tabs: bool) -> Iterator[Row | BrokenRow]:
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))  # of the process; the default is 128 KiB
    texts = _decoded(path)
    first = next(texts, "")
    reader = csv.reader(_again(first, texts), delimiter="\t" if tabs else _delimiter(first), strict=True)
    begin = 1
    try:
        header = _header(next(reader, []), f"{path}:1")
        begin = reader.line_num + 1
        for cells in reader:
            where, number, begin = f"{path}:{begin}", begin, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                yield BrokenRow(where, number, _ODD_CELLS)
            else:
                yield Row(where, number, dict(zip(header, cells, strict=True)), flat=True)
    except csv.Error as error:
        raise ConfigError(
            f"not a table from here on ({error}): a quotation mark is never closed, or the file is cut off",
            where=f"{path}:{begin}",
        ) from error


_ODD_CELLS = (
    "a row with more or fewer cells than the header: put a cell that holds the separator between quotation marks; "
    "where it is the last row, the file may be cut off"
)


def _decoded(path: Path) -> Iterator[str]:
    for number, line in _lines(path):
        try:
            yield line.decode("utf-8", "surrogatepass")  # half characters, which label files must give back
        except UnicodeDecodeError as error:
            raise ConfigError(_undecodable(error, path.name), where=f"{path}:{number}") from error


def _again(first: str, rest: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
    yield from rest


def _delimiter(header: str) -> str:
    """Spreadsheets write what the language of the machine suggests."""
    return next((mark for mark in (",", ";", "\t") if mark in header), ",")


def _header(names: Sequence[str], where: str) -> list[str]:
    bare = [name.strip() for name in names]
    if any(not name for name in bare):
        raise ConfigError("a column of the header has no name: name it or delete it", where=where)
    twice = {name for name in bare if sum(other.lower() == name.lower() for other in bare) > 1}
    if twice:
        raise ConfigError(f"two columns are called {min(twice)!r}: rename or delete one", where=where)
    return bare


# --- Parquet -----------------------------------------------------------------------------------------------------


def _parquet_rows(path: Path) -> Iterator[Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise MissingExtra("pyarrow", "parquet") from error
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            _header(file.schema_arrow.names, str(path))
            for batch in file.iter_batches(batch_size=_BATCH):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(f"{path}: row {number}", number, values)
    except (pyarrow.ArrowException, OSError) as error:
        raise ConfigError(f"cannot read this Parquet file: {error}", where=str(path)) from error
