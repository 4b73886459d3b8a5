"""Which refusals each fault is a reason for."""

from __future__ import annotations

import pytest

from tests.benchmarks.reliability.faults import FAULTS
from tests.benchmarks.reliability.refusals import _BY_NAME, UNSOUND, explained_by


@pytest.mark.parametrize(
    ("begins", "codes"),
    [
        ("none", ()),
        ("policy file", ()),
        ("SQLite locked", ()),
        ("worker killed", ()),
        ("log's PostgreSQL", ()),
        ("model: resets", UNSOUND),
        ("model: 429", (*UNSOUND, "upstream rate_limit_exceeded")),
        ("six times", ("overloaded",)),
        ("disk full (", ("idempotency_unavailable",)),
        ("disk full, durable", ("log_unavailable", "idempotency_unavailable")),
        ("durable log's PostgreSQL", ("log_unavailable",)),
        ("shared Redis stopped, refusing", ("limits_unavailable", "idempotency_unavailable")),
        ("shared Redis stopped, counting alone", ()),
    ],
)
def test_a_fault_is_a_reason_for_its_own_refusals(begins: str, codes: tuple[str, ...]) -> None:
    listed = [fault for fault in FAULTS if fault.name.startswith(begins)]
    assert listed
    assert {explained_by(fault) for fault in listed} == {codes}


def test_no_fault_is_a_reason_to_call_a_request_wrong() -> None:
    codes = {code for fault in FAULTS for code in explained_by(fault)}
    assert all(
        code in (*UNSOUND, "upstream rate_limit_exceeded", "overloaded") or code.endswith("_unavailable")
        for code in codes
    )


def test_each_of_the_names_is_one_s() -> None:
    names = [fault.name for fault in FAULTS]
    assert all(any(name.startswith(begins) for name in names) for begins, _ in _BY_NAME)
