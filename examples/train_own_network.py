"""Trains a network of your own, with a Keras callback, and records it for TensorBoard.

python examples/train_own_network.py photos/

``photos/`` has one folder per class. The network is the function below: from pixels to
features. ``tensorboard --logdir runs`` shows the curves while it learns.
"""

import sys

import keras
from keras import layers

import train


def features(x):
    """Returns the features of pixels in 0..1: (N, H, W, C) to (N, 64)."""
    for filters in (16, 32, 64):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    return layers.GlobalAveragePooling2D()(x)


class PrintLoss(keras.callbacks.Callback):
    """Prints the validation loss of each epoch."""

    def on_epoch_end(self, epoch, logs=None):
        """Prints a line."""
        print(f"epoch {epoch + 1}: validation loss {logs['val_loss']:.3f}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    config = train.TrainConfig(
        data=sys.argv[1],
        arch=f"{__file__}:features",
        epochs=3,
        batch_size=16,
        learning_rate=0.05,
        log=("tensorboard",),
    )
    result = train.fit(config, callbacks=[PrintLoss()])
    print(f"python -m export {result.path} --int8")
