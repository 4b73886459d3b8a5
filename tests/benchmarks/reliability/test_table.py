"""The page: what stands in it, which aims are met, and what makes the short version fail."""

from __future__ import annotations

from collections import Counter

from tests.benchmarks.reliability.accounting import Kind, Tally
from tests.benchmarks.reliability.replicas import Compared
from tests.benchmarks.reliability.rounds import Rounds
from tests.benchmarks.reliability.rows import Row
from tests.benchmarks.reliability.soak import Soaked
from tests.benchmarks.reliability.table import Found, aims, failed, page, told


def made(*, right: int = 90, wrong: int = 0, lost: int = 0, missing: int = 0, recovery: float | None = 0.5) -> Tally:
    kinds = Counter({Kind.RIGHT: right, Kind.WRONG: wrong, Kind.LOST: lost, Kind.CUT: 2})
    let_out = right + wrong
    found = Tally(100, kinds, Counter({"503 x": 3}), 4, let_out, wrong, 0, lost, missing, 95, recovery, 0.05, 0.2)
    found.before, found.tight, found.repeated = 0.9, 5, 7
    found.charged, found.due = 93, 5
    return found


def missed(found: Found) -> list[str]:
    return [aim.what for aim in aims(found) if not aim.met]


def test_a_page_with_everything_in_order() -> None:
    found = Found(
        [Row("a model that stops", made())], [Rounds("durable: x", 2, done=2, named=7)], compared=Compared(10, 19)
    )
    text = page(found)
    cells = "100 | 90 | 0 | 503 x: 3 | 4 (2 gave up) | 0 | 0 | 0 | 0.0% (3.3%)"
    more = "0 of 5; 0 of 5 | 93 | 0 of 7 | 0 of 95 | 50 / 200 | 0.50 s"
    assert f"| a model that stops | {cells} | {more} |" in text
    widths = {line.count("|") for line in text.split("\n\n")[0].split("\n")}
    assert len(widths) == 1, "every line has as many cells"
    assert not missed(found)
    assert not failed(found)
    assert told(found)["replicas"] == {"one": 10, "two": 19}


def test_what_is_lost_wrong_or_missing_is_a_failure() -> None:
    assert missed(Found([Row("a", made(lost=1))])) == ["0 accepted requests without a response or a clear error"]
    assert "broken: a" in failed(Found([Row("a", made(wrong=20))]))[0]
    assert not failed(Found([Row("a", made(wrong=2))])), "so few say nothing"
    assert failed(Found([Row("a", made(missing=1))]))
    assert not failed(Found([Row("a", made(missing=1), kept=False)])), "nobody promised it"
    rounds = Rounds("durable: x", 3, done=3, named=9, lost=1)
    assert failed(Found(rounds=[rounds]))
    assert failed(Found(rounds=[Rounds("durable: x", 3, done=2, reason="it did not start")]))
    assert not failed(Found(rounds=[Rounds("not durable: x", 3, done=3, named=9, lost=1)]))


def test_what_is_let_in_beyond_a_limit_or_answered_twice_is_a_failure() -> None:
    over, twice = made(), made()
    over.over, twice.twice = 1, 1
    assert failed(Found([Row("a", over)])) == ["0 requests let in beyond a key's limit: 1 of 5"]
    assert failed(Found([Row("a", twice)])) == ["each idempotency key answered once: 1 twice of 7 repeated"]
    rounds = Rounds("not durable: x", 3, done=3, named=9, repeated=4, twice=2)
    assert failed(Found(rounds=[rounds])) == ["each idempotency key answered once: 2 twice of 4 repeated"]


def test_the_soak_and_the_kill_rounds_count_as_the_faults_do() -> None:
    assert "broken: soak" in failed(Found(soaked=Soaked(1.0, made(wrong=20), 3)))[0]
    kinds = Counter({Kind.RIGHT: 50, Kind.LOST: 2})
    assert failed(Found(rounds=[Rounds("not durable: x", 3, done=3, named=9, kinds=kinds)])) == [
        "0 accepted requests without a response or a clear error: 2 of 52"
    ]
    kinds = Counter({Kind.RIGHT: 50, Kind.WRONG: 20})
    assert "broken: not durable: x" in failed(Found(rounds=[Rounds("not durable: x", 3, 3, kinds=kinds, named=9)]))[0]


def test_where_nothing_works_the_short_version_fails() -> None:
    assert failed(Found()) == ["something measured: nothing was"]
    assert failed(Found([Row("a", None, "it cannot start")])) == ["every fault done: a (it cannot start)"]
    assert failed(Found(skipped=["there is no Redis"])) == ["every measure done: there is no Redis"]
    for field, value in (("before", 0.0), ("before", 0.5), ("before", None), ("named", 0), ("let_out", 0)):
        dead = made()
        setattr(dead, field, value)
        assert failed(Found([Row("a", dead)])) == ["every load answered before its fault: not: a"]
    refused = Counter({Kind.REFUSED: 60, Kind.RIGHT: 40})
    for rounds in (Rounds("not durable: x", 3, done=3), Rounds("not durable: x", 3, 3, refused, named=40)):
        assert failed(Found(rounds=[rounds])) == ["every load answered before its fault: not: not durable: x"]
    soaked = made(right=20)
    assert failed(Found(soaked=Soaked(1.0, soaked, 3))) == ["every load answered before its fault: not: soak"]


def test_what_is_slow_is_missed_and_no_failure() -> None:
    slow = [Row("b", made(recovery=7.0)), Row("c, breaker as by default", made(recovery=26.0))]
    found = Found(slow, compared=Compared(10, 12))
    assert missed(found) == [
        "right answers back to 90 % within 5 s",
        "right answers back to 90 % within 25 s, breakers as by default",
        "two replicas at least 1.8 times one",
    ]
    assert not failed(found)
    assert not missed(Found([Row("c, breaker as by default", made(recovery=24.0))]))


def test_what_does_not_come_back_at_all_is_a_failure() -> None:
    assert failed(Found([Row("a", made(recovery=None)), Row("b", made())])) == [
        "right answers back while watched: not: a"
    ]


def test_what_is_refused_for_no_reason_called_wrong_or_not_sent_is_a_failure() -> None:
    refused, blamed, unsent = made(), made(), made()
    refused.unexplained["503 x before the fault"] = 3
    blamed.kinds[Kind.BLAMED] = 2
    unsent.kinds[Kind.UNSENT] = 1
    assert failed(Found([Row("a", refused)])) == [
        "0 refusals that no fault is a reason for: a: 503 x before the fault: 3"
    ]
    assert failed(Found([Row("a", blamed)])) == ["0 requests that are called wrong (400, 401, 422, ...): 2 of 100"]
    assert failed(Found([Row("a", unsent)])) == ["every request sent: not 1 of 100"]
    for kind in (Kind.BLAMED, Kind.UNSENT):
        assert failed(Found(rounds=[Rounds("not durable: x", 3, 3, Counter({kind: 1}), named=9)]))
    assert "**no reason for 503 x before the fault: 3**" in page(Found([Row("a", refused)]))
    assert "**blamed: 2**" in page(Found([Row("a", blamed)]))


def test_what_is_charged_wrongly_or_kept_out_within_a_limit_is_a_failure() -> None:
    wrong, short, killed = made(), made(), made()
    wrong.mischarged, short.short, killed.charged = 4, 2, None
    assert failed(Found([Row("a", wrong)])) == ["each request charged once: 4 wrong of 93"]
    assert "93 (**4 wrong**)" in page(Found([Row("a", wrong)]))
    assert failed(Found([Row("a", short)])) == ["0 requests kept out within a key's limit: 2 of 5"]
    assert not failed(Found([Row("a", killed)])), "it may have charged what it did not answer"


def test_where_too_little_is_seen_of_keys_and_limits_nothing_is_known_of_them() -> None:
    for field, value, aim in (
        ("repeated", 1, "enough seen of keys and limits"),
        ("tight", 0, "enough seen of keys and limits"),
        ("due", 0, "0 requests kept out within a key's limit"),
        ("charged", 0, "each request charged once"),
    ):
        little = made()
        setattr(little, field, value)
        assert missed(Found([Row("a", little)])) == [aim]


def test_the_promise_is_that_of_all_together_too() -> None:
    found = Found([Row(str(place), made(right=74, wrong=6)) for place in range(30)])
    assert not any(row.tally is None or row.tally.broken(0.05) for row in found.rows), "in none it can be seen"
    assert "broken: all together" in failed(found)[0]
    assert not failed(Found(found.rows[:3])), "so few say nothing"


def test_what_was_not_done_is_named_with_the_reason() -> None:
    found = Found([Row("a", None, "there is no disk")], skipped=["there is no Redis"])
    text = page(found)
    assert "| a | not done: there is no disk |" in text
    assert "Not done: there is no Redis" in text
    assert missed(found) == ["every fault done", "every measure done"]
    assert told(found)["rows"] == {"a": "there is no disk"}


def test_a_promise_that_nobody_can_keep_is_shown_and_counts_for_nothing() -> None:
    found = Found([Row("a", made(wrong=60), unpromised="nobody can tell"), Row("b", made())])
    assert not failed(found)
    assert "broken, as none can help: nobody can tell" in page(found)
    assert "| 0 of 90, bound" in page(found), "nor do its numbers stand beside those of others"
    assert failed(Found([Row("a", made(wrong=60, lost=1), unpromised="nobody can tell")])), "all else counts"


def test_a_breaker_that_lets_calls_through_is_a_failure() -> None:
    assert failed(Found([Row("a", made(), let_through="99 calls in 3.0 s")])) == [
        "open breakers keep calls away: a: 99 calls in 3.0 s"
    ]
