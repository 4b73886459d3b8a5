"""Bringing an index up to date: only what changed is read, and a run that ends early is taken up where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.errors import UpstreamError
from gate.retrieval import indexing
from gate.retrieval.index_file import IndexFile
from gate.retrieval.index_snapshot import IndexSnapshot
from tests.retrieval.indexes import EMBEDDER, brought, folder, found


class Counted:
    """An embedder that knows what it was asked, and breaks when told to."""

    def __init__(self, breaks_after: int = 10**9) -> None:
        self.texts: list[str] = []
        self._left = breaks_after

    def __call__(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
        self._left -= len(texts)
        if self._left < 0:
            raise UpstreamError("embedder", "is down")
        self.texts += texts
        return EMBEDDER.embed(texts)


def counts(done: indexing.Indexed) -> tuple[int, int, int, int]:
    return done.added, done.changed, done.unchanged, done.removed


def test_only_what_changed_is_read_again(tmp_path: Path) -> None:
    docs, index = (
        folder(tmp_path / "docs", {"a.md": "# A\nOne.", "b.md": "# B\nTwo.", "c.md": "# C\nThree."}),
        tmp_path / "x",
    )
    first = Counted()
    assert counts(brought(index, docs, embed=first)) == (3, 0, 0, 0)
    assert first.texts == ["A\nOne.", "B\nTwo.", "C\nThree."]
    before = IndexSnapshot(index).fingerprint
    os.utime(docs / "a.md", ns=(1, 1))
    (docs / "b.md").write_text("# B\nFour.")
    (docs / "c.md").unlink()
    folder(docs, {"d.md": "# D\nFive."})
    second = Counted()
    done = brought(index, docs, embed=second)
    assert counts(done) == (1, 1, 1, 1)
    assert second.texts == ["B\nFour.", "D\nFive."]
    assert done.passages == 3
    assert found(index, "four")[:1] == ["docs/b.md#0"]
    assert "docs/c.md#0" not in found(index, "three")
    nothing = Counted()
    assert counts(brought(index, docs, embed=nothing)) == (0, 0, 3, 0)
    assert nothing.texts == []
    (docs / "b.md").write_text("# B\nTwo.")
    (docs / "d.md").unlink()
    folder(docs, {"c.md": "# C\nThree."})
    brought(index, docs)
    assert IndexSnapshot(index).fingerprint == before, "it is told by what it holds, not by how it came to it"


def rows(count: int) -> str:
    return "".join(json.dumps({"id": f"row-{place}", "text": f"text number {place}"}) + "\n" for place in range(count))


@pytest.mark.parametrize("breaks_after", [0, 9, 10, 20, 25, 31])
def test_a_run_that_ends_early_is_taken_up_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks_after: int
) -> None:
    monkeypatch.setattr(indexing, "BATCH", 10)
    docs, index = (
        folder(tmp_path / "docs", {"a.jsonl": rows(25), "b.md": "# B\nTwo.", "c.md": "Three."}),
        tmp_path / "x",
    )
    whole = brought(tmp_path / "whole", docs)
    first, second = Counted(breaks_after), Counted()
    if breaks_after < 27:
        with pytest.raises(UpstreamError):
            brought(index, docs, embed=first)
        with IndexFile.open(index) as file:
            assert file.passages() == len(first.texts), "what was paid for is kept"
    else:
        brought(index, docs, embed=first)
    assert brought(index, docs, embed=second).passages == whole.passages == 27
    assert sorted(first.texts + second.texts) == sorted(set(first.texts + second.texts)), "nothing is embedded twice"
    assert IndexSnapshot(index).fingerprint == IndexSnapshot(tmp_path / "whole").fingerprint


def test_a_file_that_changed_while_it_was_half_in_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "BATCH", 10)
    docs, index = folder(tmp_path / "docs", {"a.jsonl": rows(25)}), tmp_path / "x"
    with pytest.raises(UpstreamError):
        brought(index, docs, embed=Counted(15))
    (docs / "a.jsonl").write_text(rows(12))
    assert brought(index, docs).passages == 12


def test_what_cannot_be_used_is_named_and_the_rest_is_indexed(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "good.md": "Text.",
        "empty.md": "",
        "junk.txt": b"\xff\x00",
        "lines.jsonl": '{"id": "a", "text": "Row."}\n{\n',
        "broken.jsonl": "{\n{\n",
        "big.txt": "x" * 2000,
        "a.pdf": b"%PDF-",
    }
    docs, index, moves = folder(tmp_path / "docs", files), tmp_path / "x", [0]

    def advance() -> None:
        moves[0] += 1

    for _ in range(2):
        done = brought(index, docs, max_bytes=1000, advance=advance)
        assert {each.where: each.reason.partition(":")[0].partition(" (")[0] for each in done.left_out} == {
            "docs/a.pdf": "is no PDF that can be read",
            "docs/big.txt": "has 0 MB, more than the 0.001 of --max-file-mb",
            "docs/broken.jsonl": "holds no text",
            "docs/empty.md": "is empty",
            "docs/junk.txt": "is not UTF-8",
            "docs/lines.jsonl": 'line 2 is not {"id"',
        }
        assert done.passages == 2
    assert moves == [14]
    assert set(found(index, "text row")) == {"docs/good.md#0", "a"}


def test_a_file_that_can_no_longer_be_read_goes(tmp_path: Path) -> None:
    docs, index = folder(tmp_path / "docs", {"a.md": "One.", "b.md": "Two."}), tmp_path / "x"
    brought(index, docs)
    (docs / "a.md").write_bytes(b"\xff")
    done = brought(index, docs)
    assert counts(done) == (0, 0, 1, 1)
    assert found(index, "one two") == ["docs/b.md#0"]


def test_rows_keep_their_ids_and_addresses_and_long_ones_are_numbered(tmp_path: Path) -> None:
    row = {"id": "r", "text": "A sentence of words. " * 100, "title": "T", "url": "http://x/r"}
    index = tmp_path / "x"
    brought(index, folder(tmp_path / "docs", {"a.jsonl": json.dumps(row)}))
    snapshot = IndexSnapshot(index)
    passages = snapshot.passages(sorted(snapshot.by_words(["sentence"], 10, 1.0)))
    assert [passage.id for passage in passages] == ["r", *(f"r#{place}" for place in range(1, len(passages)))]
    assert {(passage.source, passage.title) for passage in passages} == {("http://x/r", "T")}
    assert all(row["text"][p.start :].startswith(p.text) for p in passages)


def test_many_broken_lines_are_counted_beyond_a_hundred(tmp_path: Path) -> None:
    docs = folder(tmp_path / "docs", {"a.jsonl": rows(1) + "{\n" * 150})
    left_out = brought(tmp_path / "x", docs).left_out
    assert len(left_out) == 101
    assert left_out[-1].reason == "50 more lines"


def test_fifty_megabytes_are_read_in_pieces(tmp_path: Path) -> None:
    """A large row file is never held in memory: here the limit of one line is far below the file."""
    docs = folder(tmp_path / "docs", {"a.jsonl": rows(2000)})
    done = brought(tmp_path / "x", docs, max_bytes=100, embed=None)
    assert (done.passages, done.left_out) == (2000, [])
