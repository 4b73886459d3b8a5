"""What names in a policy stand for: gate's own, and what other packages bring."""

from __future__ import annotations

from pathlib import Path

import pytest

from gate import assemble_endpoints
from gate.assemble import load_gateway
from gate.assemble_endpoints import table_of
from gate.errors import ConfigError
from gate.retrieval import PocketWorldRetriever
from tests.changed import changed


def test_other_packages_may_bring_retrievers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Theirs(PocketWorldRetriever):
        kind = "theirs"

    offered = {"gate.retrievers": {"theirs": Theirs}}
    monkeypatch.setattr("gate.assemble_endpoints._installed", lambda group: offered.get(group, {}))
    gateway = load_gateway(str(changed(tmp_path, retrievers={"world": {"kind": "theirs"}})))
    assert isinstance(gateway.world.retrievers["world"], Theirs)


class Point:
    """Looks like an entry point of an installed package."""

    def __init__(self, name: str) -> None:
        self.name = name

    def load(self) -> str:
        return f"what {self.name} stands for"


@pytest.mark.parametrize(
    ("offered", "message"),
    [
        (["mine", "mine"], "two installed packages offer 'mine' in the group 'gate.rules'"),
        (["ours"], "an installed package offers 'ours' in the group 'gate.rules', which gate has itself"),
    ],
)
def test_a_name_that_stands_for_two_things_is_refused(
    offered: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assemble_endpoints, "entry_points", lambda group: [Point(name) for name in offered])
    assemble_endpoints._installed.cache_clear()
    try:
        with pytest.raises(ConfigError, match=message):
            table_of("gate.rules", [("ours", 1)])
    finally:
        assemble_endpoints._installed.cache_clear()


def test_what_other_packages_offer_stands_beside_gates_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assemble_endpoints, "entry_points", lambda group: [Point("theirs")])
    assemble_endpoints._installed.cache_clear()
    try:
        assert table_of("gate.rules", [("ours", 1)]) == {"ours": 1, "theirs": "what theirs stands for"}
    finally:
        assemble_endpoints._installed.cache_clear()
