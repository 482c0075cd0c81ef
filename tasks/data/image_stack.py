"""Many image files as one array, by decisions that are taken once for all of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from common.notice import notice
from tasks.data.image_file import Picture, read_picture
from tasks.data.pixel_values import DEEP, behind, divisor, say_if_dark
from tasks.data.raw import Array


def read_images(name: str, paths: Sequence[Path], size: int | None) -> Array:
    """The images in ``paths``, [n, h, w], or [n, h, w, 3] if any has colour; resized to ``size`` × ``size`` if given.

    They are uint8; float32 in [0, 1] if any file holds more than 8 bits a value. Transparent parts become black, or
    white where that shows more. Raises ValueError for a file that is no image, values of no usual scale and, where no
    size is given, for differing sizes.
    """
    pictures = [read_picture(path, size) for path in paths]
    for remark in sorted({remark for picture in pictures for remark in picture.remarks}):
        those = [path for path, picture in zip(paths, pictures, strict=True) if remark in picture.remarks]
        notice(f"{name}: {len(those)} of {len(paths)} files {remark}, such as {'/'.join(those[0].parts[-2:])}")
    pictures = _on_one_background(name, pictures)
    return _stack(paths, _on_one_scale(name, paths, pictures))


def _on_one_background(name: str, pictures: list[Picture]) -> list[Picture]:
    pairs = [(picture.pixels, picture.on_white) for picture in pictures if picture.on_white is not None]
    if not pairs or behind(name, [black for black, _ in pairs], [white for _, white in pairs]) == "black":
        return pictures
    return [picture if picture.on_white is None else replace(picture, pixels=picture.on_white) for picture in pictures]


def _on_one_scale(name: str, paths: Sequence[Path], pictures: list[Picture]) -> list[Array]:
    """The pixels of each, uint8, or float32 in [0, 1] where that does not hold all."""
    if all(picture.bits == 8 for picture in pictures):
        say_if_dark(name, max(int(picture.pixels.max()) for picture in pictures), 255)
        return [picture.pixels for picture in pictures]
    say_if_dark(name, max((picture.high for picture in pictures if picture.bits == 16), default=0), DEEP)
    unscaled = [(path, picture) for path, picture in zip(paths, pictures, strict=True) if picture.bits == 32]
    for path, picture in unscaled:
        if not np.isfinite([picture.low, picture.high]).all():
            raise ValueError(f"{path}: holds values that are NaN or infinite")
    lows, highs = [picture.low for _, picture in unscaled], [picture.high for _, picture in unscaled]
    white = {8: 255, 16: 1, 32: divisor(name, min(lows, default=0), max(highs, default=0))}
    return [picture.pixels.astype(np.float32) / np.float32(white[picture.bits]) for picture in pictures]


def _stack(paths: Sequence[Path], images: list[Array]) -> Array:
    """One array of all images; grey ones get three equal channels if any other has colour."""
    sizes = {image.shape[:2]: path for path, image in zip(paths, images, strict=True)}
    if len(sizes) > 1:
        (first, a), (second, b) = list(sizes.items())[:2]
        raise ValueError(
            f"images differ in size ({a.name} {first[1]}×{first[0]}, {b.name} {second[1]}×{second[0]}), "
            "expected one size, or give a size to resize them to"
        )
    if any(image.ndim == 3 for image in images):
        images = [image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2) for image in images]
    return np.stack(images)
