from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from gate.clients.standing_in import StandIn, standing_in


class Client:
    version = 1

    def __init__(self) -> None:
        self.key = "old"

    @property
    def shown(self) -> str:
        return f"<{self.key}>"

    def ask(self) -> str:
        return "ungated"

    def twice(self) -> str:
        return self.ask() * 2

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.ask()


class Gated(StandIn):
    def ask(self) -> str:
        return f"gated {self._gating}"


def test_it_is_of_the_others_class_and_does_its_own() -> None:
    client = Client()
    made = standing_in(Gated, client, "G")
    assert isinstance(made, Client)
    assert made.ask() == "gated G"
    assert made.twice() == "ungatedungated"  # what the other does, it does by itself
    with made as same:
        assert same is made
    assert "gated <" in repr(made)


def test_all_else_is_read_from_and_written_to_the_other() -> None:
    client = Client()
    made = standing_in(Gated, client, None)
    made.key = "new"
    assert (client.key, made.key, made.shown, made.version) == ("new", "new", "<new>", 1)
    del made.key
    assert not hasattr(client, "key")
    with pytest.raises(AttributeError, match="'Client' object has no attribute 'nothing'"):
        made.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_what_was_put_on_the_other_by_someone_else_is_used() -> None:
    client: Any = Client()
    client.traced = lambda: "by a tracer"
    assert standing_in(Gated, client, None).traced() == "by a tracer"


def test_copies_stand_for_copies_on_the_same_terms() -> None:
    client, gating = Client(), object()
    made = standing_in(Gated, client, gating)
    for copied in (copy.copy(made), copy.deepcopy(made)):
        copied.key = "new"
        assert (type(copied), client.key, copied._gating) == (type(made), "old", gating)  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="a wrapped client cannot be pickled"):
        pickle.dumps(made)


def test_one_class_for_all_clients_of_a_class() -> None:
    assert type(standing_in(Gated, Client(), 1)) is type(standing_in(Gated, Client(), 2))
