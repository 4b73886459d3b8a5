"""An index as it is read: one state, whatever is written meanwhile."""

from __future__ import annotations

import math
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gate.errors import ConfigError
from gate.retrieval import index_snapshot
from gate.retrieval.index_file import IndexFile
from gate.retrieval.index_snapshot import IndexSnapshot
from tests.retrieval.indexes import brought, folder, made


@pytest.fixture
def index(tmp_path: Path) -> Path:
    docs = folder(
        tmp_path / "docs",
        {"a.md": "# Lagos\nA city in Nigeria.", "b.md": "# Paris\nA city in France.", "c.md": "Rain."},
    )
    return made(tmp_path / "x.index", docs)


def test_it_stays_as_it_was_opened(index: Path, tmp_path: Path) -> None:
    snapshot = IndexSnapshot(index)
    before = snapshot.fingerprint
    (tmp_path / "docs" / "a.md").write_text("# Abuja\nAnother city.")
    brought(index, tmp_path / "docs")
    assert snapshot.fingerprint == before
    assert [p.text for p in snapshot.passages(snapshot.by_words(["nigeria"], 5, 2.0))] == ["A city in Nigeria."]
    assert snapshot.vectors.dimensions == 64
    later = IndexSnapshot(index)
    assert later.fingerprint != before
    assert later.by_words(["nigeria"], 5, 2.0) == []
    later.close()
    snapshot.close()
    snapshot.close()
    with pytest.raises(sqlite3.ProgrammingError):
        snapshot.by_words(["nigeria"], 5, 2.0)


def test_the_fingerprint_is_that_of_the_content(index: Path, tmp_path: Path) -> None:
    again = folder(tmp_path / "elsewhere", {})
    shutil.copytree(tmp_path / "docs", again / "docs")
    assert IndexSnapshot(made(again / "y.index", again / "docs")).fingerprint == IndexSnapshot(index).fingerprint
    brought(tmp_path / "z.index", tmp_path / "docs", embed=None)
    assert IndexSnapshot(tmp_path / "z.index").fingerprint != IndexSnapshot(index).fingerprint


def test_a_rare_word_tells_more(index: Path) -> None:
    told = IndexSnapshot(index).rarities(["city", "nigeria", "unknown"])
    assert told["city"] == pytest.approx(math.log(1 + 1.5 / 2.5))
    assert told["nigeria"] == pytest.approx(math.log(1 + 2.5 / 1.5))
    assert told["unknown"] == pytest.approx(math.log(1 + 3.5 / 0.5))


def test_common_words_count_as_far_as_time_allows(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = IndexSnapshot(index)
    monkeypatch.setattr(snapshot, "_common", {"city": 2, "in": 3})
    monkeypatch.setattr(index_snapshot, "_POSTINGS", 2)
    assert len(snapshot.by_words(["in", "city", "rain"], 5, 2.0)) == 3
    monkeypatch.setattr(index_snapshot, "_POSTINGS", 1)
    assert len(snapshot.by_words(["in", "city", "rain"], 5, 2.0)) == 1
    assert len(snapshot.by_words(["in", "city"], 5, 2.0)) == 2, "the rarest, where all are common"


def test_many_threads_may_search_at_once(index: Path) -> None:
    snapshot = IndexSnapshot(index)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: snapshot.passages(snapshot.by_words(["lagos"], 3, 2.0)), range(100)))
    assert {tuple(each) for each in found} == {tuple(found[0])}
    assert found[0][0].title == "Lagos"


def test_what_is_no_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such index"):
        IndexSnapshot(tmp_path / "gone")
    (tmp_path / "text").write_text("x")
    with pytest.raises(ConfigError, match="no index of"):
        IndexSnapshot(tmp_path / "text")
    IndexFile.open(tmp_path / "empty").close()
    with pytest.raises(ConfigError, match="holds no passages"):
        IndexSnapshot(tmp_path / "empty")
    cut = made(tmp_path / "cut", folder(tmp_path / "docs", {"a.md": "text " * 5000}))
    cut.write_bytes(cut.read_bytes()[:5000])
    with pytest.raises(ConfigError, match=r"cannot be used|no index of"):
        IndexSnapshot(cut)
