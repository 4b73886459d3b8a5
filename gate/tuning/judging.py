"""What a policy does with every question of a collection: the pipeline itself, run on the recorded replies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gate.drivers import Recording, ReplayDriver
from gate.errors import ReplayGap, UpstreamError
from gate.pipeline import Plan, answer
from gate.tuning.collection import Collected
from gate.types import Outcome


@dataclass(frozen=True, slots=True)
class Judged:
    """One question under a policy."""

    collected: Collected
    outcome: Outcome | None
    """None where it cannot be told from what was collected."""
    gap: str = ""
    """Why not."""

    @property
    def draft(self) -> str | None:
        """The text the last confidence is about: the answer, or what would have been one."""
        return self.collected.answers.get(self.outcome.decision.stage.round_key) if self.outcome else None

    @property
    def correct(self) -> bool | None:
        return None if self.draft is None else self.collected.correct(self.draft)

    @property
    def wrong(self) -> bool:
        """Whether an answer went out that is not known to be right. What cannot be told counts as one."""
        return self.outcome is None or (self.outcome.answered and self.correct is not True)


def judge(plan: Plan, collected: Iterable[Collected]) -> Iterator[Judged]:
    """Every question's outcome, one at a time."""
    for one in collected:
        try:
            outcome = ReplayDriver(one.tape, plan.prices).run(answer(plan, one.example.question), Recording())
        except (ReplayGap, UpstreamError) as error:
            yield Judged(one, None, str(error))
        else:
            yield Judged(one, outcome)
