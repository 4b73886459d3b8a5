"""The peers' scores of recorded answers: by their own code, and as recorded where they would ask the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tests.benchmarks import peer_environment
from tests.benchmarks.recorded import Answered

SAME_NUMBER = {
    "p_true": "lm_polygraph.PTrue (as recorded)",
    "p_true_votes": "lm_polygraph.PTrueSampling (as recorded)",
    "stated_two_stage": "lm_polygraph.Verbalized2S (as recorded)",
}
"""What a peer would ask the model and get the recorded number for: they are given it, though their code cannot run."""
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Peers:
    """All that the peers said, by answer."""

    scores: Mapping[str, Mapping[str, float]]
    cpu_seconds: Mapping[str, float]
    """Mean per answer, of each scorer."""

    @classmethod
    def of(cls, answers: Iterable[Answered]) -> Peers:
        """Score every answer that has samples or log-probabilities."""
        said = peer_environment.score(_row(answer) for answer in answers)
        spent: dict[str, list[float]] = {}
        for row in said:
            for name, seconds in row["cpu_seconds"].items():
                spent.setdefault(name, []).append(seconds)
        means = {name: float(np.mean(seconds)) for name, seconds in sorted(spent.items())}
        return cls({row["id"]: row["scores"] for row in said}, means)

    def columns(self, answers: Sequence[Answered]) -> dict[str, Array]:
        """A column for each scorer, NaN where it gave nothing."""
        rows = [dict(self.scores.get(answer.id, {})) | _as_recorded(answer) for answer in answers]
        names = sorted({name for row in rows for name in row})
        return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}


def _row(answer: Answered) -> dict[str, object]:
    return {
        "id": answer.id,
        "question": answer.question,
        "answer": answer.answer,
        "samples": answer.samples,
        "sample_logprobs": answer.sample_logprobs,
        "answer_logprobs": None if answer.logprob is None else [answer.logprob],
    }


def _as_recorded(answer: Answered) -> dict[str, float]:
    held = {ours: answer.vector.value(ours) for ours in SAME_NUMBER}
    return {SAME_NUMBER[ours]: value for ours, value in held.items() if value is not None}
