"""``train.data.dataset`` under the name that it had in version 0.1."""

import sys

from train.data import dataset

sys.modules[__name__] = dataset
