"""Guessing costs waiting."""

from __future__ import annotations

from gate.dashboard.attempts import Attempts


def test_after_so_many_failures_an_address_waits_until_the_oldest_is_past() -> None:
    now = [0.0]
    attempts = Attempts(limit=3, seconds=60, now=lambda: now[0])
    for at in (0, 10, 20):
        now[0] = at
        assert attempts.wait("10.0.0.1") == 0
        attempts.failed("10.0.0.1")
    assert attempts.wait("10.0.0.1") == 40
    assert attempts.wait("10.0.0.2") == 0, "others are not held up"
    now[0] = 60.5
    assert attempts.wait("10.0.0.1") == 0
    attempts.failed("10.0.0.1")
    assert attempts.wait("10.0.0.1") == 9.5, "the second failure, at 10, is the next to be forgotten"


def test_the_addresses_of_one_household_count_together() -> None:
    attempts = Attempts(limit=1, now=lambda: 0.0)
    attempts.failed("2001:db8:1:2::1")
    assert attempts.wait("2001:db8:1:2:ffff::9") > 0
    assert attempts.wait("2001:db8:1:3::1") == 0


def test_what_is_no_address_is_counted_too() -> None:
    attempts = Attempts(limit=1, now=lambda: 0.0)
    attempts.failed("")
    assert attempts.wait("") > 0


def test_no_flood_of_addresses_fills_the_memory() -> None:
    attempts = Attempts(limit=1, now=lambda: 0.0)
    for number in range(5000):
        attempts.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(attempts._failed) == 4096
    assert attempts.wait("10.0.19.135") > 0, "the newest is remembered"
