"""Folders that are made once, and what is said where they cannot be."""

import pytest

from tests.arm64.cache import UnavailableError, cached, need, run


def fill(folder):
    (folder / "content").write_text("made", encoding="ascii")


def refuse(folder):
    (folder / "content").write_text("half", encoding="ascii")
    raise UnavailableError("no network")


def test_folder_is_not_made_again(tmp_path):
    cached(tmp_path / "a", "recipe", fill)
    assert (cached(tmp_path / "a", "recipe", refuse) / "content").exists()


def test_folder_is_made_again_when_its_recipe_changes(tmp_path):
    first = cached(tmp_path / "a", "recipe", fill)
    (first / "old").touch()
    assert not (cached(tmp_path / "a", "another", fill) / "old").exists()


def test_folder_that_could_not_be_filled_is_not_there(tmp_path):
    with pytest.raises(UnavailableError):
        cached(tmp_path / "a", "recipe", refuse)
    assert not (tmp_path / "a").exists()


def test_program_that_is_missing_is_named():
    with pytest.raises(UnavailableError, match="this machine has no no-such-program"):
        need("sh", "no-such-program")


def test_program_that_fails_is_quoted():
    with pytest.raises(UnavailableError, match="sh failed: out of milk"):
        run(["sh", "-c", "echo first >&2; echo out of milk >&2; exit 3"])
