"""What keeps the house in order: floors, mirrors, sizes, names, and what may not stand in the code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from gate.calibration import CALIBRATORS
from gate.embedders import EMBEDDERS
from gate.evidence import SOURCES
from gate.judges import JUDGES
from gate.people import PEOPLE
from gate.retrieval import RETRIEVERS
from gate.routes import ROUTES
from gate.rules import RULES
from gate.signals import SIGNALS
from gate.tuning.grading import GRADERS
from gate.upstreams import UPSTREAMS

ROOT = Path(__file__).parents[1]
GATE, TESTS = ROOT / "gate", ROOT / "tests"
MODULES = sorted(p.relative_to(GATE) for p in GATE.rglob("*.py") if p.name not in {"__init__.py", "__main__.py"})
CROSS_CUTTING = {
    "test_architecture.py",
    "test_import.py",
    "test_guarded_functions.py",
    "test_litellm_proxy.py",
    "test_packaging.py",
    "test_examples.py",
    "test_deployment.py",
    "test_observe_then_enforce.py",
}
"""Tests of the whole, and of folders beside the package."""
SERVED = "served"
"""The folder of tests of the whole with models in real vLLM servers: ``make test-vllm``."""
POINTED_AT_THE_PROXY = {
    "test_anthropic_client.py",
    "test_attacks.py",
    "test_attacks_on_reading.py",
    "test_curl.py",
    "test_fuzzing.py",
    "test_langchain.py",
    "test_openai_client.py",
    "test_openai_client_beyond_chat.py",
    "test_openai_node.py",
    "test_privacy.py",
    "test_tenants.py",
}
"""Other projects' clients, and those who mean it no good: tests of the whole."""
WITH_THEIR_PACKAGES = {"test_kuberay.py", "test_litellm_upstream.py", "test_ray_data.py", "test_ray_serve.py"}
"""What has its tests elsewhere, over stand-ins, and here with the real thing: ``make test-integrations``."""
LONGEST_FILE, LONGEST_FUNCTION = 400, 60


def test_imports_run_one_way() -> None:
    run = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_module_has_its_test(module: Path) -> None:
    assert (TESTS / module.parent / f"test_{module.name}").is_file()


def test_every_test_has_its_module() -> None:
    known = {module.parent / f"test_{module.name}" for module in MODULES}
    ours = {p.relative_to(TESTS) for p in TESTS.rglob("test_*.py")}
    strays = {p for p in ours - known if p.name not in CROSS_CUTTING | {"test_conformance.py"} and p.parts[0] != SERVED}
    strays -= {p for p in strays if (TESTS / p.parent / p.name.removeprefix("test_")).is_file()}  # of a benchmark
    known_strays = {Path("proxy") / name for name in POINTED_AT_THE_PROXY}
    assert strays == known_strays | {Path("integrations") / name for name in WITH_THEIR_PACKAGES}


@cache
def trees() -> tuple[tuple[Path, ast.Module], ...]:
    modules = sorted(GATE.rglob("*.py"))
    return tuple((module.relative_to(ROOT), ast.parse(module.read_text(encoding="utf-8"))) for module in modules)


def test_files_and_functions_stay_readable() -> None:
    files = [str(p) for p, _ in trees() if len((ROOT / p).read_text(encoding="utf-8").splitlines()) > LONGEST_FILE]
    functions = [
        f"{path}:{node.lineno} {node.name}"
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= LONGEST_FUNCTION
    ]
    assert not files + functions


def test_every_module_says_what_it_is_for() -> None:
    assert not [str(path) for path, tree in trees() if not ast.get_docstring(tree)]


def test_only_drivers_catch_every_error() -> None:
    broad = [
        str(path)
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"})
    ]
    # beside it only where code that may be anyone's is called: its faults must not end a question they need not end.
    # What runs inside someone's model server must not end the server
    in_a_server = [f"gate/engine_plugin/{name}.py" for name in ("guard", "loading", "registration")]
    assert broad == ["gate/drivers/on_threads.py", "gate/drivers/world.py", *in_a_server]


def test_nothing_is_left_open() -> None:
    found = [
        f"{path}:{number}"
        for path, _ in trees()
        for number, line in enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"\b(TODO|FIXME|XXX|NotImplementedError|placeholder)\b", line)
    ]
    assert not found


def test_no_file_is_a_drawer_for_everything() -> None:
    assert not {p.stem for p in GATE.rglob("*.py")} & {"utils", "helpers", "common", "misc", "base", "manager"}


def test_vendors_are_named_by_upstreams_and_the_wire_alone() -> None:
    """The core asks what an upstream can do, never whose it is."""
    core = (
        "types",
        "effects",
        "ports",
        "pipeline",
        "policy",
        "evidence",
        "signals",
        "calibration",
        "rules",
        "routes",
        "judges",
    )
    named = [
        str(path)
        for path, tree in trees()
        if path.parts[1].removesuffix(".py") in core
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        and re.search(r"openai|vllm|anthropic|litellm|pocket", ast.unparse(node), re.IGNORECASE)
    ]
    assert not named


def _defined(folder: str, *, having: str) -> set[str]:
    """Public classes of a folder that have a method of this name."""
    return {
        node.name
        for path, tree in trees()
        if path.parent == Path("gate") / folder
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        if any(isinstance(item, ast.FunctionDef) and item.name == having for item in node.body)
    }


def test_the_tuples_are_complete() -> None:
    assert {kind.__name__ for kind in SOURCES} == _defined("evidence", having="gather")
    assert {type(signal).__name__ for signal in SIGNALS} == _defined("signals", having="measure")
    # no policy can name the one that stands in while there is none
    assert {kind.__name__ for kind in CALIBRATORS} == _defined("calibration", having="confidence") - {"Unfitted"}
    assert {kind.__name__ for kind in RULES} == _defined("rules", having="decide")
    assert {kind.__name__ for kind in ROUTES} == _defined("routes", having="follow")
    assert {kind.__name__ for kind in EMBEDDERS} == _defined("embedders", having="from_options")
    assert {kind.__name__ for kind in JUDGES} == _defined("judges", having="from_options")
    assert {kind.__name__ for kind in RETRIEVERS} == _defined("retrieval", having="from_options")
    assert {kind.__name__ for kind in PEOPLE} == _defined("people", having="from_options")
    upstreams = _defined("upstreams", having="encode") | _defined("upstreams", having="complete")
    assert {kind.__name__ for kind in UPSTREAMS} == upstreams
    graders = _defined("tuning/grading", having="grade") | _defined("tuning/grading", having="ask")
    assert {kind.__name__ for kind in GRADERS} == graders - {"Grader"}


def test_the_readme_lists_what_the_tuples_hold() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    names = [
        *(s.name for s in SIGNALS),
        *(s.name for s in SOURCES),
        *(u.kind for u in (*UPSTREAMS, *EMBEDDERS, *JUDGES, *RETRIEVERS, *PEOPLE)),
    ]
    names += [*(c.model_fields["kind"].default if hasattr(c, "model_fields") else c.kind for c in CALIBRATORS)]
    names += [r.action.value for r in ROUTES]
    assert not [name for name in names if f"`{name}`" not in readme]
    assert "@@" not in readme


def test_the_product_speaks_of_itself_alone() -> None:
    """No path of the machine it was written on, no host of a package index."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    listed = [ROOT / name for name in tracked] or [
        p for p in ROOT.rglob("*.py") if not {".venv", ".venv-vllm"} & set(p.parts)
    ]
    pattern = re.compile(r"(?<![\w.])/(?:" + "|".join(("wo" + "rk", "ro" + "ot", "ho" + "me", "tm" + "p")) + r")/\w")
    found = [
        str(path.relative_to(ROOT))
        for path in listed
        if path.suffix in {".py", ".md", ".toml", ".yaml", ".json", ".jsonl", ""} and path.is_file()
        if pattern.search(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert not found
