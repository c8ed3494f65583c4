"""The loss of a student: its target, and its teachers' answers at a temperature.

The feed appends the answers to the targets: ``y_true`` is (B, 2 * classes) then.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class DistillationLoss(keras.losses.Loss):
    """``(1 - t) CE(target, z) + t T^2 CE(answers, z / T)`` of logits z.

    T squared keeps the gradients of both parts at the same size, as in Hinton et al.,
    "Distilling the knowledge in a neural network" (2015).
    """

    def __init__(self, share: float, temperature: float) -> None:
        """Takes the teachers' share t of the loss and the temperature T."""
        super().__init__(name="distillation")
        self._share, self._temperature = share, temperature

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each image, (B,).

        Args:
            y_true: (B, 2 * classes), target and answers side by side.
            y_pred: (B, classes), logits.
        """
        target, answers = ops.split(ops.cast(y_true, y_pred.dtype), 2, axis=-1)
        entropy = keras.losses.categorical_crossentropy
        softened = y_pred / self._temperature
        of_target = entropy(target, y_pred, from_logits=True)
        of_answers = entropy(answers, softened, from_logits=True)
        scale = self._share * self._temperature**2
        return (1 - self._share) * of_target + scale * of_answers


def target_accuracy(y_true: Any, y_pred: Any) -> Any:
    """Returns whether each prediction is the target's largest class, (B,)."""
    target = y_true[:, : y_pred.shape[-1]]
    return ops.cast(
        ops.equal(ops.argmax(target, axis=-1), ops.argmax(y_pred, axis=-1)), "float32"
    )
