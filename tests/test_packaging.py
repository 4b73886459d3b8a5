"""Prompts, policies and the pocket model are found from a checkout, an editable install and a wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_SHOW = """
import gate, pathlib
from gate import prompts
gateway = gate.load_gateway("balanced")
print(pathlib.Path(gate.__file__).parent.parent)
print(prompts.locate("policies"))
print(gateway.name, len(gateway.void), gateway.certified)
print(gateway.ask(gate.Question.from_text("Where is Nanjing?"))[0].text)
"""


def _show(path: Path, cwd: Path) -> list[str]:
    """What a fresh interpreter that looks for ``gate`` in ``path`` finds; its other packages stay this one's."""
    places = [str(path), *(entry for entry in sys.path if entry.endswith("site-packages"))]
    # -S keeps the editable install of this environment out: its finder would win over the path
    done = subprocess.run(
        [sys.executable, "-S", "-c", _SHOW],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from this tree with the project's own build backend."""
    out = tmp_path_factory.mktemp("wheel")
    build = f"import hatchling.build as b; print(b.build_wheel({str(out)!r}))"
    done = subprocess.run([sys.executable, "-c", build], cwd=ROOT, capture_output=True, text=True, check=True)
    return out / done.stdout.split()[-1]


def test_from_a_checkout(tmp_path: Path) -> None:
    at, policies, *works = _show(ROOT, tmp_path)
    assert Path(at) == ROOT
    assert Path(policies) == ROOT / "policies"
    assert works == ["balanced 0 True", "China"]


def test_from_an_editable_install(tmp_path: Path) -> None:
    """The environment tests run in has one: no path is set, and the working directory is elsewhere."""
    done = subprocess.run([sys.executable, "-c", _SHOW], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    at, policies, *works = done.stdout.splitlines()
    assert Path(at) == ROOT
    assert Path(policies) == ROOT / "policies"
    assert works == ["balanced 0 True", "China"]


def test_from_a_wheel(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    at, policies, *works = _show(site, tmp_path)
    assert Path(at) == site
    assert Path(policies) == site / "gate" / "_data" / "policies"
    assert works == ["balanced 0 True", "China"]


def test_the_wheel_holds_the_package_its_data_and_licence_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"gate"}
    assert "gate/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    for size in ("small", "large"):
        assert {f"gate/pocket/{size}/model.onnx", f"gate/pocket/{size}/training.log.jsonl"} <= set(names)
    pages = ROOT / "gate" / "dashboard"
    shown = {str(p.relative_to(ROOT)) for kind in ("static/*", "templates/*.html") for p in pages.glob(kind)}
    assert len(shown) > 10
    assert shown <= set(names)
    shipped = {p.name for p in (ROOT / "prompts").glob("*.md")}
    assert {name.rpartition("/")[2] for name in names if name.startswith("gate/_data/prompts/")} == shipped
