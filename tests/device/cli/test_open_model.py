"""Which models a run may be given while it runs, and by whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.cli.open_model import check_watched


@pytest.mark.parametrize(
    ("mode", "told"), [(0o777, True), (0o1777, True), (0o775, False)]
)
def test_folder_that_every_user_may_write_to_is_told(
    tmp_path: Path, mode: int, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    folder.chmod(mode)
    check_watched(folder)
    assert ("every user of this machine" in caplog.text) is told
