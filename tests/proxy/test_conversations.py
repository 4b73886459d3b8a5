"""Conversations until their answers come: whose they are, how long they are held, in memory and in a folder."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gate.errors import ConfigError, RequestError
from gate.proxy import conversations
from gate.proxy.conversations import KEPT, Conversations

pytestmark = pytest.mark.anyio
Make = Callable[[], Conversations]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["memory", "folder"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Where they are in a folder, each is another worker's; in memory it is always the same."""
    if request.param == "folder":
        return lambda: Conversations(tmp_path / "held")
    one = Conversations()
    return lambda: one


async def test_what_was_shown_is_found_by_its_client_and_its_call(make: Make) -> None:
    await make().note("app", "call-1", b"where?")
    await make().note("app", "call-1", b"where?")
    await make().note("app", "../call-2", b"when?")
    held = make()
    assert await held.find("app", "call-1") == b"where?", "as often as it is asked for"
    assert await held.find("app", "call-1") == b"where?"
    assert await held.find("app", "../call-2") == b"when?"
    assert await held.find("other", "call-1") is None
    assert await held.find("app", "call-3") is None


async def test_of_two_under_one_id_neither_is_taken(make: Make) -> None:
    for content in (b"where?", b"when?", b"where?"):
        await make().note("app", "call", content)
    with pytest.raises(RequestError, match="nobody can tell") as caught:
        await make().find("app", "call")
    assert (caught.value.status, caught.value.code) == (409, "conversation_ambiguous")


async def test_it_is_forgotten_in_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    held = make()
    await held.note("app", "old", b"where?")
    monkeypatch.setattr(conversations, "KEPT", -1.0)
    assert await held.find("app", "old") is None
    await held.note("app", "old", b"another?")
    monkeypatch.undo()
    assert await held.find("app", "old") is not None, "what is too old makes nothing ambiguous"


async def test_the_oldest_makes_room_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "MOST", 5000)
    held = Conversations()
    for number in range(6):
        await held.note("app", str(number), b"x" * 1000)
    found = [await held.find("app", str(number)) is not None for number in range(6)]
    assert found == [False, False, False, True, True, True]
    await held.note("app", "huge", b"x" * 5000)
    assert [await held.find("app", name) for name in ("5", "huge")] == [None, None]
    assert held._size == 0


async def test_a_client_makes_room_among_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for held in (Conversations(), Conversations(tmp_path)):
        await held.note("quiet", "first", b"where?")
        monkeypatch.setattr(conversations, "MOST", 5000)
        for number in range(20):
            await held.note("loud", str(number), b"x" * 1000)
        assert await held.find("quiet", "first") == b"where?"
        assert await held.find("loud", "0") is None
        assert await held.find("loud", "19") is not None


async def test_of_two_that_come_at_once_to_two_workers_neither_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second comes between the first's looking what is there and its writing."""
    first, second = Conversations(tmp_path), Conversations(tmp_path)
    name, look = conversations._name("app", "call"), first._read
    other = threading.Thread(target=second._write, args=(tmp_path, name, b"when?"))

    def looks_and_lets_another_write(folder: Path, name: str) -> bytes | None:
        found = look(folder, name)
        other.start()
        other.join(0.2)  # which has to wait, and so is not done by then
        return found

    monkeypatch.setattr(first, "_read", looks_and_lets_another_write)
    await first.note("app", "call", b"where?")
    other.join()
    with pytest.raises(RequestError, match="nobody can tell"):
        await second.find("app", "call")


# --- in a folder -------------------------------------------------------------------------------------------------


async def test_only_the_servers_user_can_read_it_and_no_name_tells_anything(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "held"
    held = Conversations(folder)
    await held.note("app", "call", b"where?")
    (path,) = files(folder)
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(folder.stat().st_mode)) == (0o600, 0o700)
    assert not {"app", "call"} & {*path.name.split(".")}
    held.close()
    assert not files(folder), "a worker that ends leaves no text"


def files(folder: Path) -> list[Path]:
    return [*folder.iterdir()]


async def test_what_a_dead_worker_left_is_swept_away_and_no_more_is_kept_than_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale, fresh = tmp_path / "stale", tmp_path / conversations._name("app", "fresh")
    for path, age in ((stale, KEPT + 1), (fresh, 1)):
        path.write_bytes(b"x" * 1000)
        os.utime(path, (time.time() - age,) * 2)
    held = Conversations(tmp_path)
    assert files(tmp_path) == [fresh]
    monkeypatch.setattr(conversations, "MOST", 3000)
    for number in range(4):
        await held.note("app", str(number), b"x" * 1000)
    assert fresh not in files(tmp_path)
    assert len(files(tmp_path)) == 3


async def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot keep conversations here"):
        Conversations(tmp_path / "file" / "held")
    held = Conversations(tmp_path / "held")
    (tmp_path / "held").rmdir()
    with pytest.raises(RequestError, match="try again") as caught:
        await held.note("app", "call", b"where?")
    assert (caught.value.status, caught.value.code) == (503, "conversation_not_kept")
    assert "where" not in str(caught.value)
