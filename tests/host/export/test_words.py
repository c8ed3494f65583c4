"""Which words of the task an exported file says."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")

from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.model_file.released import find_released
from export.trained_model import TrainedModel, with_words
from train.options.config import TrainConfig

PETS = ("cat", "dog")


def words(
    subject: str | None = None,
    labels_are: str | None = None,
    *,
    labels: tuple[str, ...] = PETS,
    size_px: int = 224,
    config: TrainConfig | None = None,
) -> tuple[str | None, str | None]:
    spec = ModelSpec(labels, size_px, "rgb")
    trained = TrainedModel("pets", None, Path("pets.keras"), spec, None, config)
    spec = with_words(trained, subject, labels_are).spec
    assert ModelSpec.from_document(spec.to_document()) == spec
    return spec.subject, spec.labels_are


def test_photos_show_objects_and_small_images_say_nothing() -> None:
    assert words() == ("object", "label")
    assert words(size_px=48) == (None, None)
    assert words(labels=find_released().labels) == (None, None)


def test_words_of_the_run_are_used_and_those_of_the_export_before_them() -> None:
    config = TrainConfig(subject="animal", labels_are="species")
    assert words(config=config) == ("animal", "species")
    assert words("pet", config=config) == ("pet", "species")
    assert TrainConfig.from_dict(config.to_dict()) == config


def test_one_word_is_enough() -> None:
    assert words("face") == ("face", "expression")
    assert words("bottle") == ("bottle", "label")
    assert words(None, "material") == ("object", "material")


@pytest.mark.parametrize("command", ["train", "export"])
def test_other_than_a_word_is_one_line(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module = __import__(f"{command}.__main__", fromlist=["main"])
    with pytest.raises(SystemExit) as ended:
        module.main(["--subject", "No Word!"])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "small letters" in line
