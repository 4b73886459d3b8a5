"""The file of an index: written by one at a time, whole or not at all, and never over anything else."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gate.errors import ConfigError
from gate.retrieval.index_file import IndexFile, PassageRow, is_index
from tests.retrieval.indexes import RECORD


def row(document: int, place: int) -> PassageRow:
    return PassageRow(document, f"a.md#{place}", f"text {place}", "title", "a.md", place)


def test_what_was_not_committed_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "x.index"
    with IndexFile.open(path) as file:
        file.choose(RECORD)
        document = file.begin("a.md", 1, 2, "hash")
        file.add([row(document, 0)], np.ones((1, 4), dtype=np.float32))
        file.commit()
        file.add([row(document, 1)], np.ones((1, 4), dtype=np.float32))
    with IndexFile.open(path) as file:
        known = file.known()["a.md"]
        assert (known.passages, known.complete, known.hash) == (1, False, "hash")
        assert file.passages() == 1
        assert file.embedder == RECORD
    assert [each.name for each in tmp_path.iterdir()] == ["x.index"]


def test_a_file_that_is_begun_again_or_removed_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.index"
    with IndexFile.open(path) as file:
        for _ in range(2):
            file.add([row(file.begin("a.md", 1, 2, "hash"), 0)], np.ones((1, 4), dtype=np.float32))
        assert file.passages() == 1
        file.remove("a.md")
        file.settle()
        assert file.settled
    database = sqlite3.connect(path)
    for table in ("documents", "passages", "vectors", "words"):
        assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    database.close()


def test_vectors_of_another_length_are_refused(tmp_path: Path) -> None:
    with IndexFile.open(tmp_path / "x.index") as file:
        document = file.begin("a.md", 1, 2, "hash")
        file.add([row(document, 0)], np.ones((1, 4), dtype=np.float32))
        with pytest.raises(ConfigError, match="vectors of 5 numbers, after 4"):
            file.add([row(document, 1)], np.ones((1, 5), dtype=np.float32))


HELD = """
import sys
from pathlib import Path
from gate.retrieval.index_file import IndexFile
IndexFile.open(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_two_writers_are_refused_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.index"
    with subprocess.Popen(
        [sys.executable, "-c", HELD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match="another 'gate index' is writing"):
            IndexFile.open(path)
        other.kill()
    IndexFile.open(path).close()


def test_no_other_file_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "text.index").write_text("mine")
    foreign = sqlite3.connect(tmp_path / "foreign.index")
    foreign.execute("CREATE TABLE mine (x)")
    foreign.commit()
    foreign.close()
    for name in ("text.index", "foreign.index"):
        before = (tmp_path / name).read_bytes()
        assert not is_index(tmp_path / name)
        with pytest.raises(ConfigError, match="no index of 'gate index'"):
            IndexFile.open(tmp_path / name)
        with pytest.raises(ConfigError, match="no index of 'gate index'"):
            IndexFile.open(tmp_path / name, rebuild=True)
        assert (tmp_path / name).read_bytes() == before
    with pytest.raises(ConfigError, match="a folder of this name"):
        IndexFile.open(tmp_path)
    with pytest.raises(ConfigError, match="cannot be used"):
        IndexFile.open(tmp_path / "text.index" / "below.index")


def test_an_index_of_another_version_is_refused_until_it_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.index"
    IndexFile.open(path).close()
    database = sqlite3.connect(path)
    database.execute("UPDATE meta SET value = '0' WHERE name = 'version'")
    database.commit()
    database.close()
    with pytest.raises(ConfigError, match="give --rebuild"):
        IndexFile.open(path)
    IndexFile.open(path, rebuild=True).close()
    IndexFile.open(path).close()
