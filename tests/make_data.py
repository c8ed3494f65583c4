"""Makes the tiny model files in tests/data: ``python tests/make_data.py``.

The only way these files change. A network of 3,000 parameters learns the drawn faces
for a moment and is exported like any other, so that the device tests have real model
files without a training library.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "tests" / "data"
BATCH, EPOCHS = 50, 12
sys.path.insert(0, str(ROOT))

from train.networks.backend import start_keras  # noqa: E402

start_keras()

import keras  # noqa: E402
from keras import layers  # noqa: E402

from edge_runtime.sources.fake.face import LABELS  # noqa: E402
from export.convert.formats import choose_formats  # noqa: E402
from export.exporter import export  # noqa: E402
from export.options import ExportOptions  # noqa: E402
from train.data.drawn_faces import drawn_faces  # noqa: E402


def tiny_network() -> keras.Model:
    """Returns an untrained network with folding, a residual addition and pooling."""
    inputs = keras.Input((48, 48, 1))
    x = layers.Rescaling(1 / 255)(inputs)
    for filters in (8, 16):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.8)(x)
        x = layers.ReLU()(x)
    shortcut = x
    x = layers.Conv2D(16, 3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.8)(x)
    x = layers.ReLU()(layers.Add()([x, shortcut]))
    x = layers.MaxPooling2D(3)(x)
    x = layers.Flatten()(x)
    return keras.Model(inputs, layers.Dense(len(LABELS))(x), name="tiny")


def main() -> None:
    """Trains, exports and writes."""
    keras.utils.set_random_seed(1)
    model = tiny_network()
    images, labels = drawn_faces(6000, 11)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    schedule = keras.optimizers.schedules.CosineDecay(0.02, EPOCHS * 6000 // BATCH)
    model.compile(keras.optimizers.Adam(schedule), loss, metrics=["accuracy"])
    model.fit(images[..., None], labels, batch_size=BATCH, epochs=EPOCHS, verbose=2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.keras"
        model.save(path)
        options = ExportOptions(
            choose_formats(None, int8=True), labels=LABELS, calibration_data="drawn"
        )
        result = export(str(path), options, print)
    DATA.mkdir(exist_ok=True)
    for file in result.files:
        (DATA / f"tiny{file.converted.suffix}").write_bytes(file.content)


if __name__ == "__main__":
    main()
