"""What wrk says, as figures; and a request as it goes over the wire."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.benchmarks.proxy.load import Asked, Load, LoadFailed, pinned, read_wrk

SAID = """Running 2s test @ http://127.0.0.1:9111/v1/chat/completions
  1 threads and 32 connections
  1501 requests in 2.00s, 5.00MB read
Requests/sec:    750.50
{"requests":1501,"us":2000000,"p50":12500,"p99":40250,"refused":3,"broken":2}
"""


def test_figures_are_read_from_the_last_line() -> None:
    made = read_wrk(SAID)
    assert made == Load(1501, 2.0, 12.5, 40.25, 5)
    assert made.rate == 748.0


@pytest.mark.parametrize("said", ["", "unable to connect to 127.0.0.1:1 Connection refused\n", "5\n", "{}\n"])
def test_without_figures_it_says_what_was_said(said: str) -> None:
    with pytest.raises(LoadFailed, match="wrk gave no figures"):
        read_wrk(said)


def test_more_failures_than_answers_are_no_rate_below_none() -> None:
    assert Load(0, 1.0, 0, 0, 7).rate == 0


def test_a_request_says_how_long_its_body_is() -> None:
    raw = Asked(80, "/v1/chat/completions", '{"a":"é"}', "k").raw
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:80\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert body.decode() == '{"a":"é"}'


def test_pinning_takes_taskset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/taskset")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {6, 4}, raising=False)
    assert (pinned(0), pinned(1)) == (("taskset", "-c", "4"), ("taskset", "-c", "6"))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert pinned(1) == ()


def test_one_core_alone_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert pinned(0) == pinned(1) == ()
