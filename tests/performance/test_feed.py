"""The training feed is many times as fast as the notebook's."""

import pytest

from tests.performance.feed import feeds, measure_feeds

# Keras' old ImageDataGenerator imports from where scipy no longer wants it.
pytestmark = pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")


def test_our_feed_is_many_times_as_fast_as_the_notebooks_per_core():
    """Processor time: measured at 10.9 times with the same changes, so 5 has room.

    With all our own at 5.7 by the command, and at 3.9 to 4.8 in here: 3 has room.
    """
    notebook, ours, own_changes = measure_feeds(feeds(), 0.4)
    assert notebook["per_core_to_first"]["median"] == 1
    assert ours["per_core_to_first"]["median"] >= 5
    assert own_changes["per_core_to_first"]["median"] >= 3
