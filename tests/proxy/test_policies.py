"""Policies are swapped whole, under load, and rolled back; the old one is closed after its last request."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gate import prompts
from gate.errors import ConfigError, RequestError
from gate.proxy.policies import Policies
from gate.types import Question
from tests.proxy.fake_gateway import FakeGateway

pytestmark = pytest.mark.anyio
QUESTION = Question.from_text("Where is Lagos?")


class Loader:
    """Makes a fake gateway of a file: its fingerprint is the file's ``version``."""

    def __init__(self) -> None:
        self.made: list[FakeGateway] = []
        self.seconds = 0.0

    def __call__(self, source: str) -> FakeGateway:
        time.sleep(self.seconds)
        try:
            said = yaml.safe_load(Path(source).read_text())
        except yaml.YAMLError as error:
            raise ConfigError("not YAML", where=f"{source}:1") from error
        if said.get("fault"):
            raise ZeroDivisionError("secret words of a user")
        for name in said.get("prompts", []):
            prompts.load(name)
        if "calibrator" in said and not (Path(source).parent / said["calibrator"]).is_file():
            raise ConfigError("unknown calibrator", where=f"{source}:2")
        self.made.append(FakeGateway(name=said["name"], policy_fingerprint=str(said["version"])))
        return self.made[-1]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def loader() -> Loader:
    return Loader()


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path]:
    made = tmp_path / "one.yaml", tmp_path / "two.yaml"
    for path in made:
        path.write_text(f"name: {path.stem}\nversion: 1\n")
    return made


def loaded(loader: Loader, *paths: Path) -> Policies:
    return Policies.load([str(path) for path in paths], loader=loader)


def test_policies_are_found_by_name_and_the_first_is_the_default(loader: Loader, paths: tuple[Path, Path]) -> None:
    policies = loaded(loader, *paths)
    assert policies.names == ("one", "two")
    assert policies.default is policies.get() is policies.get("one")
    assert [gateway.name for gateway in policies.all()] == ["one", "two"]
    with pytest.raises(RequestError, match="no policy 'three'") as refused:
        policies.get("three")
    assert refused.value.status == 404
    with pytest.raises(RequestError):
        policies.using("three")


def test_two_of_one_name_are_refused(loader: Loader, paths: tuple[Path, Path]) -> None:
    paths[1].write_text("name: one\nversion: 1\n")
    with pytest.raises(ConfigError, match="two policies are called 'one'"):
        loaded(loader, *paths)


async def test_a_real_policy_loads_and_a_changed_one_is_served(tmp_path: Path) -> None:
    folder = prompts.locate("policies")
    for name in ("balanced.yaml", "balanced.calibrator.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    policies = Policies.load([str(tmp_path / "balanced.yaml")])
    assert not await policies.reload()
    path = tmp_path / "balanced.yaml"
    said = path.read_text()
    path.write_text(said.replace("calls: 40", "calls: 39"))
    assert await policies.reload()
    assert policies.default.plan.budget.calls == 39
    path.write_text(said.replace("calls: 40", "cals: 40"))
    assert not await policies.reload()
    assert f"{path}:" in policies.reload_error
    assert "cals" in policies.reload_error
    assert policies.default.plan.budget.calls == 39
    await policies.aclose()


async def test_under_load_a_rewritten_file_is_served_with_no_failed_request(
    loader: Loader, paths: tuple[Path, Path]
) -> None:
    policies = loaded(loader, *paths)
    stop, versions = asyncio.Event(), []
    loader.seconds = 0.02

    async def asking() -> None:
        while not stop.is_set():
            async with policies.using("one") as gateway:
                assert not gateway.closed
                await asyncio.sleep(0.001)
                _, record = await gateway.aask(QUESTION)
                assert not gateway.closed, "it was closed under a request"
            versions.append(int(record.policy_fingerprint))

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(asking())
        for version in (2, 3, 4):
            await asyncio.sleep(0.02)
            paths[0].write_text(f"name: one\nversion: {version}\n")
            assert await policies.reload()
        seen = len(versions)
        while len(versions) < seen + 40:
            await asyncio.sleep(0.001)
        stop.set()
    assert set(versions) == {1, 2, 3, 4}
    assert versions[-1] == 4
    assert [gateway.closed for gateway in loader.made if gateway.name == "one"] == [True, True, True, False]
    assert [gateway.closed for gateway in loader.made if gateway.name == "two"] == [False]


async def test_the_old_one_is_closed_after_its_last_request(loader: Loader, paths: tuple[Path, Path]) -> None:
    policies = loaded(loader, *paths)
    old, ended = policies.get("one"), []
    policies.on_end = lambda gateway: ended.append((gateway, gateway is old and not old.closed))
    async with policies.using("one"):
        async with policies.using("one"):
            paths[0].write_text("name: one\nversion: 2\n")
            assert await policies.reload()
            assert policies.get("one").policy_fingerprint == "2"
            assert not old.closed
        assert not old.closed
        assert not ended
    assert old.closed
    assert ended == [(old, True)], "told of before it is closed"


async def test_a_cancelled_request_closes_it_too(loader: Loader, paths: tuple[Path, Path]) -> None:
    policies = loaded(loader, *paths)
    old = policies.get("one")

    async def asking() -> None:
        async with policies.using("one"):
            await asyncio.sleep(60)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(asking())
        await asyncio.sleep(0)
        paths[0].write_text("name: one\nversion: 2\n")
        await policies.reload()
        assert not old.closed
        task.cancel()
    assert old.closed


async def test_broken_yaml_leaves_the_old_one_and_is_told_once(
    loader: Loader, paths: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    policies = Policies.load([str(path) for path in paths], loader=loader, on_reload=told.append)
    before = policies.default
    paths[0].write_text("name: [")
    for _ in range(3):
        assert not await policies.reload()
    assert policies.default is before
    assert not before.closed
    assert policies.reload_error == f"{paths[0]}:1: not YAML"
    assert told == ["failed"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert f"{paths[0]}:1" in caplog.text
    assert not await policies.reload(again=True)
    assert told == ["failed", "failed"]
    paths[0].write_text("name: one\nversion: 1\n")
    assert not await policies.reload()
    assert policies.reload_error == "", "what is served is again what the file says"
    paths[0].write_text("name: one\nversion: 2\n")
    assert await policies.reload()
    assert told == ["failed", "failed", "ok"]


async def test_all_that_changed_or_nothing(loader: Loader, paths: tuple[Path, Path]) -> None:
    policies = loaded(loader, *paths)
    paths[0].write_text("name: one\nversion: 2\n")
    paths[1].write_text("name: [")
    assert not await policies.reload()
    assert [gateway.policy_fingerprint for gateway in policies.all()] == ["1", "1"]
    assert [gateway.closed for gateway in loader.made] == [False, False, True], "what was loaded for nothing is closed"
    paths[1].write_text("name: two\nversion: 2\n")
    assert await policies.reload()
    assert [gateway.policy_fingerprint for gateway in policies.all()] == ["2", "2"]
    assert policies.reload_error == ""


async def test_a_new_name_is_served_unless_it_is_taken(loader: Loader, paths: tuple[Path, Path]) -> None:
    policies = loaded(loader, *paths)
    paths[1].write_text("name: one\nversion: 2\n")
    assert not await policies.reload()
    assert "two policies are called 'one'" in policies.reload_error
    assert policies.names == ("one", "two")
    paths[1].write_text("name: three\nversion: 2\n")
    assert await policies.reload()
    assert policies.names == ("one", "three")


async def test_a_file_it_names_counts_also_one_that_was_missing(loader: Loader, paths: tuple[Path, Path]) -> None:
    policies = loaded(loader, *paths)
    paths[0].write_text("name: one\ncalibrator: one.json\nversion: 2\n")
    assert not await policies.reload()
    assert policies.reload_error.endswith("unknown calibrator")
    (paths[0].parent / "one.json").write_text("{}")
    assert await policies.reload()
    assert not await policies.reload()
    (paths[0].parent / "one.json").write_text("{ }")
    assert await policies.reload()


async def test_an_unforeseen_fault_ends_nothing_and_its_words_are_not_told(
    loader: Loader, paths: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    policies = loaded(loader, *paths)
    paths[0].write_text("name: one\nversion: 2\nfault: true\n")
    assert not await policies.reload()
    assert policies.reload_error == f"{paths[0]}: unexpected ZeroDivisionError while it was loaded"
    assert "secret" not in caplog.text


async def test_a_request_keeps_the_prompts_it_began_with(
    loader: Loader, paths: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = tmp_path / "mine.md"
    prompt.write_text("---\nvariables:\n---\nold\n")
    monkeypatch.setattr(prompts, "path_of", lambda name: tmp_path / f"{name}.md")
    paths[0].write_text("name: one\nversion: 1\nprompts: [mine]\n")
    policies = loaded(loader, *paths)
    old = policies.get("one")
    async with policies.using("one") as gateway:
        prompt.write_text("---\nvariables:\n---\nnew\n")
        assert await policies.reload()
        assert gateway is old
        assert prompts.load("mine").body == "old"

        async def another() -> str:
            async with policies.using("one") as fresh:
                assert fresh is not old
                return prompts.load("mine").body

        async with asyncio.TaskGroup() as group:
            assert await group.create_task(another()) == "new"
    assert policies.get("two") is loader.made[1], "what does not send it was not loaded again"


@pytest.fixture
def ignoring_hangups() -> Iterator[None]:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("ignoring_hangups")
async def test_watching_polls_and_hears_sighup(loader: Loader, paths: tuple[Path, Path]) -> None:
    policies, heard = loaded(loader, *paths), []

    async def until(version: str) -> None:
        async with asyncio.timeout(5):
            while policies.default.policy_fingerprint != version:
                await asyncio.sleep(0.005)

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(policies.watch(every=0.01))
        paths[0].write_text("name: one\nversion: 2\n")
        await until("2")
        watching.cancel()
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(policies.watch(every=0.01, poll=False, on_hangup=[lambda: heard.append(1)]))
        await asyncio.sleep(0.03)
        paths[0].write_text("name: one\nversion: 3\n")
        await asyncio.sleep(0.05)
        assert policies.default.policy_fingerprint == "2", "it does not poll"
        os.kill(os.getpid(), signal.SIGHUP)
        await until("3")
        assert heard == [1]
        watching.cancel()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
