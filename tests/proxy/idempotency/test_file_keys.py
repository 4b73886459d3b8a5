"""What is special about keys in a file: restarts, clocks that are set, other files, and room."""

from __future__ import annotations

import math
import sqlite3
import stat
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from gate.errors import ConfigError
from gate.proxy.idempotency.file_keys import FileKeys, _share
from gate.proxy.idempotency.key_store import Found, Held
from gate.state.circuit import StoreDown
from tests.proxy.idempotency.stores import LONG, again, new

pytestmark = pytest.mark.anyio


async def test_what_is_kept_outlives_the_worker_and_the_machine(tmp_path: Path) -> None:
    path, kept, held = tmp_path / "keys.db", new(), new()
    store = FileKeys(path, boot="monday")
    await store.claim(kept, LONG)
    await store.keep(kept, b"response", LONG)
    await store.claim(held, LONG)
    await store.aclose()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    restarted = FileKeys(path, boot="tuesday")
    assert await restarted.claim(again(kept), LONG) == Found("kept", b"response")
    assert await restarted.claim(again(held), LONG) == Found("claimed"), "whoever held it is no more"
    await restarted.aclose()


async def test_what_a_link_leads_to_is_made_for_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "keys.db").symlink_to(tmp_path / "elsewhere.db")
    store = FileKeys(tmp_path / "keys.db")
    await store.claim(new(), LONG)
    for end in ("", "-shm", "-wal"):
        assert stat.S_IMODE((tmp_path / f"elsewhere.db{end}").stat().st_mode) == 0o600
    await store.aclose()
    (tmp_path / "loop.db").symlink_to(tmp_path / "loop.db")
    with pytest.raises(ConfigError, match="cannot keep idempotency keys here"):
        FileKeys(tmp_path / "loop.db")


async def test_a_clock_that_is_set_moves_no_expiry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, kept, held = FileKeys(tmp_path / "keys.db"), new(), new()
    await store.claim(kept, LONG)
    await store.keep(kept, b"response", LONG)
    await store.claim(held, LONG)
    real = time.time
    for years in (-20, 20):
        monkeypatch.setattr(time, "time", lambda years=years: real() + years * 31_536_000)
        await store.sweep()
        assert await store.claim(again(kept), LONG) == Found("kept", b"response")
        assert await store.claim(again(held), LONG) == Found("held")
    await store.aclose()


async def test_beyond_its_room_the_oldest_are_dropped(tmp_path: Path) -> None:
    store, keys = FileKeys(tmp_path / "keys.db", most_bytes=250), [new() for _ in range(3)]
    for place, each in enumerate(keys):
        await store.claim(each, LONG)
        await store.keep(each, bytes(100), LONG + place)
    await store.sweep()
    assert [(await store.claim(again(each), LONG)).state for each in keys] == ["dropped", "kept", "kept"]
    await store.aclose()


async def kept(store: FileKeys, owner: str, sizes: Sequence[int]) -> list[Held]:
    """So many responses of a client, the oldest first."""
    keys = [new()._replace(owner=owner) for _ in sizes]
    for place, (each, size) in enumerate(zip(keys, sizes, strict=True)):
        await store.claim(each, LONG)
        await store.keep(each, bytes(size), LONG + place)
    return keys


async def states(store: FileKeys, keys: Sequence[Held]) -> list[str]:
    return [(await store.claim(again(each), LONG)).state for each in keys]


async def test_a_client_that_fills_the_room_loses_its_own_oldest_and_nobody_elses(tmp_path: Path) -> None:
    store = FileKeys(tmp_path / "keys.db", most_bytes=1000)
    few, some = await kept(store, "few", [100]), await kept(store, "some", [100] * 4)
    many = await kept(store, "many", [100] * 20)
    await store.sweep()
    assert await states(store, [*few, *some]) == ["kept"] * 5
    assert await states(store, many) == ["dropped"] * 15 + ["kept"] * 5
    more = await kept(store, "some", [100] * 4)
    await store.sweep()
    assert [(await states(store, each)).count("kept") for each in (few, [*some, *more], many)] == [1, 4, 4]
    await store.aclose()


def test_a_share_of_the_room_is_what_all_may_have() -> None:
    assert _share([], 10) == _share([4, 6], 10) == math.inf
    assert _share([20, 1, 3], 10) == 6
    assert _share([20, 20], 10) == 5


async def test_who_the_client_is_does_not_stand_in_the_file(tmp_path: Path) -> None:
    store = FileKeys(tmp_path / "keys.db")
    await kept(store, "a-clients-name", [10])
    await store.aclose()
    assert b"a-clients-name" not in (tmp_path / "keys.db").read_bytes()


async def test_a_file_that_cannot_be_written_is_a_store_that_is_down(tmp_path: Path) -> None:
    store, first = FileKeys(tmp_path / "keys.db"), new()
    store._file.execute("PRAGMA max_page_count = 8")
    await store.claim(first, LONG)
    with pytest.raises(StoreDown, match="SQLITE_FULL"):
        await store.keep(first, bytes(100_000), LONG)
    assert await store.claim(again(first), LONG) == Found("held"), "nothing half done"
    store._file.execute("PRAGMA busy_timeout = 1")
    with sqlite3.connect(tmp_path / "keys.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreDown, match="SQLITE_BUSY"):
            await store.claim(again(first), LONG)
        other.execute("ROLLBACK")
    other.close()
    assert await store.claim(again(first), LONG) == Found("held")
    await store.aclose()


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(ConfigError, match="no file of idempotency keys"):
        FileKeys(path)
    with sqlite3.connect(tmp_path / "newer.db") as newer:
        newer.execute("PRAGMA user_version = 9")
    newer.close()
    with pytest.raises(ConfigError, match="move it away"):
        FileKeys(tmp_path / "newer.db")
    with pytest.raises(ConfigError, match="cannot keep idempotency keys here"):
        FileKeys(tmp_path / "nowhere" / "keys.db")


def test_another_that_makes_the_file_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the journal changes SQLite itself does not."""
    with closing(sqlite3.connect(tmp_path / "keys.db", isolation_level=None)) as other:
        other.execute("CREATE TABLE its_own (a)")
        other.execute("BEGIN IMMEDIATE")
        waited: list[float] = []

        def wait(seconds: float) -> None:
            waited.append(seconds)
            other.execute("COMMIT")

        monkeypatch.setattr(time, "sleep", wait)
        FileKeys(tmp_path / "keys.db")._file.close()
        assert len(waited) == 1


def test_many_workers_may_start_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for turn in range(5):
            paths = [tmp_path / f"{turn}.db"] * 8
            for store in pool.map(FileKeys, paths):
                store._file.close()
