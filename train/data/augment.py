"""Augmentation of training images: geometry, light, erasing, and a cheap camera.

Works on uint8 batches with numpy and cv2, outside the model and the exported graph.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Augmentation:
    """Strength of each change; zero switches it off.

    Attributes:
        flip: Mirror half of the images left to right.
        rotation_deg: Rotation drawn from -x to +x degrees.
        shift_frac: Shift drawn from -x to +x of the side, in both directions.
        zoom_frac: Scale drawn from 1-x to 1+x.
        crop_area_frac: Before all that a part of the image, of x to all of its area and
            3:4 to 4:3 in shape, is stretched to the whole (Szegedy et al., "Going
            deeper with convolutions", 2014); 1 for none.
        shear_frac: Horizontal shear drawn from -x to +x.
        brightness_frac: Added to the pixels: -x to +x of 255.
        contrast_frac: Pixels scaled around their mean by 1-x to 1+x.
        hue_deg: Hue turned by -x to +x degrees; not on grey images.
        saturation_frac: Saturation scaled by 1-x to 1+x; not on grey images.
        erase_probability: Share of images of which a rectangle of 2 to 20 % of the
            area is replaced by noise (Zhong et al., "Random erasing", 2017).
        camera_probability: Share of images with two of the defects of a cheap camera:
            blur, loss of resolution, sensor noise and JPEG.
    """

    flip: bool = True
    rotation_deg: float = 15.0
    shift_frac: float = 0.1
    zoom_frac: float = 0.15
    crop_area_frac: float = 1.0
    shear_frac: float = 0.1
    brightness_frac: float = 0.2
    contrast_frac: float = 0.3
    hue_deg: float = 0.0
    saturation_frac: float = 0.0
    erase_probability: float = 0.5
    camera_probability: float = 0.2

    def scaled(self, factor: float) -> Augmentation:
        """Returns every change but the mirror at ``factor`` times its strength.

        Args:
            factor: 0 to 2; shares of images end at all of them, and a crop at a tenth.
        """
        scaled = {name: factor * value for name, value in asdict(self).items()}
        for name in ("erase_probability", "camera_probability"):
            scaled[name] = min(1.0, scaled[name])
        crop = max(0.1, 1 - factor * (1 - self.crop_area_frac))
        return replace(self, **{**scaled, "flip": self.flip, "crop_area_frac": crop})


NO_AUGMENTATION = Augmentation(
    flip=False,
    rotation_deg=0,
    shift_frac=0,
    zoom_frac=0,
    shear_frac=0,
    brightness_frac=0,
    contrast_frac=0,
    erase_probability=0,
    camera_probability=0,
)
# The origin project's: rotation 20 degrees, shift .2, shear .2 degrees (its unit was
# degrees), zoom .2, mirror, nearest fill.
NOTEBOOK_AUGMENTATION = Augmentation(
    rotation_deg=20,
    shift_frac=0.2,
    zoom_frac=0.2,
    shear_frac=math.radians(0.2),
    brightness_frac=0,
    contrast_frac=0,
    erase_probability=0,
    camera_probability=0,
)

# Photos: any distance, light and camera; colours keep their meaning.
PHOTO_AUGMENTATION = Augmentation(
    shift_frac=0,
    zoom_frac=0,
    crop_area_frac=0.35,
    brightness_frac=0.1,
    contrast_frac=0.2,
    hue_deg=10,
    saturation_frac=0.3,
    erase_probability=0.25,
    camera_probability=0.1,
)
# Luma and the two axes of chroma of the NTSC standard (1953).
RGB_TO_YIQ = np.array(
    [[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]]
)


class Part(NamedTuple):
    """Some images of a batch; other processes change the others.

    Attributes:
        rows: Which, int64 (n,), ascending.
        of: Images of the whole batch.
    """

    rows: Indices
    of: int


def augment(
    images: Images,
    strength: Augmentation,
    rng: np.random.Generator,
    part: Part | None = None,
) -> Images:
    """Returns randomly changed copies of the images.

    Args:
        images: uint8 (N, H, W, C), 0..255; not modified.
        strength: How strong each change is.
        rng: Source of all randomness; the same state gives the same pixels, and is
            left in the same state whatever the part.
        part: Where in a batch the images are; None for all of it. Each is changed as in
            the whole batch.

    Returns:
        uint8 (N, H, W, C), 0..255.
    """
    if part is None:
        part = Part(np.arange(len(images)), len(images))
    changed = _warp(images, strength, rng, part)
    changed = _light(changed, strength, rng, part)
    changed = _colour(changed, strength, rng, part)
    places = {row: place for place, row in enumerate(part.rows.tolist())}
    degraded = np.flatnonzero(rng.random(part.of) < strength.camera_probability)
    for row in degraded.tolist():
        if row in places:
            changed[places[row]] = degrade(changed[places[row]], rng)
        else:
            _pass_over(images.shape[1:], rng)
    erased = np.flatnonzero(rng.random(part.of) < strength.erase_probability)
    _erase(changed, erased, rng, places)
    return changed


def _warp(
    images: Images, strength: Augmentation, rng: np.random.Generator, part: Part
) -> Images:
    """Returns the images rotated, scaled, sheared, shifted and mirrored at once."""
    count, (height, width) = part.of, images.shape[1:3]
    angle = np.radians(strength.rotation_deg) * rng.uniform(-1, 1, count)
    zoom = 1 + strength.zoom_frac * rng.uniform(-1, 1, count)
    shear = strength.shear_frac * rng.uniform(-1, 1, count)
    shift = strength.shift_frac * rng.uniform(-1, 1, (count, 2)) * (width, height)
    mirror = np.where(strength.flip & (rng.random(count) < 0.5), -1.0, 1.0)
    cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
    matrices = np.empty((count, 2, 3))
    matrices[:, 0, 0] = cos * mirror
    matrices[:, 0, 1] = shear * cos - sin
    matrices[:, 1, 0] = sin * mirror
    matrices[:, 1, 1] = shear * sin + cos
    # Rotate about the centre of the image, not about its corner.
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    matrices[:, :, 2] = centre - matrices[:, :, :2] @ centre + shift
    if strength.crop_area_frac < 1:
        matrices = _crop(matrices, strength.crop_area_frac, (width, height), rng)
    warped = np.empty(images.shape, np.uint8)  # cv2 writes into contiguous memory only
    for image, matrix, target in zip(images, matrices[part.rows], warped, strict=True):
        cv2.warpAffine(
            image,
            matrix,
            (width, height),
            dst=target,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
    return warped


def _crop(
    matrices: npt.NDArray[np.float64],
    area_frac: float,
    size_wh: tuple[int, int],
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """Returns affine maps, float64 (N, 2, 3), after a crop that fills the image."""
    count = len(matrices)
    area = rng.uniform(area_frac, 1, count)
    ratio = np.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3), count))
    part = np.stack([np.sqrt(area * ratio), np.sqrt(area / ratio)], axis=1).clip(max=1)
    # Pixel centres lie at whole numbers, so the image reaches from -1/2 to w - 1/2.
    corner = rng.random((count, 2)) * (1 - part) * size_wh - 0.5
    cropped = matrices.copy()
    cropped[:, :, :2] /= part[:, None, :]
    start = (-0.5 - corner / part)[:, :, None]
    cropped[:, :, 2] += (matrices[:, :, :2] @ start)[:, :, 0]
    return cropped


def _light(
    images: Images, strength: Augmentation, rng: np.random.Generator, part: Part
) -> Images:
    """Returns the images with brightness and contrast changed, one value per image.

    A pixel has 256 values, so each image gets a look-up table.
    """
    if not strength.brightness_frac and not strength.contrast_frac:
        return images
    of_all = (part.of, 1)
    gain = 1 + strength.contrast_frac * rng.uniform(-1, 1, of_all).astype("f4")
    offset = 255 * strength.brightness_frac * rng.uniform(-1, 1, of_all)
    if not len(images):
        return images
    gain, offset = gain[part.rows], offset[part.rows]
    pixels = images.reshape(len(images), -1)
    total = cv2.reduce(pixels, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)
    mean = np.asarray(total, np.float32) / np.float32(pixels.shape[1])
    tables = (np.arange(256, dtype=np.float32) - mean) * gain + mean
    tables += offset.astype(np.float32)
    tables = np.clip(np.rint(tables), 0, 255).astype(np.uint8)
    lit = np.empty(images.shape, np.uint8)
    for image, table, target in zip(images, tables, lit, strict=True):
        cv2.LUT(image, table, dst=target)
    return lit


def _colour(
    images: Images, strength: Augmentation, rng: np.random.Generator, part: Part
) -> Images:
    """Returns the images with hue and saturation changed, one value per image.

    Both are a linear map of the chroma, so each image gets a matrix.
    """
    count, channels = part.of, images.shape[3]
    if channels != 3 or not (strength.hue_deg or strength.saturation_frac):
        return images
    angle = np.radians(strength.hue_deg) * rng.uniform(-1, 1, count)
    gain = 1 + strength.saturation_frac * rng.uniform(-1, 1, count)
    cos, sin = gain * np.cos(angle), gain * np.sin(angle)
    chroma = np.zeros((count, 3, 3))
    chroma[:, 0, 0] = 1  # luma stays
    chroma[:, 1, 1], chroma[:, 1, 2] = cos, -sin
    chroma[:, 2, 1], chroma[:, 2, 2] = sin, cos
    matrices = np.linalg.inv(RGB_TO_YIQ) @ chroma @ RGB_TO_YIQ
    coloured = np.empty(images.shape, np.uint8)
    for image, matrix, target in zip(
        images, matrices[part.rows], coloured, strict=True
    ):
        cv2.transform(image, matrix, dst=target)
    return coloured


def degrade(image: Images, rng: np.random.Generator) -> Images:
    """Returns the image with two of the defects of a cheap camera.

    Blur, loss of resolution (to between half and five sixths), sensor noise or JPEG.

    Args:
        image: uint8 (H, W, C), 0..255.
        rng: Source of all randomness.

    Returns:
        uint8 (H, W, C), 0..255.
    """
    shape = image.shape
    for effect in rng.permutation(4)[:2]:
        image = (_blur, _lose_resolution, _add_noise, _compress)[effect](image, rng)
        image = image.reshape(shape)
    return image


def _pass_over(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    """Draws what ``degrade`` draws for an image of this shape, and no more."""
    for effect in rng.permutation(4)[:2]:
        if effect == 3:
            rng.integers(30, 90)
            continue
        rng.uniform()
        if effect == 2:
            rng.normal(size=shape)


def _blur(image: Images, rng: np.random.Generator) -> Images:
    sigma = rng.uniform(0.4, 1.2)
    # cv2.GaussianBlur takes twice as long, for a kernel rounded to 256ths.
    kernel = cv2.getGaussianKernel(round(6 * sigma + 1) | 1, sigma, cv2.CV_32F)
    return np.asarray(cv2.sepFilter2D(image, -1, kernel, kernel), dtype=np.uint8)


def _lose_resolution(image: Images, rng: np.random.Generator) -> Images:
    height, width = image.shape[:2]
    scale = rng.uniform(0.5, 0.83)
    small = cv2.resize(
        image, (int(width * scale), int(height * scale)), interpolation=cv2.INTER_AREA
    )
    return np.asarray(
        cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR),
        dtype=np.uint8,
    )


def _add_noise(image: Images, rng: np.random.Generator) -> Images:
    noise = rng.normal(0, rng.uniform(2, 10), image.shape)
    # Rounds and clips in one pass.
    return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), dtype=np.uint8)


def _compress(image: Images, rng: np.random.Generator) -> Images:
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 90))]
    _, encoded = cv2.imencode(".jpg", image, quality)
    decoded = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    return np.asarray(decoded, dtype=np.uint8)


def _erase(
    images: Images, chosen: Indices, rng: np.random.Generator, at: dict[int, int]
) -> None:
    """Replaces a rectangle of each chosen image by noise, in place.

    Args:
        images: Some of a batch.
        chosen: Rows of the batch.
        rng: Source of all randomness.
        at: Where the images of these rows are; of others the noise is drawn only.
    """
    _, height, width, channels = images.shape
    area = rng.uniform(0.02, 0.2, len(chosen)) * height * width
    ratio = np.exp(rng.uniform(math.log(0.3), math.log(1 / 0.3), len(chosen)))
    erased_h = np.clip(np.rint(np.sqrt(area * ratio)), 1, height).astype(np.int64)
    erased_w = np.clip(np.rint(np.sqrt(area / ratio)), 1, width).astype(np.int64)
    tops = rng.integers(0, height - erased_h + 1)
    lefts = rng.integers(0, width - erased_w + 1)
    ends = np.cumsum(erased_h * erased_w * channels)
    noise = rng.integers(0, 256, ends.max(initial=0), dtype=np.uint8)
    places = (chosen, tops, lefts, erased_h, erased_w, ends)
    for row, top, left, h, w, end in np.stack(places, axis=1).tolist():
        if row in at:
            filling = noise[end - h * w * channels : end].reshape(h, w, channels)
            images[at[row], top : top + h, left : left + w] = filling
