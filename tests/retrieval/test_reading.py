"""Files by the endings of their names, and those that are refused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from gate.errors import ConfigError
from gate.retrieval.documents import Document
from gate.retrieval.reading import documents
from tests.retrieval.pdfs import pdf


def read(folder: Path, name: str, content: bytes | str, max_bytes: int = 10_000) -> list[Document]:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return [each for each in documents(path, max_bytes) if isinstance(each, Document)]


@pytest.mark.parametrize(
    ("name", "content", "title"),
    [
        ("a.md", "# Title\ntext", "Title"),
        ("a.TXT", "\ufefftext", "a"),
        ("a.html", "<title>Title</title><p>text", "Title"),
        ("a.jsonl", '{"id": "1", "text": "text", "title": "Title"}', "Title"),
        ("a.pdf", pdf(["text"], "Title"), "Title"),
        ("a.htm", '<meta charset="cp1252"><title>Größe</title><p>text'.encode("cp1252"), "Größe"),
    ],
)
def test_each_kind_is_read(tmp_path: Path, name: str, content: bytes | str, title: str) -> None:
    (only,) = read(tmp_path, name, content)
    assert only.title == title
    assert "text" in only.text
    assert not only.text.startswith("\ufeff")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", "", "is empty"),
        ("a.md", " \n\t\n", "is empty"),
        ("a.txt", b"Gr\xf6\xdfe", r"is not UTF-8 \(byte 3\)"),
        ("a.md", b"a\x00b", "is binary"),
        ("a.txt", "x" * 10_001, r"has 0 MB, more than the 0.01 of --max-file-mb"),
        ("a.html", "<script>x</script>", "holds no text"),
        ("a.html", b'<meta charset="ascii">\xff', "not in the encoding it declares, 'ascii'"),
        ("a.html", b'<meta charset="no-such">\xff', "not in the encoding it declares, 'no-such'"),
        ("a.docx", "x", "none of the kinds that are read"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(
    tmp_path: Path, name: str, content: bytes | str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        read(tmp_path, name, content)


def test_a_file_that_is_gone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        list(documents(tmp_path / "gone.md", 100))
