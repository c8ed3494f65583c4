"""The recipes of ``--recipe``: sets of defaults, each for a purpose."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from train.data.augment import (
    NO_AUGMENTATION,
    NOTEBOOK_AUGMENTATION,
    PHOTO_AUGMENTATION,
    Augmentation,
)
from train.options.config import TrainConfig


@dataclass(frozen=True)
class Recipe:
    """A configuration whose values flags can change.

    Attributes:
        purpose: Purpose, and the time on two CPU cores with 28,000 images of 48x48
            pixels.
        config: The configuration.
    """

    purpose: str
    config: TrainConfig


RECIPES = {
    "standard": Recipe(
        "a sound start with thousands of images; an hour", TrainConfig()
    ),
    "long": Recipe(
        "twice the epochs, when accuracy counts; two hours",
        TrainConfig(epochs=60, warmup_epochs=3.0),
    ),
    "released": Recipe(
        "that of fer2013, with --from, --teacher and --soft-labels; in bfloat16,"
        " which CPUs without AVX-512 BF16 or AMX compute slowly; 1.7 hours",
        TrainConfig(
            epochs=60,
            warmup_epochs=3.0,
            learning_rate=0.06,  # its initial weights are those of a run of "long"
            precision="bfloat16",
            teacher_share=0.2,
            soft_label_share=0.4,
        ),
    ),
    # BatchNorm stays as it is: its statistics are those of a million photos.
    "transfer": Recipe(
        "photos, from a few hundred on: begins with a network trained on ImageNet;"
        " 1,500 photos take 10 minutes",
        TrainConfig(
            arch="efficientnet_lite0",
            epochs=20,
            batch_size=16,
            optimizer="adamw",
            learning_rate=6e-4,
            first_layer_rate=0.1,
            warmup_epochs=1.0,
            weight_decay=0.02,
            ema_epochs=0.6,
            head_views=2,
            freeze_batch_norm=True,
            frozen_stride=4,
            mixup=0.2,
            cutmix=1.0,
            patience=8,
            keep="latest",
            augmentation=PHOTO_AUGMENTATION,
        ),
    ),
    # Few epochs are not enough for strong augmentation.
    "quick": Recipe(
        "a first look, less accurate; half an hour",
        TrainConfig(
            epochs=18,
            warmup_epochs=1.0,
            ema_epochs=1.0,
            augmentation=Augmentation(
                rotation_deg=10,
                shift_frac=0.08,
                zoom_frac=0.1,
                shear_frac=0.05,
                brightness_frac=0.1,
                contrast_frac=0.2,
                erase_probability=0.25,
                camera_probability=0.1,
            ),
        ),
    ),
    # Two minutes on two cores without AVX-512: a small network, small batches, no
    # average of the weights.
    "demo": Recipe(
        "to see that everything works, on drawn faces; two minutes",
        TrainConfig(
            arch="fer_small",
            epochs=5,
            batch_size=64,
            learning_rate=0.05,
            warmup_epochs=0.5,
            ema_epochs=0.0,
            label_smoothing=0.05,
            augmentation=dataclasses.replace(
                NO_AUGMENTATION, flip=True, shift_frac=0.06, zoom_frac=0.05
            ),
        ),
    ),
    "notebook": Recipe(
        "the origin project's network as it was trained, to compare with; six hours",
        TrainConfig(
            arch="notebook_cnn",
            epochs=60,
            optimizer="adam",
            learning_rate=1e-4,
            weight_decay=0.0,
            label_smoothing=0.0,
            ema_epochs=0.0,
            augmentation=NOTEBOOK_AUGMENTATION,
        ),
    ),
}
