"""Random changes of images that keep what they show: seeded, on tensors, one draw for each image.

Images are float32 [n, H, W] or [n, H, W, 3] in [0, 1]; lengths are shares of the longer side, and what comes in from
outside is 0. UMTRA's for Omniglot is ``zero_pixels=0.5,shift=0.21`` (Khodadadeh et al., 2019, section 4.1).
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

Augmentation = Callable[[Tensor, Generator], Tensor]
"""Images and a generator give as many images of the same shape."""

WARP_NODES = 4
"""A warp moves so many nodes a side, and the image smoothly between them."""


def _uniform(n: int, low: float, high: float, images: Tensor, generator: Generator) -> Tensor:
    """[n] numbers drawn uniformly between ``low`` and ``high``."""
    return torch.empty(n).uniform_(low, high, generator=generator).to(images)


def _masked(images: Tensor, keep: Tensor) -> Tensor:
    """``images`` with 0 where ``keep`` bool [n, H, W] is not set, in all colours."""
    mask = keep.to(images)
    return images * (mask[..., None] if images.dim() == 4 else mask)


def _sampled(images: Tensor, grid: Tensor) -> Tensor:
    """``images`` read bilinearly at ``grid`` [n, H, W, 2], x before y, -1 to 1 from edge to edge."""
    colour = images.dim() == 4
    planes = images.permute(0, 3, 1, 2) if colour else images[:, None]
    read = F.grid_sample(planes, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return read.permute(0, 2, 3, 1) if colour else read[:, 0]


def _affine_grid(images: Tensor, entries: list[Tensor]) -> Tensor:
    """Where ``_sampled`` reads under matrices [n, 2, 3] of six ``entries`` [n], in units of half a side."""
    matrices = torch.stack(entries, 1).view(-1, 2, 3)
    return F.affine_grid(matrices, [len(images), 1, *images.shape[1:3]], align_corners=False)


def _chosen(images: Tensor, generator: Generator, share: float) -> Tensor:
    """Which of ``images`` are drawn, each with probability ``share``, bool [n, 1, 1] or [n, 1, 1, 1]."""
    drawn = torch.rand(len(images), generator=generator).to(images.device) < share
    return drawn.view(-1, *[1] * (images.dim() - 1))


def zero_pixels(images: Tensor, generator: Generator, share: float) -> Tensor:
    """Each pixel becomes 0 with probability ``share``, in all of its colours."""
    return _masked(images, torch.rand(images.shape[:3], generator=generator) >= share)


def shift(images: Tensor, generator: Generator, most: float) -> Tensor:
    """Moved by a whole number of pixels, up to ``most`` of the longer side, along each axis."""
    height, width = images.shape[1:3]
    reach = round(most * max(height, width))
    moves = torch.randint(-reach, reach + 1, (len(images), 2), generator=generator).to(images.device)
    rows = torch.arange(height, device=images.device) - moves[:, :1]
    columns = torch.arange(width, device=images.device) - moves[:, 1:]
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    which = torch.arange(len(images), device=images.device)[:, None, None]
    moved = images[which, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]]
    return _masked(moved, inside)


def rotate(images: Tensor, generator: Generator, most: float) -> Tensor:
    """Turned about the centre by up to ``most`` of a full turn, either way."""
    angle = _uniform(len(images), -most * 2 * math.pi, most * 2 * math.pi, images, generator)
    height, width = images.shape[1:3]
    zero, cos, sin = torch.zeros_like(angle), angle.cos(), angle.sin()
    entries = [cos, -sin * height / width, zero, sin * width / height, cos, zero]
    return _sampled(images, _affine_grid(images, entries))


def crop(images: Tensor, generator: Generator, most: float) -> Tensor:
    """A random window, at most ``most`` of each side smaller, enlarged to the whole image."""
    side = _uniform(len(images), 1 - most, 1, images, generator)
    place = _uniform(2 * len(images), -1, 1, images, generator).view(-1, 2) * (1 - side)[:, None]
    zero = torch.zeros_like(side)
    return _sampled(images, _affine_grid(images, [side, zero, place[:, 0], zero, side, place[:, 1]]))


def stretch(images: Tensor, generator: Generator, most: float) -> Tensor:
    """Width and height, each by itself, become 1 - ``most`` to 1 + ``most`` times what they were, about the centre."""
    across, down = _uniform(2 * len(images), 1 - most, 1 + most, images, generator).view(2, -1)
    zero = torch.zeros_like(across)
    return _sampled(images, _affine_grid(images, [1 / across, zero, zero, zero, 1 / down, zero]))


def shear(images: Tensor, generator: Generator, most: float) -> Tensor:
    """Slanted about the centre: rows move sideways by up to ``most`` of their height above or below it, either way."""
    slant = _uniform(len(images), -most, most, images, generator)
    zero, one = torch.zeros_like(slant), torch.ones_like(slant)
    across = slant * images.shape[1] / images.shape[2]
    return _sampled(images, _affine_grid(images, [one, across, zero, zero, one, zero]))


def warp(images: Tensor, generator: Generator, most: float) -> Tensor:
    """Bent smoothly: nodes on a grid move by up to ``most`` of a side along each axis."""
    moves = _uniform(len(images) * 2 * WARP_NODES**2, -2 * most, 2 * most, images, generator)
    moves = moves.view(-1, 2, WARP_NODES, WARP_NODES)
    field = F.interpolate(moves, images.shape[1:3], mode="bicubic", align_corners=True)
    one, zero = images.new_ones(len(images)), images.new_zeros(len(images))
    still = _affine_grid(images, [one, zero, zero, zero, one, zero])
    return _sampled(images, still + field.permute(0, 2, 3, 1)).clamp(0, 1)


def cut_out(images: Tensor, generator: Generator, side: float) -> Tensor:
    """A square of ``side`` of the longer side becomes 0; its centre is anywhere in the image."""
    height, width = images.shape[1:3]
    half = side * max(height, width) / 2
    rows = torch.arange(height) + 0.5 - torch.rand(len(images), 1, generator=generator) * height
    columns = torch.arange(width) + 0.5 - torch.rand(len(images), 1, generator=generator) * width
    return _masked(images, ~((rows.abs() < half)[:, :, None] & (columns.abs() < half)[:, None, :]))


def flip(images: Tensor, generator: Generator, share: float) -> Tensor:
    """Left and right are exchanged with probability ``share``."""
    return torch.where(_chosen(images, generator, share), images.flip(2), images)


def grey(images: Tensor, generator: Generator, share: float) -> Tensor:
    """With probability ``share`` the colours of each pixel become their mean; grey images stay as they are."""
    chosen = _chosen(images, generator, share)
    return images if images.dim() == 3 else torch.where(chosen, images.mean(3, keepdim=True), images)


def brightness(images: Tensor, generator: Generator, most: float) -> Tensor:
    """All values times one number of 1 - ``most`` to 1 + ``most``, cut at 1."""
    factor = _uniform(len(images), 1 - most, 1 + most, images, generator)
    return (images * factor.view(-1, *[1] * (images.dim() - 1))).clamp(0, 1)


AUGMENTATIONS: dict[str, Callable[[Tensor, Generator, float], Tensor]] = {
    step.__name__: step
    for step in (zero_pixels, shift, rotate, crop, stretch, shear, warp, cut_out, flip, grey, brightness)
}


def as_they_are(images: Tensor, generator: Generator) -> Tensor:
    """The images themselves."""
    return images


def parse_augmentation(text: str) -> Augmentation:
    """The augmentation that ``text`` names: ``NAME=STRENGTH`` steps with commas between, or ``identity``.

    A strength lies above 0 and below 1, at most 0.5 for a rotation. Raises ValueError for anything else.
    """
    if text.strip() == "identity":
        return as_they_are
    steps = []
    for part in text.split(","):
        name, _, number = part.strip().partition("=")
        most = 0.5 if name == "rotate" else 1 - 1e-9
        try:
            strength = float(number)
        except ValueError:
            strength = math.nan
        if name not in AUGMENTATIONS or not 0 < strength <= most:
            raise ValueError(
                f"got augmentation {part.strip()!r}, expected identity, or NAME=STRENGTH with a name of "
                f"{', '.join(AUGMENTATIONS)} and a strength above 0 and below 1 (rotate: up to 0.5)"
            )
        steps.append((AUGMENTATIONS[name], strength))

    def augment(images: Tensor, generator: Generator) -> Tensor:
        for step, strength in steps:
            images = step(images, generator, strength)
        return images

    return augment
