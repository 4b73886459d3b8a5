"""Measure what the README states about the pocket model, the gate on it, and the size and speed of an installation.

    make bench                     everything but the fresh clone
    python -m tests.benchmarks.foundations --fresh-clone     also clones, installs and runs ``make demo`` from nothing

Prints tables and writes build/bench-foundations.json. Nothing is held against a time limit.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from gate import prompts
from gate.assemble import load_gateway
from gate.calibration.metrics import auroc, expected_calibration_error
from gate.effects import Generate
from gate.evidence.meanings import normalize
from gate.gateway import Gateway
from gate.guarantees.selective_risk import upper_bound
from gate.pocket.world import RELATIONS, Fact, facts, facts_of
from gate.routes import AbstainRoute
from gate.routes.wording import worded, wordings
from gate.types import Action, Message, Question

ROOT = Path(__file__).parents[2]
POLICIES = ("balanced", "strict", "cost-saver", "rag", "agents")
PROMPT = prompts.load("pocket_with_passages")
out = Console(width=110)


def same(said: str, answer: str) -> bool:
    return normalize(said) == normalize(answer)


# --- the pocket model --------------------------------------------------------------------------------------------


def pocket(gateway: Gateway) -> list[dict[str, Any]]:
    """Greedy answers of both sizes on every test fact: closed book, with the right and with a contradicting passage."""
    made = []
    rng = random.Random(0)
    asked = facts_of("test")
    answers = {name: sorted({f.answer for f in facts() if f.relation == name}) for name in RELATIONS}
    wrong = {f.key: rng.choice([a for a in answers[f.relation] if a != f.answer]) for f in asked}
    three = {f.key: " ".join(rng.sample([f.passage, *(o.passage for o in rng.sample(asked, 2))], 3)) for f in asked}
    for name in gateway.policy.ladder:
        closed = [say(gateway, name, f.question) for f in asked]
        reading = [say(gateway, name, PROMPT.render(passages=f.passage, question=f.question)) for f in asked]
        among = [say(gateway, name, PROMPT.render(passages=three[f.key], question=f.question)) for f in asked]
        contra = [
            say(gateway, name, PROMPT.render(passages=restate(f, wrong[f.key]), question=f.question)) for f in asked
        ]
        made.append(
            {
                "model": name,
                "facts": len(asked),
                "closed book": share(same(s, f.answer) for s, f in zip(closed, asked, strict=True)),
                "right passage": share(same(s, f.answer) for s, f in zip(reading, asked, strict=True)),
                "one of three passages right": share(same(s, f.answer) for s, f in zip(among, asked, strict=True)),
                "contradiction: follows it": share(same(s, wrong[f.key]) for s, f in zip(contra, asked, strict=True)),
                "keeps the truth": share(same(s, f.answer) for s, f in zip(contra, asked, strict=True)),
            }
        )
    return made


def restate(fact: Fact, answer: str) -> str:
    return fact.state(RELATIONS[fact.relation].passages[0], answer)


def say(gateway: Gateway, upstream: str, text: str) -> str:
    model = gateway.world.upstreams[upstream]
    reply = model.complete(Generate(upstream, (Message("user", text),), temperature=0.0), lambda: False)  # type: ignore[union-attr]
    return reply.choices[0].text


def share(hits: Any) -> float:
    listed = list(hits)
    return sum(listed) / len(listed)


# --- the gate ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    p: float
    right: bool
    answered: bool
    calls: int
    money: float
    seconds: float
    sampled: bool


def judge(name: str) -> list[Judged]:
    """The whole policy on every test fact; ``right`` is that of the answer on trial at the end, let through or not."""
    gateway = load_gateway(name)
    before = [worded("hedged", language, answer="") for language in wordings()]
    showing = AbstainRoute(hedge_above=0.0)  # what it would have answered stands in the refusal
    gateway.plan = replace(gateway.plan, routes={**gateway.plan.routes, Action.ABSTAIN: showing})
    made = []
    for fact in facts_of("test"):
        began = time.perf_counter()
        outcome, _ = gateway.ask(Question.from_text(fact.question))
        seconds = time.perf_counter() - began
        made.append(
            Judged(
                p=outcome.confidence.p if outcome.confidence else 0.0,
                right=same(functools.reduce(str.removeprefix, before, outcome.text), fact.answer),
                answered=outcome.answered,
                calls=outcome.cost.calls,
                money=outcome.cost.money,
                seconds=seconds,
                sampled=any(step.decision.stage.tier for step in outcome.steps),
            )
        )
    gateway.close()
    return made


def gate_row(name: str, judged: list[Judged], promise: float) -> dict[str, Any]:
    answered = [j for j in judged if j.answered]
    errors = sum(not j.right for j in answered)
    p, right = [j.p for j in judged], [j.right for j in judged]
    return {
        "policy": name,
        "promise": promise,
        "asked": len(judged),
        "coverage": len(answered) / len(judged),
        "error among answers": errors / len(answered) if answered else None,
        "95 % upper bound": upper_bound(errors, len(answered), 0.05) if answered else None,
        "AUROC of p": auroc(p, right),
        "ECE of p (10 bins)": expected_calibration_error(p, right),
        "calls a question": statistics.mean(j.calls for j in judged),
        "$ a 1,000": 1000 * statistics.mean(j.money for j in judged),
        "ms with 5 samples, median": 1000 * statistics.median(j.seconds for j in judged if j.sampled),
    }


# --- the installation --------------------------------------------------------------------------------------------

_IMPORT = "import time; t = time.perf_counter(); import gate; print(time.perf_counter() - t)"
_SOCKETS = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(event) if event.startswith("socket.") else None)
import gate
print(len(opened))
"""


def installation() -> dict[str, Any]:
    def run(code: str) -> float:
        return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)

    cold = [_wall([str(Path(sys.executable).parent / "gate"), "ask", "Where is Lagos?"]) for _ in range(3)]
    return {
        "import gate, median s": statistics.median(run(_IMPORT) for _ in range(7)),
        "sockets opened by the import": int(run(_SOCKETS)),
        "gate ask, whole process, median s": statistics.median(cold),
    }


def _wall(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def fresh_clone() -> dict[str, Any]:
    """Clone, and run ``make demo`` in the clone with nothing but Python and make; then weigh the environment."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "gate"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("VIRTUAL_ENV", "PYTHON", "MAKE", "MFLAGS"))}
        began = time.perf_counter()
        subprocess.run(["make", ".venv/.core"], cwd=clone, check=True, env=kept, capture_output=True)
        installed = _core(clone)
        subprocess.run(["make", "demo"], cwd=clone, check=True, env=kept, capture_output=True)
        seconds = time.perf_counter() - began
        ran = _core(clone)
    return {
        "fresh clone to the end of make demo, s": seconds,
        "core install, MB": installed,
        "with the bytecode of its first run, MB": ran,
    }


def _core(clone: Path) -> float:
    """Megabytes of gate and all it needs, without the installer that venv puts beside them."""
    (packages,) = (clone / ".venv").glob("lib/python*/site-packages")
    installer = sum(_weight(p) for name in ("pip", "setuptools", "pkg_resources") for p in packages.glob(f"{name}*"))
    return (_weight(packages) - installer + _weight(clone / "gate")) / 1e6


def _weight(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and not f.is_symlink())


# --- printing ----------------------------------------------------------------------------------------------------


def show(title: str, rows: list[dict[str, Any]]) -> None:
    table = Table(*rows[0], title=title, title_justify="left")
    for row in rows:
        table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()))
    out.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fresh-clone", action="store_true")
    options = parser.parse_args()
    balanced = load_gateway("balanced")
    result: dict[str, Any] = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "pocket": pocket(balanced),
        "gate": [gate_row(n, judge(n), load_gateway(n).policy.promise.max_error) for n in POLICIES],
        "installation": [installation()],
    }
    if options.fresh_clone:
        result["fresh clone"] = [fresh_clone()]
    out.print(f"{result['machine']}, {result['date']}")
    for title, rows in result.items():
        if isinstance(rows, list):
            show(title, rows)
    target = ROOT / "build" / "bench-foundations.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    out.print(f"wrote {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
