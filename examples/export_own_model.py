"""Exports a Keras model of your own to int8 TFLite and ONNX, and loads the result.

python examples/export_own_model.py photos/ model.keras

``photos/`` has one folder per class. The model here is a small one that is trained on
the spot; any image classifier with logits or a softmax at its end will do.
"""

import subprocess
import sys
from pathlib import Path

import keras

from edge_runtime import Classifier, read_image

if len(sys.argv) != 3:
    sys.exit(__doc__)
photos, path = Path(sys.argv[1]), Path(sys.argv[2])
images = keras.utils.image_dataset_from_directory(photos, image_size=(64, 64), seed=0)
model = keras.Sequential(
    [
        keras.Input((64, 64, 3)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
        keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(len(images.class_names)),
    ]
)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile("adam", loss, metrics=["accuracy"])
model.fit(images, epochs=5, verbose=2, shuffle=False)  # the data set shuffles
model.save(path)

command = [sys.executable, "-m", "export", path, "--int8", "--out", path.parent]
command += ["--labels", ",".join(images.class_names), "--calibration-data", photos]
subprocess.run([str(part) for part in command], check=True)

classifier = Classifier.load(path.with_suffix(".int8.tflite"))
example = next(photos.glob("*/*"))
prediction = classifier.predict(read_image(example))
print(f"{example}: {prediction.label} ({prediction.confidence:.0%})")
