"""``fashion_mnist``: pieces of clothing (Xiao et al., 2017)."""

from tasks.data.recipes.contract import Download, Files, Products, Progress, Recipe
from tasks.data.recipes.idx_arrays import gzipped, idx_arrays

CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


def _build(files: Files, progress: Progress) -> Products:
    return {"fashion_mnist": idx_arrays(files, CLASSES)}


RECIPE = Recipe(
    summary="70,000 pieces of clothing, 28 × 28, official split 60,000 / 10,000",
    licence="MIT",
    citation="Xiao, Rasul and Vollgraf: Fashion-MNIST, 2017",
    products=("fashion_mnist",),
    ways=(
        gzipped(
            ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
            (
                "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                "25c81989df183df01b3e8a0aad5dffbe",
                "bef4ecab320f06d8554ea6380940ec79",
                "bb300cfdad3c16e7a12a480ee83cd310",
            ),
        ),
        (Download("dataset-fashion-mnist.deb", ("apt:dataset-fashion-mnist",)),),
    ),
    build=_build,
    sha256={"fashion_mnist": "68d97ad423f5542ed497dc6fe489cb40278d21578961a64be026fd724c5ea597"},
)
