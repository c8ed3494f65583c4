"""The benchmarks that ``make bench`` does not run at least show their help."""

import importlib

import pytest


@pytest.mark.parametrize(
    "name",
    ["audit", "camera_faces", "feed", "large_set", "level", "photos", "pipeline"],
)
def test_benchmark_shows_its_help(name, capsys):
    module = importlib.import_module(f"tests.performance.{name}")
    with pytest.raises(SystemExit) as ended:
        module.main(["--help"])
    assert not ended.value.code
    assert f"usage: python -m tests.performance.{name}" in capsys.readouterr().out
