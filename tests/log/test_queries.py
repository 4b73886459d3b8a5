"""What lists and exports ask alike: which decisions are meant, in the order of time, and how they were labelled."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from gate.log.kept import Label, Sought
from gate.log.queries import counting, labelled, later, meant
from gate.log.tables import DECISIONS
from tests.log.decided import START, entry, kept

PLACES = [("b", START), ("a", START + 1), ("c", START + 1), ("d", START + 2)]


def test_before_and_after_a_place_are_all_others(opened: Any) -> None:
    log = opened()
    kept(log, *(entry(id_, at) for id_, at in PLACES))
    with log.engine.connect() as connection:

        def found(condition: Any) -> list[str]:
            asked = select(DECISIONS.c.id).where(condition).order_by(DECISIONS.c.at, DECISIONS.c.id)
            return list(connection.scalars(asked))

        for place, (id_, at) in enumerate(PLACES):
            ids = [each for each, _ in PLACES]
            assert found(meant(Sought(before=at, before_id=id_))) == ids[:place]
            assert found(later(at, id_)) == ids[place + 1 :]
        assert found(meant(Sought())) == ["b", "a", "c", "d"]


GIVEN = st.lists(
    st.tuples(st.sampled_from("ab"), st.none() | st.booleans(), st.sampled_from(["feedback", "review"])), max_size=8
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(GIVEN)
def test_the_last_review_counts_or_else_the_last_label_that_tells(
    opened: Any, given_labels: list[tuple[str, bool | None, Any]]
) -> None:
    """Against the rule read off the list itself."""
    log = opened()
    with log.engine.begin() as connection:
        for table in ("gate_labels", "gate_decisions", "gate_traces"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    kept(log, entry("a"), entry("b"))
    expected: dict[str, tuple[bool, bool]] = {}
    reviewed: set[str] = set()
    for id_, correct, source in given_labels:
        assert log.reader.label(Label(id_, correct, "me", source))
        if source == "review":
            reviewed.add(id_)
        elif correct is None or id_ in reviewed:
            continue
        expected.pop(id_, None)
        if correct is not None:
            expected[id_] = correct, source == "review"
    with log.engine.connect() as connection:
        found = labelled(connection, meant(Sought()))
        assert [(each.id, (each.correct, each.reviewed)) for each in found] == list(expected.items())
        chosen = {id_: each.correct for id_, each in counting(connection, ["a", "b"]).items()}
        assert {id_: correct for id_, correct in chosen.items() if correct is not None} == {
            id_: correct for id_, (correct, _) in expected.items()
        }
    log.close()
