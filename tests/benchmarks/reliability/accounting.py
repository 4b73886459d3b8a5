"""What became of every request, and what that comes to: counts, the promise with its bound, how long healing took."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum

from tests.benchmarks.reliability.questions import TENANTS, TIGHT, TIGHT_REQUESTS, Item

BUCKET, SMOOTHED = 0.25, 4
"""Seconds of one bucket of throughput; as many in a row are taken together, for arrivals are a matter of chance."""
BACK, DOWN = 0.9, 0.5
"""The share of what was answered well before from which on it is back, and below which it is away again."""
PROMPT, PROMPT_TIMES = 1.0, 3.0
"""What comes later than so many seconds, and than so many times what nine of ten took before the fault, comes late: it
was waiting for the fault to end."""
FEW = 4
"""Requests of which a share says something."""
CONFIDENCE = 0.95
TOO_FAST = "rate_limit_exceeded"
"""The code of what a limit keeps out."""
MODEL_TOO_FAST = f"upstream {TOO_FAST}"
"""Here, where it is the limit of the model's server, which a request meets once it was let in."""


class Kind(Enum):
    """How a request ended."""

    RIGHT = "right"
    WRONG = "wrong"
    """Let out, and not what was to be said."""
    WITHHELD = "withheld"
    REFUSED = "refused"
    """With an error that says so, in JSON."""
    CUT = "cut"
    """Its connection was closed before the response was through: whoever asked knows at once that there is none."""
    LOST = "lost"
    """No response in all the time there was, or one that is neither an answer nor an error."""
    LEAK = "leak"
    """Something of another question's."""
    BLAMED = "blamed"
    """With an error that calls the request wrong (400, 401, 404, 422 and the like), which none is."""
    UNSENT = "unsent"
    """Not sent, because too many were under way: nothing is known of it."""


LET_OUT = (Kind.RIGHT, Kind.WRONG)
DECIDED = (*LET_OUT, Kind.WITHHELD)


@dataclass(slots=True)
class Asked:
    """One request. Times in seconds from the start of the load."""

    item: Item
    at: float
    """When it was to be sent, whether or not it could be."""
    done: float = 0.0
    kind: Kind = Kind.LOST
    status: int = 0
    code: str = ""
    decisions: tuple[str, ...] = ()
    """Those that the response names."""
    again: int = 0
    """How often it was sent again, because its connection was closed."""
    key: str = ""
    """Its idempotency key."""
    streamed: bool = False
    repeats: bool = False
    """Whether it is another's repeat, under the same key."""
    sure: bool = True
    """Whether the response does not say that its key may not have been kept."""


@dataclass(frozen=True, slots=True)
class Phases:
    """When the fault began and ended."""

    began: float
    ended: float


@dataclass(slots=True)
class Tally:
    """Of one row of the table."""

    tries: int
    kinds: Counter[Kind]
    refusals: Counter[str]
    """By status and code."""
    again: int
    let_out: int
    wrong: int
    leaks: int
    lost: int
    missing: int
    """Decisions that a response named and the log has not."""
    named: int
    recovery: float | None
    """Seconds; None where it did not come back while it was watched."""
    p50: float
    p99: float
    out_meanwhile: int = 0
    """Let out of what came while the fault lasted: the rest would hide what it does to the promise."""
    wrong_meanwhile: int = 0
    before: float | None = None
    """Right answers before the fault, for each request whose answer the model knows."""
    tight: int = 0
    """Decided for the tenant with the tight limit."""
    over: int = 0
    """Those beyond what the limit allows."""
    repeated: int = 0
    """Keys under which more than one request was answered."""
    twice: int = 0
    """Those of them that were not answered the same."""
    unexplained: Counter[str] = field(default_factory=Counter)
    """Refusals that nothing explains, by status and code: before the fault, or of another kind than it brings."""
    due: int = 0
    """Requests that the tight limit had room for when the load began."""
    short: int = 0
    """Those of them that it kept out."""
    charged: int | None = None
    """Requests that the keys were charged with; None where that is not known."""
    mischarged: int = 0
    """Those of them that nobody made, and those made that none was charged with."""
    notes: list[str] = field(default_factory=list)

    @property
    def bounds(self) -> tuple[float, float]:
        return clopper_pearson(self.wrong, self.let_out)

    def broken(self, most: float) -> bool:
        """Whether more than this share of what was let out is wrong beyond chance, in all or while the fault lasted."""
        meanwhile = clopper_pearson(self.wrong_meanwhile, self.out_meanwhile)
        return max(self.bounds[0], meanwhile[0]) > most


def tally(
    asked: Sequence[Asked],
    phases: Phases,
    missing: int,
    *,
    cuts_are_lost: bool,
    fills: int = 1,
    explained: Collection[str] = (),
) -> Tally:
    """``cuts_are_lost``: nothing that breaks here is a reason for a connection to be closed. ``fills``: how often the
    tight limit of a minute may be there, beside what the time brings. ``explained``: the codes of errors that the fault
    is a reason for, from when it began."""
    kinds = Counter(each.kind for each in asked)
    lost = kinds[Kind.LOST] + (kinds[Kind.CUT] if cuts_are_lost else 0)
    meanwhile = Counter(each.kind for each in asked if phases.began <= each.at < phases.ended)
    seconds = sorted(each.done - each.at for each in asked if each.kind is not Kind.UNSENT and not limited(each))
    tight, over = beyond_the_limit(asked, fills)
    repeated, twice = answered_once(asked)
    return Tally(
        tries=len(asked),
        kinds=kinds,
        refusals=Counter(f"{each.status} {each.code}" for each in asked if each.kind is Kind.REFUSED),
        again=sum(each.again > 0 for each in asked),
        let_out=sum(kinds[kind] for kind in LET_OUT),
        wrong=kinds[Kind.WRONG],
        leaks=kinds[Kind.LEAK],
        lost=lost,
        missing=missing,
        named=sum(len(each.decisions) for each in asked),
        recovery=recovery(asked, phases),
        p50=_at(seconds, 0.5),
        p99=_at(seconds, 0.99),
        out_meanwhile=sum(meanwhile[kind] for kind in LET_OUT),
        wrong_meanwhile=meanwhile[Kind.WRONG],
        before=before(_easy(asked), phases),
        tight=tight,
        over=over,
        repeated=repeated,
        twice=twice,
        unexplained=unexplained(asked, phases, explained),
    )


def limited(each: Asked) -> bool:
    """Whether it was kept out by the tight limit."""
    return (each.item.tenant, each.kind, each.status, each.code) == (TIGHT, Kind.REFUSED, 429, TOO_FAST)


def unexplained(asked: Sequence[Asked], phases: Phases, explained: Collection[str]) -> Counter[str]:
    """Refusals that are no fault's work: by status and code."""
    found: Counter[str] = Counter()
    for each in asked:
        early = each.done < phases.began
        if each.kind is Kind.REFUSED and not limited(each) and (early or each.code not in explained):
            found[f"{each.status} {each.code}{' before the fault' if early else ''}"] += 1
    return found


def beyond_the_limit(asked: Sequence[Asked], fills: int = 1) -> tuple[int, int]:
    """What was decided for the tenant with the tight limit, and how much of that is more than the limit allows."""
    decided = {name for each in asked if each.item.tenant == TIGHT and each.kind in DECIDED for name in each.decisions}
    span = max((each.done for each in asked), default=0.0)
    most = int(TIGHT_REQUESTS * (fills + span / 60)) + 1
    return len(decided), max(0, len(decided) - most)


def answered_once(asked: Sequence[Asked]) -> tuple[int, int]:
    """Keys under which more than one request was answered, and those of them that stood for more than one decision.
    The keys of one tenant are nothing to another's."""
    answers: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    for each in asked:
        if each.key and each.sure and each.kind in DECIDED:
            answers.setdefault((each.item.tenant, each.key), []).append(each.decisions)
    repeated = [decisions for decisions in answers.values() if len(decisions) > 1]
    return len(repeated), sum(len(set(decisions)) > 1 for decisions in repeated)


def recovery(asked: Sequence[Asked], phases: Phases) -> float | None:
    """Seconds from the fault's end until what is answered well is back to 90 % of what it was before the fault, and
    stays: of all that came from then on, and so that at no time afterwards half of what comes is answered ill again.

    Answered well: the right answer to what the model knows, at once. Of what arrives, in buckets of 0.25 s, four in a
    row together: what had waited for the fault to end and is worked off then is no sign that it is over.
    """
    easy = sorted(_easy(asked), key=lambda each: each.at)
    was = before(easy, phases)
    if not was:
        return None
    prompt = _prompt(easy, phases)
    after = [
        (each.at - phases.ended, each.kind is Kind.RIGHT and each.done - each.at <= prompt)
        for each in easy
        if each.at >= phases.ended
    ]
    last = after[-1][0] if after else 0.0
    window, found = BUCKET * SMOOTHED, None
    for place in reversed(range(math.floor((last - window + 1e-9) / BUCKET) + 1)):
        start = place * BUCKET
        here = [well for at, well in after if start <= at < start + window]
        rest = [well for at, well in after if start <= at]
        if len(here) >= FEW and _share(here) < DOWN * was:
            break
        if here and min(_share(here), _share(rest)) >= BACK * was:
            found = start
    return found


def before(easy: Sequence[Asked], phases: Phases) -> float | None:
    """Right answers for each request before the fault. What was under way when it came, and what that did to it, is
    the fault's."""
    early = [
        each for each in easy if each.at < phases.began and (each.kind is Kind.RIGHT or _ended_before(each, phases))
    ]
    return _share([each.kind is Kind.RIGHT for each in early]) if early else None


def _ended_before(each: Asked, phases: Phases) -> bool:
    return each.done < phases.began or phases.began - each.at > PROMPT


def _prompt(easy: Sequence[Asked], phases: Phases) -> float:
    took = sorted(each.done - each.at for each in easy if each.kind is Kind.RIGHT and each.at < phases.began)
    return max(PROMPT, PROMPT_TIMES * _at(took, 0.9))


def _easy(asked: Sequence[Asked]) -> list[Asked]:
    """Of what the model knows, and what no limit keeps out."""
    return [each for each in asked if not each.item.hard and each.item.tenant in TENANTS]


def _share(well: Sequence[bool]) -> float:
    return sum(well) / len(well)


def clopper_pearson(wrong: int, of: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The least and the greatest rate that so many wrong ones do not speak against, each at this confidence."""
    from scipy.special import betaincinv

    if of == 0:
        return 0.0, 1.0
    low = 0.0 if wrong == 0 else float(betaincinv(wrong, of - wrong + 1, 1 - confidence))
    high = 1.0 if wrong == of else float(betaincinv(wrong + 1, of - wrong, confidence))
    return low, high


def _at(listed: Sequence[float], share: float) -> float:
    return listed[min(len(listed) - 1, int(share * len(listed)))] if listed else 0.0
