"""The configuration of a training run, saved in its folder."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from edge_runtime.errors import FerEdgeError, RunError
from edge_runtime.model_file.metadata import (
    CROP_MARGINS,
    LARGEST_SIZE_PX,
    check_word,
)
from edge_runtime.preprocessing import Colour, Fit
from train.data.augment import Augmentation
from train.data.dataset import Dataset, load
from train.data.decoding import Decoder
from train.data.vote_labels import VoteSource

Precision = Literal["float32", "bfloat16", "float16"]
ClassWeights = Literal["none", "sqrt", "balanced"]
LabelRule = Literal["majority", "probability"]
Keep = Literal["best", "latest"]
Optimizer = Literal["sgd", "adam", "adamw"]
SMALLEST_SIZE_PX = 16
FITS: tuple[Fit, ...] = get_args(Fit)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
ARCHITECTURE_NAMES = (
    "fer_resnet",
    "fer_plain",
    "fer_wide",
    "fer_lowres",
    "fer_small",
    "fer_tiny",
    "fer_teacher_resnet",
    "fer_teacher_vgg",
    "notebook_cnn",
    "mini_xception",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "mobilenet_v2",
    "mobilenet_v2_075",
    "mobilenet_v2_050",
    "mobilenet_v2_035",
)
# Networks that take --width and --depth.
SCALABLE_NAMES = (*(n for n in ARCHITECTURE_NAMES if n[:4] == "fer_"), "mini_xception")
WIDTHS, DEPTHS = (0.1, 4.0), (1, 8)
OWN_ARCHITECTURE = re.compile(r"[^:]+:[A-Za-z_]\w*")  # of the user: module:function
LABEL_RULES: tuple[LabelRule, ...] = get_args(LabelRule)
TUPLES = ("teachers", "drop_categories", "log", "more_data", "data_weights")
LOGS = ("tensorboard", "mlflow")
CLASS_WEIGHTS: tuple[ClassWeights, ...] = get_args(ClassWeights)


@dataclass(frozen=True)
class TrainConfig:
    """All options of a run; equal configuration and data give the same run.

    Attributes:
        data: Path of the image set as it was given, or ``"drawn"``.
        more_data: Paths of further image sets.
        data_weights: How often the images of each set are drawn in an epoch; empty: see
            ``train.data.sources.times_by_source``.
        match_appearance: How far the first set's images take on light, colour cast and
            sharpness of the further ones at most, 0 (not at all) to 1; see
            ``train.data.appearance``. Not with ``fit="pad"``, whose bars have no light.
        arch: One of ``train.networks.architectures.ARCHITECTURES``, or a function of
            the user's own: ``"module:function"`` or ``"path/to/file.py:function"``; see
            ``train.networks.own``.
        allow_float: The user's own network may have operators without an integer
            kernel, as with ``python -m export --allow-float``.
        width: Factor of the filters of every layer, for ``SCALABLE_NAMES``.
        depth: Factor of the number of blocks of every width, for the same.
        start_from: Run or ``.keras`` file to take the initial weights from, where the
            layers have the same shape; ``""`` for random weights.
        qat: Go on with the network of that run, and simulate its int8 file in every
            step; see ``train.quantization``.
        pretrained: Published weights to begin with: ``"imagenet"``, a file of them,
            ``"none"``, or ``"own"`` for those that the user's own function loads; see
            ``train.networks.pretrained``.
        epochs: Passes over the training images.
        batch_size: Images per step.
        head_views: Before the epochs the last layer is fitted on the features of the
            others for this many views of each image (the image itself, then augmented
            ones); 0 for no such fit.
        freeze_batch_norm: Keep BatchNorm as it is, where it was fitted to many more
            images than there are here.
        frozen_stride: Keep the layers whose output has at least this fraction, one
            over it, of the input's side: what they see, edges and textures, is the same
            in all photos, and their steps take the most time. 0 for none.
        first_layer_rate: Learning rate of the first layer as a share of the last's,
            (0, 1]; geometric between.
        patience: Epochs without a better validation accuracy after which the run ends;
            0 for all its epochs.
        keep: Which epoch's model is kept: ``"best"`` by validation accuracy, or the
            ``"latest"`` that is as good to a standard error.
        max_time_s: Seconds of training after which the run ends, with the epoch then
            finished; 0 without limit.
        optimizer: ``"sgd"`` (Nesterov, momentum 0.9), ``"adamw"`` or ``"adam"``.
        learning_rate: Peak learning rate, reached after the warm-up; then a cosine
            down to zero; constant with ``"adam"``.
        warmup_epochs: Epochs of linear rise from zero.
        weight_decay: Decoupled decay per step, times the learning rate; not on
            BatchNorm and biases. Ten times the value of frameworks in which it goes
            through the momentum.
        label_smoothing: Share of the target spread evenly over all classes, [0, 1).
        ema_epochs: Horizon in epochs of the moving average of the weights, which is
            validated and saved; at most a fifteenth of the run; 0 switches it off.
        teachers: Runs or ``.keras`` files whose answers are learnt beside the labels;
            see ``train.distillation.teachers``.
        teacher_share: Their share of the loss, [0, 1).
        teacher_temperature: Divides the logits of teachers and student in that share,
            1 to 20.
        teacher_views: Epochs after which the augmented images repeat, so that the
            teachers' answers can be computed once, 1 to 100.
        soft_labels: CSV of several raters' votes for the training images, or ``""``;
            see ``train.distillation.soft_labels``.
        soft_label_share: Their share of the target, [0, 1); with that of the teachers
            below 1.
        labels_from: CSV of several raters' votes that the labels come from, instead of
            the class folders, or ``""``; see ``train.data.vote_labels.label_by_votes``.
        label_rule: ``"majority"`` trains on these labels, ``"probability"`` on each
            label's share of the votes. Evaluation images have labels by majority.
        drop_categories: With ``labels_from`` the categories that are not labels (None:
            "unknown" and "NF"): images with more votes for one of them than for any
            label are left out. Without it training images with at least half of their
            ``soft_labels`` for one of them are left out.
        leave_out: CSV of images that are not used, or ``""``; see
            ``train.data.left_out.leave_out_marked``.
        mixup: Strength alpha of mixup, 0 for none: each image and its target are mixed
            with another's, in shares drawn from Beta(alpha, alpha) (Zhang et al.,
            "mixup: beyond empirical risk minimization", 2018). Useful are 0.1 to 0.4.
        cutmix: The same for CutMix, which puts a rectangle of another image into each
            (Yun et al., "CutMix", 2019), 1 or so. With both, each batch takes one.
        class_weights: ``"none"``, ``"balanced"`` (inverse frequency) or ``"sqrt"``
            (its square root).
        precision: Arithmetic of the training steps. The model is always validated and
            saved in float32.
        size_px: Side of the input in pixels; None takes it from the images.
        colour: ``"grey"`` or ``"rgb"``; None takes it from the images.
        fit: How images that are not square become square, on the device, too; see
            ``edge_runtime.preprocessing.to_model_input``.
        subject: What the images show, in one word; empty where it was not said.
        labels_are: What the labels are, in one word; empty where it was not said.
        validation_from: See ``train.data.dataset.load``.
        validation_frac: See ``train.data.dataset.load``.
        calibration_images: Number of training images recorded for quantization.
        crop_margin_frac: Margin around a detected face with which a camera's crop
            looks like these images, as a fraction of the box; see
            ``edge_runtime.preprocessing.square_box``.
        augmentation: Strength of the augmentation.
        log: Where the run is recorded beside its folder, of ``LOGS``; changes nothing
            in it.
        seed: Decides initial weights, order, augmentation, validation split and
            calibration images.
    """

    data: str = "drawn"
    more_data: tuple[str, ...] = ()
    data_weights: tuple[float, ...] = ()
    match_appearance: float = 1.0
    arch: str = "fer_resnet"
    allow_float: bool = False
    width: float = 1.0
    depth: int = 1
    start_from: str = ""
    qat: bool = False
    pretrained: str = "none"
    head_views: int = 0
    freeze_batch_norm: bool = False
    frozen_stride: int = 0
    first_layer_rate: float = 1.0
    patience: int = 0
    keep: Keep = "best"
    max_time_s: float = 0.0
    epochs: int = 30
    batch_size: int = 128
    optimizer: Optimizer = "sgd"
    learning_rate: float = 0.1
    warmup_epochs: float = 2.0
    weight_decay: float = 2e-3
    label_smoothing: float = 0.1
    ema_epochs: float = 2.0
    teachers: tuple[str, ...] = ()
    teacher_share: float = 0.3
    teacher_temperature: float = 2.0
    teacher_views: int = 8
    soft_labels: str = ""
    soft_label_share: float = 0.4
    labels_from: str = ""
    label_rule: LabelRule = "majority"
    drop_categories: tuple[str, ...] | None = None
    leave_out: str = ""
    mixup: float = 0.0
    cutmix: float = 0.0
    class_weights: ClassWeights = "none"
    precision: Precision = "float32"
    size_px: int | None = None
    colour: Colour | None = None
    fit: Fit = "stretch"
    subject: str = ""
    labels_are: str = ""
    validation_from: str = "auto"
    validation_frac: float = 0.1
    calibration_images: int = 420
    crop_margin_frac: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    log: tuple[str, ...] = ()
    seed: int = 1

    def __post_init__(self) -> None:
        """Raises FerEdgeError if a value is out of range."""
        low, high = CROP_MARGINS
        smallest, largest = SMALLEST_SIZE_PX, LARGEST_SIZE_PX
        size = smallest if self.size_px is None else self.size_px
        rate, decay = self.learning_rate, self.weight_decay
        smoothing, share = self.label_smoothing, self.validation_frac
        margin = self.crop_margin_frac
        known = self.arch in ARCHITECTURE_NAMES or is_own(self.arch)
        for word in filter(None, (self.subject, self.labels_are)):
            check_word(word)
        _require("a known --arch or module:function", known, self.arch)
        self._check_scale()
        _require("--learning-rate in (0, 1000]", 0 < rate <= 1000, rate)
        _require("--weight-decay in [0, 1)", 0 <= decay < 1, decay)
        _require("--label-smoothing in [0, 1)", 0 <= smoothing < 1, smoothing)
        _require("--mixup in [0, 10]", 0 <= self.mixup <= 10, self.mixup)
        _require("--cutmix in [0, 10]", 0 <= self.cutmix <= 10, self.cutmix)
        _require("--validation-frac in (0, 0.5]", 0 < share <= 0.5, share)
        _require(f"--crop-margin in {low}..{high}", low <= margin <= high, margin)
        _require(f"--size in {smallest}..{largest}", smallest <= size <= largest, size)
        unknown = [name for name in self.log if name not in LOGS]
        _require(f"--log of {', '.join(LOGS)}", not unknown, self.log)
        self._check_sources()
        first = self.first_layer_rate
        _require("a rate of the first layer in (0, 1]", 0 < first <= 1, first)
        _require("--from RUN with --qat", bool(self.start_from or not self.qat), "")
        exact = self.precision == "float32" or not self.qat
        _require("--precision float32 with --qat", exact, self.precision)
        self._check_shares()

    def _check_scale(self) -> None:
        (thin, wide), (flat, deep) = WIDTHS, DEPTHS
        _require(
            f"--width in {thin:g}..{wide:g}", thin <= self.width <= wide, self.width
        )
        _require(f"--depth in {flat}..{deep}", flat <= self.depth <= deep, self.depth)
        free = self.arch in SCALABLE_NAMES or (self.width, self.depth) == (1, 1)
        _require(
            f"--width and --depth with --arch of {', '.join(SCALABLE_NAMES)}",
            free,
            self.arch,
        )

    def _check_sources(self) -> None:
        weights, sets = self.data_weights, 1 + len(self.more_data)
        fits = not weights or len(weights) == sets
        _require(f"--data-weights of {sets} numbers, as many as --data", fits, weights)
        right = all(0 < weight <= 100 for weight in weights)
        _require("--data-weights above 0, at most 100", right, weights)
        most = self.match_appearance
        _require("--match-appearance in 0..1", 0 <= most <= 1, most)
        alone = not (self.more_data and self.labels_from)
        _require("one --data with --labels-from", alone, self.more_data)

    def _check_shares(self) -> None:
        teachers, votes = self.teacher_share, self.soft_label_share
        both = teachers * bool(self.teachers) + votes * bool(self.soft_labels)
        no_votes = self.drop_categories and not (self.soft_labels or self.labels_from)
        no_rule = self.label_rule != "majority" and not self.labels_from
        heat, views = self.teacher_temperature, self.teacher_views
        _require("--teacher-share in [0, 1)", 0 <= teachers < 1, teachers)
        _require("--teacher-temperature in 1..20", 1 <= heat <= 20, heat)
        _require("--teacher-views in 1..100", 1 <= views <= 100, views)
        _require("--soft-label-share in [0, 1)", 0 <= votes < 1, votes)
        _require("a sum of both shares below 1", both < 1, both)
        _require(
            "--labels-from or --soft-labels with --drop-category",
            not no_votes,
            self.soft_labels,
        )
        rules = ", ".join(LABEL_RULES)
        rule = self.label_rule
        _require(f"--label-rule of {rules}", rule in LABEL_RULES, rule)
        _require("--labels-from with --label-rule", not no_rule, self.labels_from)

    @property
    def network(self) -> str:
        """The network in words: its name, and its scale where it has one."""
        words = [arch_name(self.arch)]
        words += [f"width {self.width:g}"] if self.width != 1 else []
        words += [f"depth {self.depth}"] if self.depth != 1 else []
        return ", ".join(words)

    @property
    def has_soft_targets(self) -> bool:
        """Whether the targets are more than the labels."""
        return bool(self.soft_labels) or self.label_rule == "probability"

    @property
    def used_teacher_share(self) -> float:
        """The teachers' share of the loss; 0 without teachers."""
        return self.teacher_share if self.teachers else 0.0

    @property
    def used_match_appearance(self) -> float:
        """How far images take on the appearance of others; 0 where bars pad them."""
        return 0.0 if self.fit == "pad" else self.match_appearance

    @property
    def votes(self) -> VoteSource | None:
        """The votes that the labels come from; None for class folders."""
        if not self.labels_from:
            return None
        return VoteSource(self.labels_from, self.drop_categories)

    @property
    def tables(self) -> tuple[str, ...]:
        """The CSV files that say which images are used, and as what."""
        return tuple(path for path in (self.labels_from, self.leave_out) if path)

    def load_images(self, decoder: Decoder | None = None) -> Dataset:
        """Returns the image set; see ``train.data.dataset.load`` for the errors.

        Args:
            decoder: How they are decoded and kept: the result is the same.
        """
        return load(
            self.data,
            size_px=self.size_px,
            colour=self.colour,
            fit=self.fit,
            validation_from=self.validation_from,
            validation_frac=self.validation_frac,
            seed=self.seed,
            votes=self.votes,
            leave_out=self.leave_out,
            more=self.more_data,
            decoder=decoder,
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the configuration, JSON-ready."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """Returns the configuration from a result of ``to_dict``.

        Raises:
            RunError: A key is unknown, as from a newer version.
        """
        try:
            augmentation = Augmentation(**values.get("augmentation", {}))
            values = _of_older_version(values)
            tuples = {
                name: tuple(values[name])
                for name in TUPLES
                if values.get(name) is not None
            }
            config = cls(**{**values, "augmentation": augmentation, **tuples})
        except (TypeError, AttributeError) as error:
            raise RunError(f"config.json is not of this version: {error}") from error
        config._require_types()
        return config

    def _require_types(self) -> None:
        """Raises RunError if a value is of another type than its default."""
        for field_ in dataclasses.fields(self):
            value, default = getattr(self, field_.name), field_.default
            kinds = (int, float) if isinstance(default, float) else type(default)
            known = default is not None and default is not dataclasses.MISSING
            same = isinstance(value, bool) == isinstance(default, bool)  # True is 1
            if known and not (same and isinstance(value, kinds)):
                raise RunError(
                    f"config.json: expected {field_.name} as {default!r}, got {value!r}"
                )


def is_own(arch: str) -> bool:
    """Returns whether an architecture is a function of the user's own."""
    return OWN_ARCHITECTURE.fullmatch(arch) is not None


def arch_name(arch: str) -> str:
    """Returns an architecture's name, without the path of the user's own file."""
    source, _, function = arch.rpartition(":")
    if source.endswith(".py"):
        source = Path(source).stem
    return f"{source}:{function}" if source else function


def _of_older_version(values: dict[str, Any]) -> dict[str, Any]:
    """Returns the values of an older run, as this version names and reads them."""
    values = dict(values)
    if category := values.pop("drop_category", ""):
        values["drop_categories"] = [category]
    if values.get("more_data"):
        values.setdefault("match_appearance", 0.0)
    return values


def _require(expected: str, holds: bool, got: object) -> None:
    # Comparisons with NaN are false, so NaN is refused too.
    if not holds:
        raise FerEdgeError(f"expected {expected}, got {got!r}")
