"""Places of workers in a shared folder: taken, left, inherited, and told apart from foreign files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.errors import ConfigError
from gate.proxy.shared_samples import Key, Merge, Samples, SharedSamples, summed

REQUESTS: Key = ("requests", "requests_total", (("door", "chat"),))
WAITING: Key = ("waiting", "waiting", ())
VOID: Key = ("void", "void", (("policy", "mine"),))
OPEN: Key = ("open", "open", ())
MERGES: dict[str, Merge] = {"requests": "count", "waiting": "sum", "void": "own", "open": "largest"}


def how(family: str) -> Merge:
    return MERGES[family]


def test_what_comes_together() -> None:
    own: Samples = {REQUESTS: 1.0, WAITING: 2.0}
    alive: Samples = {REQUESTS: 10.0, WAITING: 20.0, VOID: 0.0}
    dead: Samples = {REQUESTS: 100.0, WAITING: 200.0, VOID: 1.0}
    assert summed(own, [(alive, True), (dead, False)], how) == {REQUESTS: 111.0, WAITING: 22.0, VOID: 0.0}
    assert summed({VOID: 0.0}, [({VOID: 1.0}, True)], how) == {VOID: 0.0}
    assert summed({OPEN: 0.0}, [({OPEN: 2.0}, True), ({OPEN: 1.0}, True)], how) == {OPEN: 2.0}
    assert summed({OPEN: 0.0}, [({OPEN: 2.0}, False)], how) == {OPEN: 0.0}
    assert summed({}, [({VOID: -1.0}, True), ({VOID: -2.0}, True)], how) == {VOID: -1.0}


def test_a_place_is_taken_and_inherited(tmp_path: Path) -> None:
    one, two = SharedSamples(tmp_path, "1"), SharedSamples(tmp_path, "1")
    assert one.write({REQUESTS: 3.0, WAITING: 5.0}, how) == {REQUESTS: 3.0, WAITING: 5.0}
    assert two.others() == [({REQUESTS: 3.0, WAITING: 5.0}, True)]
    one.close()
    assert two.others() == [({REQUESTS: 3.0, WAITING: 5.0}, False)]
    third = SharedSamples(tmp_path, "1")
    assert third.write({REQUESTS: 1.0}, how) == {REQUESTS: 4.0}, "a state ends with its worker"
    assert third.write({REQUESTS: 2.0}, how) == {REQUESTS: 5.0}
    assert two.others() == [({REQUESTS: 5.0}, True)]
    assert third.others() == []
    two.close()
    third.close()


@pytest.mark.parametrize("said", [b"", b"{", b"[]", b"{}", b'{"layout": "1", "samples": [[1]]}', b"\xff", b"null"])
def test_what_is_no_file_of_ours_counts_nothing(tmp_path: Path, said: bytes) -> None:
    (tmp_path / "worker-0.json").write_bytes(said)
    (tmp_path / "worker-1.json").write_bytes(said)
    one = SharedSamples(tmp_path, "1")
    assert one.others() == [({}, False)]
    assert one.write({REQUESTS: 1.0}, how) == {REQUESTS: 1.0}
    one.close()


def test_another_layout_counts_nothing(tmp_path: Path) -> None:
    one = SharedSamples(tmp_path, "1")
    one.write({REQUESTS: 1.0}, how)
    two = SharedSamples(tmp_path, "2")
    assert two.others() == [({}, True)]
    one.close()
    two.close()


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot keep the workers' counts"):
        SharedSamples(tmp_path / "file" / "counts", "1")


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=30))
def test_however_workers_come_and_go_no_count_is_lost(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[int, bool]]
) -> None:
    """Each move has one of three workers count once, and maybe end afterwards."""
    folder = tmp_path_factory.mktemp("counts")
    workers: dict[int, tuple[SharedSamples, float]] = {}
    for place, ends in moves:
        worker, counted = workers.pop(place, None) or (SharedSamples(folder, "1"), 0.0)
        worker.write({REQUESTS: counted + 1}, how)
        if ends:
            worker.close()
        else:
            workers[place] = worker, counted + 1
    last = SharedSamples(folder, "1")
    total = summed(last.write({}, how), last.others(), how)
    assert total.get(REQUESTS, 0.0) == len(moves)
    for worker in (last, *(worker for worker, _ in workers.values())):
        worker.close()
