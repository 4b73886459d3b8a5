"""Policies for the adapters' tests: one for answers that are brought along, and one over a model that is scripted.

Of a brought answer five samples are drawn, and how many agree with it decides: with four of five p is 5/7, and that is
enough. With three it is 4/7. Where it is not enough and the policy may gather, the pocket model is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gate.assemble import load_gateway
from gate.decorator.gate import Gate
from gate.effects import Generate
from gate.gateway import Gateway
from gate.types import Generation, Generations, ToolCall, Usage
from tests.scripted import Scripted, always, plan_over, world_of

REFUSAL = "I am not sure."
VOTING = f"""
name: voting
promise: {{max_error: 0.2}}
upstreams:
  writer: {{kind: caller, identity: a test, price: {{prompt: 1.0, completion: 2.0}}}}
  pocket: {{kind: pocket, model: large}}
ladder: [writer, pocket]
tiers:
  - [draft, samples, meanings]
evidence:
  samples: {{n: 5, temperature: 0.9}}
signals: [vote_share]
calibrator: vote_share
rule: {{answer_at: 0.7, otherwise: [escalate]}}
routes:
  escalate: true
abstain: {REFUSAL}
"""


def voting(folder: Path) -> Gate:
    path = folder / "voting.yaml"
    path.write_text(VOTING)
    return Gate(path)


@dataclass
class Calling(Scripted):
    """Calls a tool, each time alike."""

    answers: Callable[[Generate, int], str] = field(default=always(""))
    call: tuple[str, str] = ("find", '{"city": "Nanjing"}')

    def complete(self, effect: Generate, cancelled: Callable[[], bool]) -> Generations:
        self.asked.append(effect)
        calls = (ToolCall("c1", *self.call),)
        said = Generation("", "tool_calls", tool_calls=calls)
        return Generations((said,) * effect.n, Usage(10, 3 * effect.n), self.name)


def over(upstream: Scripted) -> Gate:
    """A policy whose one upstream is scripted: what it says five times over is let through."""
    known = load_gateway("balanced")
    policy = known.policy.model_copy(update={"name": "scripted"})
    models = {upstream.name: upstream}
    plan = plan_over(models)
    return Gate(Gateway(policy, plan, world_of(models), {}))
