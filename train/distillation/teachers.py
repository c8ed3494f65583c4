"""Teachers: their answers to the very images that the student trains on.

After Hinton et al., "Distilling the knowledge in a neural network" (2015) and Beyer et
al., "Knowledge distillation: a good teacher is patient and consistent" (2022): teacher
and student see the same augmented and mixed image. The training feed repeats itself
after ``teacher_views`` epochs, so the teachers answer once for each of its batches. The
answers are cached for other runs, and saved in the run: resuming needs no teacher.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from edge_runtime.errors import OutputError, RunError
from edge_runtime.untrusted import require_regular
from edge_runtime.utils.files import replacing
from edge_runtime.utils.stderr import progress_counter
from train.data.dataset import Dataset
from train.data.sources import times_drawn
from train.data.splits import Split, pixel_hashes
from train.distillation.distill import order_hash
from train.feed import TrainingFeed
from train.options.config import TrainConfig
from train.run.folder import RUNS, RunFolder, find_model, read_labels
from train.run.results import predict_logits

CACHE = RUNS / ".answers"
ANSWERS = "answers.npy"
# The views are the same whatever the run's seed: runs with other seeds share answers.
VIEWS_SEED = 0
IMAGES_AT_ONCE = 4096
Answers = npt.NDArray[np.float16]


def teacher_answers(
    config: TrainConfig, data: Dataset, images: Split, feed: TrainingFeed
) -> Answers:
    """Returns the teachers' mean probabilities, float16 (batches, B, classes).

    Args:
        config: The teachers, the number of views and the temperature.
        data: The images, to check the teachers with.
        images: The training images of the feed.
        feed: The student's feed, from its first epoch; without answers.

    Raises:
        RunError: A teacher is missing, has another input or other classes, or was
            trained on evaluation images.
    """
    paths = [find_model(name) for name in config.teachers]
    models = [load_teacher(path, data) for path in paths]  # before the first answer
    batches = config.teacher_views * feed.steps_per_epoch
    mean = np.zeros(0)
    for name, path, model in zip(config.teachers, paths, models, strict=True):
        logits = _cached_logits(path, model, config, images, feed, batches)
        softened = logits.astype(np.float32) / config.teacher_temperature
        answers = softmax(softened, axis=2) / len(models)
        mean = mean + answers if mean.size else answers
        print(f"teacher {name}: {config.teacher_views} views of {len(images):,} images")
    return mean.astype(np.float16)


def save_answers(answers: Answers, run: RunFolder) -> None:
    """Writes the answers into the run's checkpoint."""
    run.checkpoint.mkdir(parents=True, exist_ok=True)
    _write(run.checkpoint / ANSWERS, answers)


def load_answers(run: RunFolder, shape: tuple[int, ...]) -> Answers:
    """Returns the answers that a run started with; its teachers are not needed.

    Raises:
        RunError: They are missing, damaged, or of another shape.
    """
    answers = _read(run.checkpoint / ANSWERS)
    if answers is None or answers.shape != shape:
        raise RunError(
            f"{run.path} cannot be resumed: {ANSWERS}, its teachers' answers, is"
            " missing, damaged, or of other images: start a new run"
        )
    return answers


def _cached_logits(
    path: Path,
    model: keras.Model,
    config: TrainConfig,
    images: Split,
    feed: TrainingFeed,
    batches: int,
) -> Answers:
    """Returns a teacher's logits, float16 (batches, B, classes), cached or computed."""
    cached = CACHE / f"{_key(path, config, images, batches)}.npy"
    shape = (batches, feed.batch_size, int(model.output_shape[-1]))
    logits = _read(cached)
    if logits is None or logits.shape != shape:
        logits = np.concatenate(list(_logits(model, feed, batches))).reshape(shape)
        try:
            cached.parent.mkdir(parents=True, exist_ok=True)
            _write(cached, logits)
        except (OSError, OutputError) as error:
            print(f"note: {cached} was not written: {error}")
    return logits


def _logits(model: keras.Model, feed: TrainingFeed, batches: int) -> Iterator[Answers]:
    at_once = max(1, IMAGES_AT_ONCE // feed.batch_size)
    with progress_counter(batches, "teacher", unit="batch") as step:
        for start in range(0, batches, at_once):
            numbers = range(start, min(start + at_once, batches))
            views = np.concatenate([feed[number][0] for number in numbers])
            yield predict_logits(model, views).astype(np.float16)
            step(len(numbers))


def _key(path: Path, config: TrainConfig, images: Split, batches: int) -> str:
    """Returns a hash of all that a teacher's logits depend on."""
    parts = {
        "teacher": hashlib.sha256(path.read_bytes()).hexdigest(),
        "images": order_hash(images),
        "augmentation": asdict(config.augmentation),
        "mixup": config.mixup,
        "cutmix": config.cutmix,
        "batch_size": config.batch_size,
        "batches": batches,
        "seed": VIEWS_SEED,
    }
    times = times_drawn(images, config.data_weights)
    if times is not None:
        parts["times"] = hashlib.sha256(times.tobytes()).hexdigest()
    if images.sources is not None:
        parts["sources"] = hashlib.sha256(images.sources.tobytes()).hexdigest()
        parts["match_appearance"] = config.used_match_appearance
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _read(path: Path) -> Answers | None:
    try:
        require_regular(path)
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError):
        return None
    usable = isinstance(array, np.ndarray) and array.dtype == np.float16
    return array if usable else None


def _write(path: Path, array: Answers) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def load_teacher(path: Path, data: Dataset) -> keras.Model:
    """Returns a teacher with this input and these classes that returns logits.

    Raises:
        RunError: It does not fit, cannot be loaded, or was trained on evaluation
            images.
    """
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its parsers raise
        raise RunError(f"cannot load the teacher {path}: {error}") from error
    expected, got = (None, *data.train.images.shape[1:]), model.input_shape
    if got != expected:
        raise RunError(f"teacher {path}: expected an input of {expected}, got {got}")
    classes, count = list(data.labels), model.output_shape[-1]
    labels = read_labels(path) or classes
    if model.output_shape != (None, len(classes)) or labels != classes:
        raise RunError(
            f"teacher {path}: expected the classes {', '.join(classes)} in this order,"
            f" got {', '.join(labels) if labels != classes else f'{count} classes'}"
        )
    if not _returns_logits(model):
        raise RunError(f"teacher {path}: expected logits, got probabilities")
    require_no_leak(path, data)
    return model


def require_no_leak(path: Path, data: Dataset, instead: str = "") -> None:
    """Raises RunError if a model was trained on evaluation images.

    A run records the pixels of some of its training images. A model outside of a run,
    or of another image size, cannot be checked and is accepted.

    Args:
        path: The model.
        data: The images.
        instead: Another way out, for the message.
    """
    run = RunFolder(path.parent)
    if not run.calibration.is_file():
        return
    trained = run.read_json(run.calibration).get("pixel_hashes", [])
    evaluated = {
        *pixel_hashes(data.validation.images),
        *pixel_hashes(data.test.images),
    }
    leaked = len(evaluated.intersection(trained))
    if leaked:
        raise RunError(
            f"{path}: expected a model trained on none of the validation and test"
            f" images, got one trained on at least {leaked} of them: give both"
            f" runs the same --validation and --seed{instead}"
        )


def _returns_logits(model: keras.Model) -> bool:
    last = model.layers[-1]
    linear = keras.activations.linear
    softmax_layer = isinstance(last, keras.layers.Softmax)
    return not softmax_layer and getattr(last, "activation", linear) is linear
