"""Work on logs in a Ray cluster: see `data_cases` for what is tested."""

from __future__ import annotations

import pytest

from tests.integrations.own_network import run_cases


@pytest.mark.timeout(120)
def test_a_cluster_does_what_one_machine_does() -> None:
    run_cases("data_cases.py", seconds=110)
