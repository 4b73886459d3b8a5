"""What was found, as a page: the table of faults, the aims, and whether they were met."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.reliability.accounting import CONFIDENCE, DECIDED, LET_OUT, Kind, Tally, clopper_pearson
from tests.benchmarks.reliability.questions import TIGHT_REQUESTS
from tests.benchmarks.reliability.replicas import AIM, LATENCY, PLACES, Compared
from tests.benchmarks.reliability.rounds import Cost, Rounds
from tests.benchmarks.reliability.rows import Row
from tests.benchmarks.reliability.soak import Soaked
from tests.benchmarks.reliability.worlds import BREAKER

MAX_ERROR = 0.05
BOUND = (
    f"What bounds each is its own setting of {PLACES} requests at once, of a model that takes {LATENCY} s a call, and "
    "no processor: it shows that requests are spread and that the shared store is in nobody's way."
)
SECONDS, BY_DEFAULT = 5.0, 25.0
"""In which right answers are to be back; the latter where breakers are as by default and try again after 10 s."""
DEFAULT_BREAKER = "breaker as by default"
"""In the names of the rows where they are."""
BEFORE, OF_SOAK, OF_ROUNDS = 0.9, 0.3, 0.5
"""Right answers to what the model knows before a fault, of all that a soak asks, and decisions of all that a kill round
does not cut off: of less nothing can be broken."""
REPEATED = 0.02
"""Of the requests, keys that are answered more than once: of less nothing is known of keys."""
_COLUMNS = (
    "fault",
    "tries",
    "right",
    "withheld",
    "refused, clearly",
    "cut, asked again",
    "lost",
    "leaks",
    "wrong let out",
    "promise: share (bound)",
    "let in beyond the limit; kept out within it",
    "charged",
    "keys answered twice",
    "decisions missing",
    "p50 / p99 ms",
    "back to 90 %",
)
_HEAD = (f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|")
NOTES = f"""\
lost: no response within 20 s, or one that is neither an answer nor an error; where nothing is killed, also a connection
that was closed. missing: decisions that a response named and the log has not, once it caught up. promise: wrong among
what was let out, with its upper bound (Clopper-Pearson, {CONFIDENCE:.0%}); the same while the fault was on.
It is broken where the lower bound of either is above {MAX_ERROR:.0%}. back: seconds from the fault's end until right
answers are back to 90 % of before; breakers try a model again after {BREAKER["seconds"]} s, then after
{BREAKER["most_seconds"]} s at most, or as by default where that is said. beyond the limit: of a third tenant, whose key
is good for {TIGHT_REQUESTS} requests a minute and who asks for far more. keys: half of the requests have one, which
tenants use alike; those that came again were to get the same decision. PostgreSQL and Redis wait for their disks.
refused, clearly: in bold what the fault is no reason for. charged: requests in the accounts of the three keys, each
of which is charged once for what is answered; what failed may be charged too, where it had cost something; - where a
process is killed, which may have charged what it did not answer. ms: of all requests but those that the tight limit
keeps out, those that failed among them. back: counted by when requests came, and only if it stays so."""


@dataclass(slots=True)
class Found:
    """All that was measured."""

    rows: list[Row] = field(default_factory=list)
    rounds: list[Rounds] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    compared: Compared | None = None
    soaked: Soaked | None = None
    estimate: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Aim:
    what: str
    came: str
    met: bool
    counted: bool
    """Whether it is a count, which no slow machine changes."""

    def line(self) -> str:
        return f"| {self.what} | {self.came} | {'met' if self.met else '**missed**'} |"


def page(found: Found) -> str:
    """In Markdown."""
    parts = ["\n".join((*_HEAD, *(_line(row) for row in found.rows))), NOTES] if found.rows else []
    if found.rounds:
        parts.append("\n".join(_rounds(found.rounds)))
    if found.costs:
        parts.append("\n".join(_costs(found.costs)))
    if found.compared is not None:
        one, two, ratio = found.compared.one, found.compared.two, found.compared.ratio
        parts.append(f"Replicas: one {one:.1f}, two {two:.1f} answers a second: {ratio:.2f} times. {BOUND}")
    if found.soaked is not None:
        parts.append(_soak(found.soaked))
    if found.estimate:
        parts.append("\n".join(("### A thousand replicas, on paper", "", *found.estimate)))
    parts.append("\n".join(("| aim | came | |", "|---|---|---|", *(aim.line() for aim in aims(found)))))
    parts += [f"Not done: {why}" for why in found.skipped]
    return "\n\n".join(parts)


def aims(found: Found) -> list[Aim]:
    """Each, and what came of it."""
    named = {row.name: row.tally for row in found.rows if row.tally is not None}
    if found.soaked is not None:
        named["soak"] = found.soaked.tally
    made = [*_counts(found, named), *_killed(found.rounds), *_paces(found), *_undone(found, named)]
    return made or [Aim("something measured", "nothing was", False, True)]


def _counts(found: Found, named: Mapping[str, Tally]) -> list[Aim]:
    """Of faults, soak and kill rounds together."""
    tallies, rounds = list(named.values()), found.rounds
    tries = sum(each.tries for each in tallies) + sum(each.kinds.total() for each in rounds)
    if not (tallies or rounds):
        return []
    lost = sum(each.lost for each in tallies) + sum(each.kinds[Kind.LOST] for each in rounds)
    leaks = sum(each.leaks for each in tallies) + sum(each.kinds[Kind.LEAK] for each in rounds)
    over, tight = sum(each.over for each in tallies), sum(each.tight for each in tallies)
    twice = sum(each.twice for each in tallies) + sum(each.twice for each in rounds)
    repeated = sum(each.repeated for each in tallies) + sum(each.repeated for each in rounds)
    kinds = sum((each.kinds for each in tallies), start=sum((each.kinds for each in rounds), start=Counter()))
    refused = [f"{name}: {what}: {count}" for name, each in named.items() for what, count in each.unexplained.items()]
    unkept = {row.name for row in found.rows if not row.kept}
    promised = [each for name, each in named.items() if name not in unkept]
    missing, of = sum(each.missing for each in promised), sum(each.named for each in promised)
    durable = "0 decisions missing from a log that is durable or was not killed"
    return [
        Aim("0 accepted requests without a response or a clear error", f"{lost} of {tries:,}", lost == 0, True),
        Aim("0 cross-tenant leaks", f"{leaks} of {tries:,}", leaks == 0, True),
        Aim("0 refusals that no fault is a reason for", "; ".join(refused) or f"0 of {tries:,}", not refused, True),
        _none("0 requests that are called wrong (400, 401, 422, ...)", kinds[Kind.BLAMED], tries),
        _none("every request sent", kinds[Kind.UNSENT], tries, "not "),
        Aim("0 requests let in beyond a key's limit", f"{over} of {tight:,}", over == 0, True),
        *_charges(tallies),
        Aim("each idempotency key answered once", f"{twice} twice of {repeated:,} repeated", twice == 0, True),
        *([Aim(durable, f"{missing} of {of:,}", missing == 0, True)] if promised else []),
        _promise({name: each for name, each in named.items() if name not in _unpromised(found)}, rounds),
        *_open_breakers(found),
    ]


def _none(what: str, count: int, of: int, came: str = "") -> Aim:
    return Aim(what, f"{came}{count} of {of:,}", count == 0, True)


def _charges(tallies: Sequence[Tally]) -> list[Aim]:
    """Of limits and keys also whether enough was seen of them."""
    if not tallies:
        return []
    made = []
    due, short = sum(each.due for each in tallies), sum(each.short for each in tallies)
    measured = [each for each in tallies if each.charged is not None]
    if measured:
        made.append(Aim("0 requests kept out within a key's limit", f"{short} of {due:,}", due > 0 == short, True))
        charged, wrong = sum(each.charged or 0 for each in measured), sum(each.mischarged for each in measured)
        made.append(Aim("each request charged once", f"{wrong} wrong of {charged:,}", charged > 0 == wrong, True))
    repeated, tries = sum(each.repeated for each in tallies), sum(each.tries for each in tallies)
    tight = sum(each.tight for each in tallies)
    enough = repeated >= REPEATED * tries and tight > 0
    came = f"{repeated:,} keys repeated, {tight:,} decided of a limited key"
    return [*made, Aim("enough seen of keys and limits", came, enough, True)]


def _unpromised(found: Found) -> dict[str, str]:
    """Rows that nobody can keep the promise through, and why."""
    return {row.name: row.unpromised for row in found.rows if row.unpromised}


def _open_breakers(found: Found) -> list[Aim]:
    through = [f"{row.name}: {row.let_through}" for row in found.rows if row.let_through]
    what = "open breakers keep calls away"
    return [Aim(what, "; ".join(through) or "all", not through, True)] if found.rows else []


def _promise(named: Mapping[str, Tally], rounds: Sequence[Rounds]) -> Aim:
    """Of each row, and of all together: what is too little to be seen in any may be seen in all."""
    broken = [name for name, each in named.items() if each.broken(MAX_ERROR)]
    wrong, out = sum(each.wrong for each in named.values()), sum(each.let_out for each in named.values())
    for each in rounds:
        its_wrong, its_out = each.kinds[Kind.WRONG], sum(each.kinds[kind] for kind in LET_OUT)
        wrong, out = wrong + its_wrong, out + its_out
        if clopper_pearson(its_wrong, its_out)[0] > MAX_ERROR:
            broken.append(each.name)
    if clopper_pearson(wrong, out)[0] > MAX_ERROR:
        broken.append("all together")
    came = f"{wrong} of {out:,}, bound {clopper_pearson(wrong, out)[1]:.2%}"
    came += f"; broken: {', '.join(broken)}" if broken else ""
    return Aim(f"promise: at most {MAX_ERROR:.0%} wrong among what is let out", came, not broken, True)


def _killed(rounds: Sequence[Rounds]) -> list[Aim]:
    made = []
    for each in rounds:
        if each.name.startswith("durable"):
            aimed = f"0 decisions lost after an acknowledged write, {each.wanted} kill -9 rounds ({each.name})"
            came = f"{each.lost} of {each.named:,} in {each.done} rounds" + (f"; {each.reason}" if each.reason else "")
            made.append(Aim(aimed, came, each.lost == 0 and each.done == each.wanted, True))
    return made


def _paces(found: Found) -> list[Aim]:
    made, done = [], {row.name: row.tally.recovery for row in found.rows if row.tally is not None}
    never = [name for name, took in done.items() if took is None]
    if done:
        made.append(
            Aim("right answers back while watched", f"not: {', '.join(never)}" if never else "all", not never, True)
        )
    for most, by_default in ((SECONDS, False), (BY_DEFAULT, True)):
        took = {
            name: each for name, each in done.items() if (DEFAULT_BREAKER in name) == by_default and each is not None
        }
        if took:
            slow = [name for name, each in took.items() if each > most]
            came = f"slower: {', '.join(slow)}" if slow else f"{max(took.values()):.2f} s at most"
            what = f"right answers back to 90 % within {most:.0f} s{', breakers as by default' if by_default else ''}"
            made.append(Aim(what, came, not slow, False))
    if found.compared is not None:
        ratio = found.compared.ratio
        made.append(Aim(f"two replicas at least {AIM} times one", f"{ratio:.2f}", ratio >= AIM, False))
    return made


def _undone(found: Found, named: Mapping[str, Tally]) -> list[Aim]:
    """What says nothing, and so is no success: what was not done, and a load that was not answered to begin with."""
    made = []
    undone = [f"{row.name} ({row.reason})" for row in found.rows if row.tally is None]
    if undone or found.rows:
        made.append(Aim("every fault done", "; ".join(undone) or f"{len(found.rows)}", not undone, True))
    if found.skipped:
        made.append(Aim("every measure done", "; ".join(found.skipped), False, True))
    dead = [row.name for row in found.rows if row.tally is not None and not (row.tally.before or 0.0) >= BEFORE]
    dead += [name for name, each in named.items() if name not in dead and not (each.named and each.let_out)]
    if found.soaked is not None and "soak" not in dead and _right(found.soaked.tally) < OF_SOAK:
        dead.append("soak")
    dead += [each.name for each in found.rounds if not each.named or _decided(each) < OF_ROUNDS]
    if named or found.rounds:
        made.append(
            Aim("every load answered before its fault", f"not: {', '.join(dead)}" if dead else "all", not dead, True)
        )
    return made


def _decided(found: Rounds) -> float:
    told = found.kinds.total() - found.kinds[Kind.CUT]
    return sum(found.kinds[kind] for kind in DECIDED) / told if told else 1.0


def _right(found: Tally) -> float:
    return found.kinds[Kind.RIGHT] / max(1, found.tries)


def failed(found: Found) -> list[str]:
    """Counts that must be none and are not."""
    return [f"{aim.what}: {aim.came}" for aim in aims(found) if aim.counted and not aim.met]


def told(found: Found) -> dict[str, Any]:
    """For programs."""
    return {
        "rows": {row.name: row.reason if row.tally is None else _numbers(row.tally) for row in found.rows},
        "rounds": {
            each.name: {
                "rounds": each.done,
                "named": each.named,
                "lost": each.lost,
                "with_loss": each.rounds_with_loss,
                "no_response": each.kinds[Kind.LOST],
                "wrong": each.kinds[Kind.WRONG],
                "answered_twice": each.twice,
                "sent_again": each.again,
                "refused_again": each.refused_again,
                "decided_anew": each.decided_anew,
                "start_seconds": each.starts,
                "reason": each.reason,
            }
            for each in found.rounds
        },
        "durable": {each.name: {"p50": each.p50, "p99": each.p99, "answered": each.answered} for each in found.costs},
        "replicas": None if found.compared is None else {"one": found.compared.one, "two": found.compared.two},
        "soak": None
        if found.soaked is None
        else {"grown": found.soaked.grown, "rest": found.soaked.rest, **_numbers(found.soaked.tally)},
        "aims": {aim.what: {"came": aim.came, "met": aim.met} for aim in aims(found)},
        "skipped": found.skipped,
    }


def _numbers(found: Tally) -> dict[str, Any]:
    return {
        "tries": found.tries,
        "kinds": {kind.value: count for kind, count in found.kinds.items()},
        "refusals": dict(found.refusals),
        "asked_again": found.again,
        "lost": found.lost,
        "leaks": found.leaks,
        "wrong": found.wrong,
        "let_out": found.let_out,
        "bounds": found.bounds,
        "meanwhile": {"wrong": found.wrong_meanwhile, "let_out": found.out_meanwhile},
        "missing": found.missing,
        "named": found.named,
        "beyond_the_limit": found.over,
        "of_the_limited": found.tight,
        "unexplained": dict(found.unexplained),
        "kept_out_within_the_limit": found.short,
        "due_to_the_limited": found.due,
        "charged": found.charged,
        "mischarged": found.mischarged,
        "answered_twice": found.twice,
        "repeated": found.repeated,
        "before": found.before,
        "recovery": found.recovery,
        "p50": found.p50,
        "p99": found.p99,
        "notes": found.notes,
    }


def _line(row: Row) -> str:
    found = row.tally
    if found is None:
        return f"| {row.name} | not done: {row.reason} |" + " |" * (len(_COLUMNS) - 2)
    refused = ", ".join(
        [f"{what}: {count}" for what, count in sorted(found.refusals.items())]
        + [f"**no reason for {what}: {count}**" for what, count in sorted(found.unexplained.items())]
        + [f"**{kind.value}: {found.kinds[kind]}**" for kind in (Kind.BLAMED, Kind.UNSENT) if found.kinds[kind]]
    )
    share = _share(found.wrong, found.let_out)
    if found.out_meanwhile:
        share += f"; meanwhile {_share(found.wrong_meanwhile, found.out_meanwhile)}"
    if found.broken(MAX_ERROR):
        share += f" broken, as none can help: {row.unpromised}" if row.unpromised else " **broken**"
    back = "not while watched" if found.recovery is None else f"{found.recovery:.2f} s"
    gave_up = f" ({found.kinds[Kind.CUT]} gave up)" if found.kinds[Kind.CUT] else ""
    notes = f" ({'; '.join(found.notes)})" if found.notes else ""
    cells: Sequence[object] = (
        row.name,
        found.tries,
        found.kinds[Kind.RIGHT],
        found.kinds[Kind.WITHHELD],
        refused or "0",
        f"{found.again}{gave_up}",
        f"{found.lost}{notes}",
        found.leaks,
        found.wrong,
        share,
        f"{found.over} of {found.tight}; {found.short} of {found.due}",
        "-"
        if found.charged is None
        else f"{found.charged}" + (f" (**{found.mischarged} wrong**)" if found.mischarged else ""),
        f"{found.twice} of {found.repeated}",
        f"{found.missing} of {found.named}",
        f"{1000 * found.p50:.0f} / {1000 * found.p99:.0f}",
        back,
    )
    return f"| {' | '.join(map(str, cells))} |"


def _share(wrong: int, of: int) -> str:
    return f"{wrong / of:.1%} ({clopper_pearson(wrong, of)[1]:.1%})" if of else "nothing let out"


def _rounds(listed: Sequence[Rounds]) -> list[str]:
    columns = ("killed -9 in mid-write", "rounds", "named by responses", "lost from the log", "rounds with a loss")
    rows = [f"| {' | '.join(columns)} | answers again after, s |", "|---|--:|--:|--:|--:|--:|"]
    for each in listed:
        again = f"{sorted(each.starts)[len(each.starts) // 2]:.1f}" if each.starts else "-"
        rows.append(
            f"| {each.name} {each.reason} | {each.done} | {each.named:,} | {each.lost} | {each.rounds_with_loss} "
            f"| {again} |"
        )
    return rows


def _costs(listed: Sequence[Cost]) -> list[str]:
    rows = ["| what waiting for the log costs | answered | p50 ms | p99 ms |", "|---|--:|--:|--:|"]
    return rows + [
        f"| {each.name} | {each.answered:,} | {1000 * each.p50:.1f} | {1000 * each.p99:.1f} |" for each in listed
    ]


def _soak(soaked: Soaked) -> str:
    grown = "; ".join(f"{name} {early:.1f} to {late:.1f}" for name, (early, late) in soaked.grown.items())
    rest = "; ".join(f"{name} {soaked.before[name]:.1f} to {soaked.rest[name]:.1f}" for name in soaked.before)
    found = soaked.tally
    return (
        f"Soak: {soaked.minutes:g} min, {soaked.faults} faults, {found.tries:,} asked, {found.lost} lost, "
        f"{found.leaks} leaks, {found.missing} decisions missing. Once warm to the end: {grown}. "
        f"Before it and at rest after it: {rest}."
    )
