"""``folder:FOLDER``: image files, one sub-folder a class; or, unlabelled, images directly inside."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tasks.data.raw import Array, RawData

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"})


def read_folder(location: str, size: int | None) -> list[RawData]:
    """The images under ``location`` as uint8 [n, h, w], or [n, h, w, 3] if any has colour; classes are sub-folders.

    With ``size`` every image is resized to size × size as it is read, else all must be of one size. Transparent parts
    become black. Raises OSError if the folder is not there or holds no images, ValueError for
    a file that is no image and for differing sizes.
    """
    folder = Path(location)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    name = f"folder:{folder.resolve().name}"
    class_folders = folders_of_images(folder)
    loose = images_in(folder)
    if class_folders and loose:
        raise ValueError(
            f"{folder}: {len(loose)} images beside {len(class_folders)} class folders, expected one or the other"
        )
    if not class_folders and not loose:
        raise FileNotFoundError(f"{folder}: no images, expected one folder of {', '.join(sorted(EXTENSIONS))} a class")
    if loose:
        return [RawData(name, read_images(loose, size))]
    return [read_classes(name, {path.name: images_in(path) for path in class_folders}, size)]


def images_in(folder: Path) -> list[Path]:
    """The image files directly in ``folder``, sorted."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS and path.is_file())


def folders_of_images(folder: Path) -> list[Path]:
    """The folders directly in ``folder`` that have images directly in them, sorted."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and images_in(path))


def read_classes(name: str, files: Mapping[str, Sequence[Path]], size: int | None) -> RawData:
    """The images in the ``files`` of each class, class by class. Raises as ``read_images`` does."""
    labels = np.repeat(np.arange(len(files)), [len(paths) for paths in files.values()])
    return RawData(name, read_images([path for paths in files.values() for path in paths], size), labels, tuple(files))


def read_images(paths: Sequence[Path], size: int | None) -> Array:
    """The images in ``paths``, uint8 [n, h, w], or [n, h, w, 3] if any has colour; resized to ``size`` × ``size``.

    Raises ValueError for a file that is no image and, where no size is given, for differing sizes.
    """
    return _stack(paths, [_read_image(path, size) for path in paths])


def _read_image(path: Path, size: int | None) -> Array:
    """One image, uint8 [h, w] or [h, w, 3]."""
    try:
        with Image.open(path) as file:
            image: Image.Image = file.convert("RGBA") if file.mode in ("P", "PA", "LA", "RGBA") else file.copy()
    except PermissionError:
        raise
    except Exception:  # on damaged files the decoders raise nearly anything
        raise ValueError(f"{path}: not an image that can be read, or a damaged one") from None
    if image.mode == "RGBA":
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image).convert("RGB")
    elif image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image, dtype=np.uint16) >> 8).astype(np.uint8))
    elif image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode in ("1", "I", "F") else "RGB")
    if size is not None:
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.uint8)
    grey = pixels.ndim == 3 and bool((pixels == pixels[:, :, :1]).all())
    return pixels[:, :, 0] if grey else pixels


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
