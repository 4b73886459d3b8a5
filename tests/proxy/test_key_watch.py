"""The key file while it is served: a key that is taken away or comes, a file that is broken, a policy renamed."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import yaml

from gate.proxy.key_watch import KeyWatch
from gate.proxy.keys import hash_of
from gate.proxy.policies import Policies
from gate.proxy.service import Service
from gate.proxy.settings import ServerSettings
from tests.proxy.fake_gateway import FakeGateway
from tests.proxy.live_server import live
from tests.proxy.reading import Noted, ask, asking, until
from tests.proxy.served import SALT, app_of, bearer, key_of, policies_of, service_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def write(path: Path, **entries: dict[str, Any]) -> Path:
    listed = [{"name": name, "hash": hash_of(key_of(name), SALT), **fields} for name, fields in entries.items()]
    fresh = path.with_suffix(".new")
    fresh.write_text(yaml.safe_dump({"keys": listed}))
    fresh.chmod(0o600)
    fresh.replace(path)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "keys.yaml", app={}, other={})


def spoil(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink()
    else:
        path.write_text(text)


def names(service: Service) -> list[str]:
    assert service.keys is not None
    return [client.name for client in service.keys.clients]


async def test_what_the_file_holds_now_is_in_force(path: Path) -> None:
    service = service_of(keys=path)
    watch = KeyWatch(service)
    write(path, other={"roles": ["review"]}, new={})
    await watch.look()
    assert names(service) == ["other", "new"]
    before = service.keys
    await watch.look()
    assert service.keys is before, "what has not changed is not read again"


async def test_a_change_since_the_server_read_the_file_is_seen_at_once(path: Path) -> None:
    service = service_of(keys=path)
    write(path, new={})
    watch = KeyWatch(service)
    with anyio.move_on_after(0.2):
        await watch.run(every=30)
    assert names(service) == ["new"]


@pytest.mark.parametrize("broken", ["keys: 7", "keys: []", "\x00", None], ids=["no list", "none", "no YAML", "gone"])
async def test_a_file_that_cannot_be_used_leaves_those_before_in_force(
    path: Path, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    service = service_of(keys=path)
    watch = KeyWatch(service)
    await watch.look()
    spoil(path, broken)
    with caplog.at_level(logging.ERROR):
        await watch.look()
        await watch.look()
    assert names(service) == ["app", "other"]
    assert caplog.text.count("the keys before stay in force") == 1
    write(path, new={})
    await watch.look()
    assert names(service) == ["new"]


async def test_when_a_policy_goes_by_another_name_keys_that_name_none_may_use_it(path: Path) -> None:
    service = service_of(FakeGateway(name="old"), keys=path)
    watch = KeyWatch(service)
    await watch.look()
    service.policies = policies_of(FakeGateway(name="renamed"))
    await watch.look()
    assert service.keys is not None
    assert {client.policies for client in service.keys.clients} == {("renamed",)}


@pytest.mark.parametrize("reload", [True, False])
async def test_it_looks_by_itself_or_only_when_it_is_told_to(path: Path, reload: bool) -> None:
    service = service_of(keys=path, settings=ServerSettings(reload=reload, dashboard=False))
    watch = KeyWatch(service)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: watch.run(every=0.01))
        await anyio.sleep(0.05)
        write(path, new={})
        await anyio.sleep(0.1)
        assert (names(service) == ["new"]) == reload
        watch.poke()
        with anyio.fail_after(5):
            while names(service) != ["new"]:
                await anyio.sleep(0.005)
        group.cancel_scope.cancel()


async def test_without_a_key_file_there_is_nothing_to_watch() -> None:
    watch = KeyWatch(service_of())
    with anyio.fail_after(1):
        await watch.run()
        await watch.look()


# --- over a server -----------------------------------------------------------------------------------------------


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at all the time."""
    monkeypatch.setattr(KeyWatch.run, "__kwdefaults__", {"every": 0.01})
    monkeypatch.setattr(Policies.watch, "__kwdefaults__", {"every": 0.01, "poll": True, "on_hangup": ()})


def test_a_key_that_is_taken_away_is_refused_without_a_restart(path: Path, often: None) -> None:
    with live(app_of(keys=path)) as url:
        assert ask(url, headers=bearer("app")).status_code == 200
        write(path, other={})
        until(lambda: ask(url, headers=bearer("app")).status_code == 401)
        assert ask(url, headers=bearer("other")).status_code == 200


class Loader:
    """Makes a fake gateway of a file, and keeps all it has made."""

    def __init__(self) -> None:
        self.made: list[FakeGateway] = []

    def __call__(self, source: str) -> Any:
        said = yaml.safe_load(Path(source).read_text())
        self.made.append(FakeGateway(name="mine", policy_fingerprint=f"{said['version']:016d}", seconds=0.002))
        return self.made[-1]


def test_policies_are_swapped_under_load_and_no_request_notices(tmp_path: Path, often: None) -> None:
    path, loader, log = tmp_path / "mine.yaml", Loader(), Noted()
    path.write_text("version: 1")
    policies = Policies.load([str(path)], loader=loader)
    over, replies = threading.Event(), []

    def asks(url: str) -> None:
        with httpx.Client(verify=False, trust_env=False, timeout=20) as client:
            while not over.is_set():
                replies.append(client.post(f"{url}/v1/chat/completions", json=asking()))

    with live(app_of(policies=policies, log=log)) as url:
        threads = [threading.Thread(target=asks, args=(url,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for version in range(2, 6):
            fresh = tmp_path / "mine.new"
            fresh.write_text(f"version: {version}")
            fresh.replace(path)
            until(lambda version=version: len(loader.made) == version and loader.made[-1].asked)
        over.set()
        for thread in threads:
            thread.join()
        until(lambda: [gateway.closed for gateway in loader.made] == [True] * 4 + [False])
    assert {reply.status_code for reply in replies} == {200}
    assert all(gateway.asked for gateway in loader.made)
    logged = [log.entries.get_nowait().record for _ in range(log.entries.qsize())]
    assert {record.policy_fingerprint for record in logged} == {f"{version:016d}" for version in range(1, 6)}


@pytest.fixture
def hangup() -> Iterator[None]:
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


async def test_sighup_has_files_read_again_that_are_not_watched(path: Path, hangup: None) -> None:
    """On the main thread, which alone hears signals: so without the server around it."""
    settings = ServerSettings(reload=False, dashboard=False)
    service = service_of(keys=path, settings=settings)
    watch = KeyWatch(service)
    async with anyio.create_task_group() as group:
        group.start_soon(watch.run)
        group.start_soon(lambda: service.policies.watch(poll=False, on_hangup=(watch.poke,)))
        await anyio.sleep(0.05)
        write(path, new={})
        os.kill(os.getpid(), signal.SIGHUP)
        with anyio.fail_after(5):
            while names(service) != ["new"]:
                await anyio.sleep(0.005)
        group.cancel_scope.cancel()
