"""A model as grader: an upstream reads question, references and answer, and says one word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel, Field

from gate.effects import Flow, Generate, Reply, generate
from gate.evidence.asking import refused
from gate.evidence.equivalence import encodable
from gate.evidence.judging import conversation
from gate.ports import Uses
from gate.prompts import load
from gate.tuning.grading.grade import Grade, settled, written
from gate.types import Cost, Generation, Message, Question

_PROMPT = "grade_answer"
_VERDICTS = {"CORRECT": True, "INCORRECT": False, "UNSURE": None}


class ModelGrader(BaseModel, extra="forbid", frozen=True):
    """Asks ``upstream`` once an answer, greedily. A reply that is more than one of the three words settles nothing.

    A failing upstream is an error and no grade: `UpstreamError` goes into the flow.

    Judges err, and errors of the judge void a promise as errors of the model do: grade a sample by hand too, and see
    `gate.tuning.judge_error`. An upstream that grades its own answers is lenient with them.
    """

    name: ClassVar[str] = "model"
    upstream: str = Field(min_length=1)
    max_tokens: int = Field(default=8, ge=1)
    """Three would do. A model that thinks aloud first needs more, and must return its thoughts apart."""
    longest: int = Field(default=20_000, ge=1)
    """Characters of an answer; a longer one is not shown in part but left ungraded."""

    @property
    def uses(self) -> Uses:
        return Uses(upstreams=(self.upstream,), prompts=(_PROMPT,))

    def ask(self, question: Question, answer: str, references: Sequence[str]) -> Flow[Reply[Grade]]:
        if (grade := settled(answer, references)) is not None:
            return Reply(grade, Cost())
        if len(answer) > self.longest:
            return Reply(Grade(None, None, f"the answer is longer than {self.longest} characters"), Cost())
        prompt = load(_PROMPT).render(
            question=encodable(conversation(question.messages)),
            references="\n".join(encodable(" ".join(reference.split())) for reference in written(references)),
            answer=encodable(answer.strip()),
        )
        asked = Generate(self.upstream, (Message("user", prompt),), temperature=0.0, max_tokens=self.max_tokens)
        reply = yield from generate(asked)
        return Reply(verdict(reply.value.choices[0]), reply.cost)


def verdict(generation: Generation) -> Grade:
    """The grade a reply says: one of the three words alone, in any case, with marks around it or none."""
    if refused(generation):
        return Grade(None, None, "the judge declined to say")
    word = generation.text.strip().strip(".*_`\"'").upper()
    if word not in _VERDICTS:
        return Grade(None, None, "the judge's reply is none of CORRECT, INCORRECT and UNSURE")
    return Grade(_VERDICTS[word], None, f"the judge says {word}")
