"""The server as replicas in Ray Serve: see `serve_cases` for what is tested."""

from __future__ import annotations

import pytest

from tests.integrations.own_network import run_cases


@pytest.mark.timeout(330)
def test_replicas_serve_as_one_server_does() -> None:
    run_cases("serve_cases.py", seconds=320)
