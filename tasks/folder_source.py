"""``folder:FOLDER``: image files, one sub-folder a class; or, unlabelled, images directly inside."""

from pathlib import Path

import numpy as np
from PIL import Image

from tasks.raw import Array, RawData

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
    class_folders = sorted(path for path in folder.iterdir() if path.is_dir() and _images_in(path))
    loose = _images_in(folder)
    if class_folders and loose:
        raise ValueError(
            f"{folder}: {len(loose)} images beside {len(class_folders)} class folders, expected one or the other"
        )
    if not class_folders and not loose:
        raise FileNotFoundError(f"{folder}: no images, expected one folder of {', '.join(sorted(EXTENSIONS))} a class")
    by_class = [_images_in(path) for path in class_folders]
    paths = loose or [path for paths in by_class for path in paths]
    x = _stack(paths, [_read_image(path, size) for path in paths])
    if loose:
        return [RawData(name, x)]
    labels = np.repeat(np.arange(len(by_class)), [len(paths) for paths in by_class])
    return [RawData(name, x, labels, tuple(path.name for path in class_folders))]


def _images_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS and path.is_file())


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


def _stack(paths: list[Path], images: list[Array]) -> Array:
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
