"""Joining a cluster: what is said where there is none, in how long. With Ray: `tests.integrations`."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gate.errors import ConfigError
from gate.tuning.joining import join, place_of


class Ray:
    """Stands in for the package: raises what it is told to, and notes what it was asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[dict[str, Any]] = []

    def is_initialized(self) -> bool:
        return bool(self.asked) and self.error is None

    def init(self, **options: Any) -> None:
        self.asked.append(options)
        if self.error is not None:
            raise self.error


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def listening() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("address", ["garbage", "host:", ":6379", "host:port", "host:0", "host:65536", "ray://host"])
def test_an_address_that_is_none_is_said_to_be_none(address: str) -> None:
    ray = Ray()
    with pytest.raises(ConfigError, match="no address of a Ray cluster"):
        join(ray, address)
    assert ray.asked == []


def test_places() -> None:
    assert place_of("10.0.0.1:6379") == ("10.0.0.1", 6379)
    assert place_of("ray://head:10001") == ("head", 10001)
    assert place_of("[::1]:6379") == ("::1", 6379)
    assert place_of("auto") is place_of("") is None


def test_where_nobody_listens_ray_is_not_asked() -> None:
    """It would wait for two minutes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        ray, began = Ray(), time.monotonic()
        with pytest.raises(ConfigError, match="there is no Ray cluster at"):
            join(ray, f"127.0.0.1:{free.getsockname()[1]}", seconds=5)
    assert ray.asked == []
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example"])
def test_a_name_that_no_machine_can_have_is_said_to_be_none(host: str) -> None:
    with pytest.raises(ConfigError, match="is no name of a machine"):
        join(Ray(), f"{host}:6379")


def test_the_address_in_the_environment_is_that_of_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(ConfigError, match="there is none at 127"):
            join(Ray(), "auto")


@pytest.mark.parametrize("error", [ConnectionError("Failed to connect"), ValueError("?"), RuntimeError("version")])
def test_who_answers_and_takes_nobody_in_is_not_said_to_be_away(listening: str, error: Exception) -> None:
    with pytest.raises(ConfigError, match="RAY_AUTH_TOKEN") as caught:
        join(Ray(error), listening)
    assert "there is no" not in str(caught.value)


def test_on_this_machine_it_says_how_to_start_one() -> None:
    with pytest.raises(ConfigError, match="ray start --head"):
        join(Ray(ConnectionError()), "auto")


def test_it_is_joined_once(listening: str) -> None:
    ray = Ray()
    join(ray, listening, namespace="serve")
    join(ray, listening)
    (asked,) = ray.asked
    assert (asked["address"], asked["namespace"]) == (listening, "serve")
