"""Folders: which files are found, under which names."""

from __future__ import annotations

from pathlib import Path

import pytest

from gate.errors import ConfigError
from gate.retrieval.folders import listed
from tests.retrieval.indexes import folder


def test_files_are_known_by_the_folder_that_was_given(tmp_path: Path) -> None:
    folder(
        tmp_path / "docs",
        {"b.md": "", "a/c.txt": "", ".hidden/x.md": "", ".y.md": "", "z.png": "", "z2.png": "", "Makefile": ""},
    )
    folder(tmp_path, {"single.md": ""})
    listing = listed([tmp_path / "docs", tmp_path / "single.md"])
    assert list(listing.files) == ["docs/a/c.txt", "docs/b.md", "single.md"]
    assert listing.other_kinds == {".png": 2, "(none)": 1}
    assert not listing.left_out


def test_links_are_followed_once_and_never_in_a_circle(tmp_path: Path) -> None:
    docs = folder(tmp_path / "docs", {"a/one.md": "", "b/two.md": ""})
    (docs / "a" / "up").symlink_to(docs)
    (docs / "b" / "beside").symlink_to(docs / "a")
    (docs / "again.md").symlink_to(docs / "a" / "one.md")
    (docs / "nowhere.md").symlink_to(docs / "gone.md")
    listing = listed([docs, docs / "a"])
    assert list(listing.files) == ["docs/a/one.md", "docs/b/two.md"]
    assert [(each.where, each.reason) for each in listing.left_out] == [
        ("docs/a/up", "is a link that leads back to a folder above it"),
        ("docs/nowhere.md", "is a link that leads nowhere"),
    ]


def test_a_name_that_cannot_be_written_is_left_out(tmp_path: Path) -> None:
    try:
        (tmp_path / "a\udcff.md").write_text("x")
    except OSError:
        pytest.skip("this file system takes no such name")
    listing = listed([tmp_path])
    assert not listing.files
    assert "has a name that cannot be written" in listing.left_out[0].reason


def test_roots_that_are_not_there_or_share_a_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder or file"):
        listed([tmp_path / "gone"])
    folder(tmp_path, {"a/docs/x.md": "", "b/docs/x.md": ""})
    with pytest.raises(ConfigError, match="have the same name"):
        listed([tmp_path / "a" / "docs", tmp_path / "b" / "docs"])
    assert list(listed([tmp_path / "a" / "docs"] * 2).files) == ["docs/x.md"]
