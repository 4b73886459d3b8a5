"""PDF files: text page by page, and files that hold none."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest

from gate.errors import ConfigError, MissingExtra
from gate.retrieval.chunking import chunks
from gate.retrieval.pdf import document
from tests.retrieval.pdfs import pdf

pypdf = pytest.importorskip("pypdf", reason="pypdf is an extra")


def written(folder: Path, content: bytes) -> Path:
    path = folder / "a.pdf"
    path.write_bytes(content)
    return path


def test_passages_know_their_page(tmp_path: Path) -> None:
    made = document(written(tmp_path, pdf(["Press the button.", "", "Wait."], "Manual")), "a")
    found = list(chunks(made))
    assert [(c.title, c.text) for c in found] == [
        ("Manual › page 1", "Press the button."),
        ("Manual › page 3", "Wait."),
    ]
    assert all(made.text[c.start : c.start + len(c.text)] == c.text for c in found)
    assert document(written(tmp_path, pdf(["x"])), "a").title == "a"


def locked() -> bytes:
    writer = pypdf.PdfWriter(BytesIO(pdf(["secret"])))
    writer.encrypt("known", algorithm="RC4-128")
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pdf(["", ""]), "holds no text: scanned"),
        (b"%PDF-1.4 and then nothing", "no PDF that can be read"),
        (b"\x00\xff" * 500, "no PDF that can be read"),
        (pdf(["x"])[:-400], "no PDF that can be read|holds no text"),
        (locked(), "locked by a password"),
    ],
    ids=["scanned", "cut", "junk", "half", "locked"],
)
def test_what_cannot_be_read_is_refused_with_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        document(written(tmp_path, content), "a")


def test_without_the_package_its_line_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gate.retrieval.pdf.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'gate-llm\[documents\]'"):
        document(tmp_path / "a.pdf", "a")
