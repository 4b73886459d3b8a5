"""Who may see what."""

from __future__ import annotations

from gate.dashboard.serving import Viewer


def test_an_admin_sees_every_policy_whatever_its_key_may_use() -> None:
    assert Viewer("ops", frozenset({"admin"}), frozenset({"strict"})).sees("balanced")


def test_a_reviewer_sees_the_policies_of_its_key_and_all_where_none_are_named() -> None:
    some = Viewer("bot", frozenset({"review"}), frozenset({"support"}))
    assert some.sees("support")
    assert not some.sees("balanced")
    assert Viewer("bot", frozenset({"review"})).sees("balanced")
    assert not Viewer("bot", frozenset({"review"}), frozenset()).sees("balanced")


def test_only_the_two_roles_are_welcome() -> None:
    assert Viewer("a", frozenset({"admin"})).welcome
    assert Viewer("a", frozenset({"review", "use"})).welcome
    assert not Viewer("a", frozenset({"use"})).welcome
    assert not Viewer("a", frozenset()).welcome
