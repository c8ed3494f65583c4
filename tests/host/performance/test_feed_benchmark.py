"""The benchmark of the training feed runs, on little."""

import json

import numpy as np
import pytest

from tests.performance import feed as feed_benchmark
from tests.performance.feed import Feed, feeds, main, measure_feeds, measure_steps

# Keras' old ImageDataGenerator imports from where scipy no longer wants it.
pytestmark = pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")


def test_every_feed_makes_a_batch_of_the_same_shape():
    for feed in feeds():
        images, targets, *_ = feed.batch(1)
        assert images.shape == (64, 48, 48, 1), feed.name
        assert np.allclose(targets.sum(axis=1), 1), feed.name


def test_feed_changes_the_images():
    ours = feeds()[1].batch
    assert not np.array_equal(ours(0)[0], ours(32)[0])


def test_slower_feed_has_a_ratio_below_one():
    def work(amount):
        return lambda number: sum(range(amount))

    quick, slow = measure_feeds(
        [Feed("a", work(20_000)), Feed("b", work(200_000))], 0.1
    )
    assert quick["per_core"] > slow["per_core"]
    assert slow["per_core_to_first"]["median"] < 0.5


def test_training_steps_are_timed():
    (row,) = measure_steps("fer_small", 0.1, ["float32"])
    assert row["precision"] == "float32"
    assert row["images_per_second"] > 0


def test_command_writes_its_document(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(feed_benchmark, "measure_feeds", lambda feeds, seconds: [])
    out = tmp_path / "feed.json"
    assert main(["--json", str(out), "--seconds", "1"]) == 0
    assert json.loads(out.read_text())["schema"] == "fer-edge/feed/1"
    assert main(["--json", str(out)]) == 2
    assert "--force" in capsys.readouterr().err


def test_unknown_architecture_ends_with_2():
    with pytest.raises(SystemExit) as ended:
        main(["--steps", "--arch", "nowhere"])
    assert ended.value.code == 2
