"""A log in parts: which, what is kept of them, and what is not done twice."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gate.errors import ConfigError
from gate.tuning import parts
from gate.tuning.decision_log import Records
from gate.tuning.parts import map_records, parts_of


@dataclass
class Doubled:
    """Writes down what it was shown; a record that holds "broken" cannot be worked on."""

    fingerprint: str = "doubled"
    shown: list[int] = field(default_factory=list)

    def rows(self, records: Records) -> Iterator[Mapping[str, Any]]:
        for where, record in records:
            if "broken" in record:
                raise ConfigError("this cannot be", where=where)
            self.shown.append(record["n"])
            yield {"n": 2 * record["n"], "text": record.get("text"), "share": record["n"] / 3}


def log_of(folder: Path, *records: Mapping[str, Any]) -> Path:
    path = folder / "log.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def numbers(rows: Iterator[Mapping[str, Any]]) -> list[int]:
    return [row["n"] for row in rows]


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_parts_make_up_the_log(tmp_path: Path, size: int) -> None:
    log = log_of(tmp_path, *({"n": n} for n in range(20)))
    made = list(parts_of(log, size))
    assert [part.number for part in made] == list(range(-(-20 // size)))
    assert sum(part.length for part in made) == log.stat().st_size
    found = [(where, record["n"]) for part in made for where, record in part.records()]
    assert found == [(f"{log}:{n + 1}", n) for n in range(20)]


def test_a_part_holds_no_more_bytes_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "BYTES", 25)
    log = log_of(tmp_path, *({"n": n} for n in range(9)))
    assert [part.length for part in parts_of(log)] == [27, 27, 27]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_with_a_folder_and_without_the_rows_are_the_same(tmp_path: Path, size: int) -> None:
    log = log_of(tmp_path, *({"n": n, "text": "naïve \ud800" if n % 2 else None} for n in range(10)))
    here = list(map_records(log, Doubled(), size=size))
    kept = list(map_records(log, Doubled(), folder=tmp_path / "parts", size=size))
    assert here == kept
    assert [row["n"] for row in here] == list(range(0, 20, 2))


def test_what_is_finished_is_not_done_again(tmp_path: Path) -> None:
    log, folder = log_of(tmp_path, *({"n": n} for n in range(6))), tmp_path / "parts"
    first, again, other = Doubled(), Doubled(), Doubled("another policy")
    assert numbers(map_records(log, first, folder=folder, size=2)) == [0, 2, 4, 6, 8, 10]
    assert numbers(map_records(log, again, folder=folder, size=2)) == [0, 2, 4, 6, 8, 10]
    assert (first.shown, again.shown) == ([0, 1, 2, 3, 4, 5], [])
    list(map_records(log, other, folder=folder, size=2))
    assert other.shown == first.shown


def test_a_log_that_has_grown_costs_what_is_new(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    list(map_records(log_of(tmp_path, *({"n": n} for n in range(4))), Doubled(), folder=folder, size=2))
    grown, work = log_of(tmp_path, *({"n": n} for n in range(7))), Doubled()
    assert numbers(map_records(grown, work, folder=folder, size=2)) == [0, 2, 4, 6, 8, 10, 12]
    assert work.shown == [4, 5, 6]


def test_what_was_broken_off_goes_on_and_leaves_no_half_part(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    records: list[dict[str, Any]] = [{"n": 0}, {"n": 1}, {"n": 2}, {"n": 3, "broken": True}]
    with pytest.raises(ConfigError, match=r"log\.jsonl:4: this cannot be"):
        list(map_records(log_of(tmp_path, *records), Doubled(), folder=folder, size=2))
    assert len(list(folder.iterdir())) == 1
    mended, work = log_of(tmp_path, *records[:3], {"n": 3}), Doubled()
    assert numbers(map_records(mended, work, folder=folder, size=2)) == [0, 2, 4, 6]
    assert work.shown == [2, 3]


def test_a_log_that_changes_meanwhile_is_told(tmp_path: Path) -> None:
    log = log_of(tmp_path, {"n": 1}, {"n": 2})
    (part,) = parts_of(log)
    log_of(tmp_path, {"n": 1}, {"n": 3})
    with pytest.raises(ConfigError, match="has changed"):
        list(part.records())


@pytest.mark.parametrize("lines", [0, 1, 2, 3])
def test_a_part_of_which_a_piece_was_kept_is_done_anew(tmp_path: Path, lines: int) -> None:
    """Cut at the end of a line, it would give fewer rows and say nothing of it."""
    log, folder, work = log_of(tmp_path, *({"n": n} for n in range(3))), tmp_path / "parts", Doubled()
    list(map_records(log, Doubled(), folder=folder))
    (kept,) = folder.iterdir()
    whole = kept.read_bytes()
    assert whole.count(b"\n") == 3 + 1
    kept.write_bytes(b"".join(whole.splitlines(keepends=True)[:lines]))
    assert numbers(map_records(log, work, folder=folder)) == [0, 2, 4]
    assert work.shown == [0, 1, 2]
    assert kept.read_bytes() == whole


@pytest.mark.parametrize("put", [b"{", b"null\n" * 4, b"\xff\x00"])
def test_a_part_that_is_damaged_is_done_anew(tmp_path: Path, put: bytes) -> None:
    log, folder = log_of(tmp_path, {"n": 1}), tmp_path / "parts"
    list(map_records(log, Doubled(), folder=folder))
    (kept,) = folder.iterdir()
    whole = kept.read_bytes()
    for damaged in (put, put + whole, whole.replace(b"2", b"3", 1)):
        kept.write_bytes(damaged)
        assert numbers(map_records(log, Doubled(), folder=folder)) == [2]
        assert kept.read_bytes() == whole


def test_a_part_that_is_damaged_while_it_is_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, folder = log_of(tmp_path, {"n": 1}), tmp_path / "parts"
    list(map_records(log, Doubled(), folder=folder))
    (kept,) = folder.iterdir()
    monkeypatch.setattr(parts, "_is_whole", lambda path: True)
    kept.write_text("{\n{\n")
    with pytest.raises(ConfigError, match="run this again") as caught:
        list(map_records(log, Doubled(), folder=folder))
    assert kept.name in str(caught.value)


@pytest.mark.parametrize("on", ["ray://head:10001", "ray://10.0.0.1:10001"])
def test_ray_client_cannot_do_it_and_what_can_is_said(tmp_path: Path, on: str) -> None:
    log, host = log_of(tmp_path, {"n": 1}), on.removeprefix("ray://").split(":")[0]
    with pytest.raises(ConfigError, match="Ray Client") as caught:
        list(map_records(log, Doubled(), on=on, folder=tmp_path / "parts"))
    assert str(caught.value).endswith(f"--on ray or --on {host}:6379")


@pytest.mark.parametrize("on", ["local", "ray"])
def test_a_folder_that_cannot_be_made_is_told_before_any_work(
    tmp_path: Path, on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "find_spec", lambda name: name)
    file = tmp_path / "file"
    file.touch()
    for folder in (file, file / "parts"):
        with pytest.raises(ConfigError, match="cannot be made") as caught:
            parts.checked(on, folder)
        assert str(folder) in str(caught.value)


def test_a_cluster_needs_a_folder_and_a_name(tmp_path: Path) -> None:
    log = log_of(tmp_path, {"n": 1})
    with pytest.raises(ConfigError, match="--parts"):
        list(map_records(log, Doubled(), on="ray"))
    with pytest.raises(ConfigError, match="not on 'spark'"):
        list(map_records(log, Doubled(), on="spark", folder=tmp_path / "parts"))


def test_progress_is_of_parts(tmp_path: Path) -> None:
    log, seen = log_of(tmp_path, *({"n": n} for n in range(5))), list[int]()
    for folder in (None, tmp_path / "parts"):
        list(map_records(log, Doubled(), folder=folder, size=2, progress=lambda: seen.append(1)))
    assert len(seen) == 6


def test_a_collection_is_no_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"SQLite format 3\0")
    with pytest.raises(ConfigError, match="collection"):
        list(parts_of(path))
    with pytest.raises(ConfigError, match=r"No such file|cannot"):
        list(parts_of(tmp_path / "none.jsonl"))
