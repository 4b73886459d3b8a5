"""gate index as a user runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gate.retrieval.index_file import IndexFile
from gate.retrieval.index_snapshot import IndexSnapshot
from tests.commands import gate
from tests.retrieval.indexes import folder, found
from tests.upstreams.faulty_server import FaultyServer, embeds


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    return folder(tmp_path / "docs", {"a.md": "# Opening\nWe open at nine.", "b.txt": "Ring twice.", "c.png": "x"})


def test_an_index_is_made_and_brought_up_to_date(docs: Path, tmp_path: Path) -> None:
    index = tmp_path / "docs.index"
    ran = gate("index", docs, "--out", index)
    assert (ran.code, ran.err) == (0, "")
    assert "2 passages (vectors by hashed_ngrams-1-512); files: 2 added" in ran.out
    assert "of other kinds, not read: 1 .png" in ran.out
    assert found(index, "when do you open", 1) == ["docs/a.md#0"]
    (docs / "a.md").write_text("# Opening\nWe open at ten.")
    said = gate("index", docs, "--out", index, "--json").json
    assert {name: said[name] for name in ("added", "changed", "unchanged", "removed", "passages")} == {
        "added": 0,
        "changed": 1,
        "unchanged": 1,
        "removed": 0,
        "passages": 2,
    }
    assert (said["left_out"], said["other_kinds"], said["embedder"]) == ([], {".png": 1}, "hashed_ngrams-1-512")


def test_the_help_names_the_extra() -> None:
    assert '"documents"' in gate("index", "--help").out


def test_what_is_left_out_is_named_and_makes_it_exit_1(docs: Path, tmp_path: Path) -> None:
    folder(docs, {f"bad{place:02}.txt": b"\xff" for place in range(25)})
    ran = gate("index", docs, "--out", tmp_path / "x.index")
    assert ran.code == 1
    assert "left out: docs/bad00.txt is not UTF-8 (byte 1)" in ran.err
    assert "left out: 5 more (--json lists all)" in ran.err
    ran = gate("index", docs, "--out", tmp_path / "x.index", "--json")
    assert ran.code == 1
    assert len(ran.json["left_out"]) == 25


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["{gone}"], "there is no such folder or file"),
        (["{empty}"], "nothing to index in"),
        (["{docs}", "--no-dense", "--embedder", "hashed_ngrams"], "--no-dense goes with no --embedder"),
        (["{docs}", "--embedder", "hashed_ngram"], "did you mean 'hashed_ngrams'?"),
        (["{docs}", "--option", "dimensions"], "--option takes name=value, not 'dimensions'"),
        (["{docs}", "--option", "dimensions=2"], "the embedder 'hashed_ngrams': dimensions: Input should be greater"),
        (["{docs}", "--embedder", "openai_embeddings"], "base_url: Field required (give --option name=value)"),
    ],
)
def test_what_cannot_be_done_is_refused(docs: Path, tmp_path: Path, arguments: list[str], complaint: str) -> None:
    (tmp_path / "empty").mkdir()
    places = {"gone": tmp_path / "gone", "empty": tmp_path / "empty", "docs": docs}
    ran = gate("index", *(each.format(**places) for each in arguments), "--out", tmp_path / "x.index")
    assert ran.code == 2
    assert complaint in ran.complaint


def test_files_of_which_none_can_be_read_are_refused(tmp_path: Path) -> None:
    ran = gate("index", folder(tmp_path / "docs", {"a.md": ""}), "--out", tmp_path / "x.index")
    assert ran.code == 2
    assert "left out: docs/a.md is empty" in ran.err
    assert "the index is empty" in ran.err


def test_vectors_are_all_by_one_embedder(docs: Path, tmp_path: Path) -> None:
    index = tmp_path / "x.index"
    assert gate("index", docs, "--out", index, "--option", "dimensions=64").code == 0
    assert gate("index", docs, "--out", index).code == 0, "the one it was begun with, unless another is named"
    for other in (["--option", "dimensions=128"], ["--no-dense"]):
        assert "give --rebuild" in gate("index", docs, "--out", index, *other).complaint
    assert gate("index", docs, "--out", index, "--no-dense", "--rebuild").code == 0
    assert "give --rebuild" in gate("index", docs, "--out", index, "--embedder", "hashed_ngrams").complaint
    assert gate("index", docs, "--out", index, "--json").json["embedder"] is None


def test_a_server_makes_the_vectors_and_one_that_is_down_costs_nothing_that_was_had(docs: Path, tmp_path: Path) -> None:
    index = tmp_path / "x.index"
    with FaultyServer.of(embeds) as server:
        options = ["--embedder", "openai_embeddings", "--option", f"base_url={server.url}", "--option", "model=m"]
        assert gate("index", docs, "--out", index, *options).code == 0
        held = IndexSnapshot(index)
        assert held.embedder is not None
        assert held.embedder.options == {"base_url": server.url, "model": "m"}
        assert held.vectors.dimensions > 0
    (docs / "b.txt").write_text("Ring three times.")
    ran = gate("index", docs, "--out", index, *options)
    assert ran.code == 1
    assert "the index's embedder" in ran.complaint
    with IndexFile.open(index) as file:
        assert file.passages() == 2


def test_a_run_that_is_killed_leaves_an_index_that_can_be_read_and_taken_up(tmp_path: Path) -> None:
    rows = "".join(f'{{"id": "{place}", "text": "row {place} of many words"}}\n' for place in range(5_000))
    docs, index = folder(tmp_path / "docs", {"a.jsonl": rows}), tmp_path / "x.index"
    with subprocess.Popen([sys.executable, "-m", "gate", "index", str(docs), "--out", str(index)]) as process:
        while sum(path.stat().st_size for path in tmp_path.glob("x.index-wal")) < 500_000:
            assert process.poll() is None, "it was faster than the test"
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
    snapshot = IndexSnapshot(index)
    assert 0 < snapshot.count < 5_000
    assert len(snapshot.by_words(["row"], 5, 2.0)) == 5
    said = gate("index", docs, "--out", index, "--json").json
    assert (said["changed"], said["passages"]) == (1, 5_000)
