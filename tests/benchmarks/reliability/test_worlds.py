"""What the worlds are made of: policies whose certificates hold, and metrics and words of gate."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gate.assemble import assemble
from gate.endpoint_settings import BreakerSettings
from gate.policy import read
from tests.benchmarks.reliability.faults import CERTIFIED, PATIENT, PLAIN
from tests.benchmarks.reliability.processes import samples
from tests.benchmarks.reliability.upstream import MODEL
from tests.benchmarks.reliability.worlds import BREAKER, Setup, write_policies

URL = "http://127.0.0.1:9/v1"


def test_certified_policies_hold_and_abstain_where_another_model_says_its_name(tmp_path: Path) -> None:
    for path in write_policies(tmp_path, URL, CERTIFIED):
        gateway = assemble(read(Path(path)))
        assert gateway.certificate is not None
        assert (gateway.void, gateway.policy.on_void) == ((), "abstain")
        assert not gateway.models.heard("main", MODEL)
        assert gateway.models.heard("main", "model-of-june")
    assert all(assemble(read(Path(path))).certificate is None for path in write_policies(tmp_path, URL, PLAIN))


@pytest.mark.parametrize(
    ("setup", "expected"),
    [(PLAIN, BreakerSettings(**BREAKER)), (PATIENT, BreakerSettings())],  # type: ignore[arg-type]
)
def test_breakers_are_quick_or_as_by_default(setup: Setup, expected: BreakerSettings, tmp_path: Path) -> None:
    for path in write_policies(tmp_path, URL, setup):
        assert read(Path(path)).policy.upstreams["main"].breaker == expected
        assert ("breaker" in yaml.safe_load(Path(path).read_text())["upstreams"]["main"]) == setup.breaker


def test_metrics_are_read_by_name_and_label() -> None:
    text = '# HELP a_total x\na_total{k="x"} 2.0\na_total{k="y"} 3.0\na_total_more 9.0\nb 1.0\n'
    assert samples(text, "a_total") == 5.0
    assert samples(text, "a_total", 'k="x"') == 2.0
    assert samples(text, "b") == 1.0
    assert samples(text, "c") == 0.0
