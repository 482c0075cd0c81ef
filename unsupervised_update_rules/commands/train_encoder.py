"""Train a convolutional autoencoder on images without labels and write an encoder for labellers.

With --critic the autoencoder also learns interpolations that a critic cannot tell from images (ACAI). What is written
says what it was trained on and how.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from common.provenance import commit
from evaluation.encoders.encoder_file import save_encoder
from evaluation.encoders.training import EncoderSettings, train_encoder
from evaluation.lineage import trained_on
from tasks.data.sources import load_inputs
from unsupervised_update_rules.commands.arguments import Parser, at_least, command, keeps, threads, writable
from unsupervised_update_rules.commands.terminal import progress
from unsupervised_update_rules.commands.tracked import tracked

DEFAULT = EncoderSettings()


def make_parser() -> Parser:
    """What the command takes."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="SOURCE", help="images, such as npz:FILE@train")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="the encoder, as safetensors")
    parser.add_argument("--size", type=at_least(1), metavar="S", help="resize images to S x S pixels")
    parser.add_argument(
        "--critic", action="store_true", help="with a critic of interpolations (takes 2.5 times as long)"
    )
    for name, least, what in (
        ("code", 1, "axes of the code"),
        ("channels", 1, "channels of the first layer"),
        ("steps", 0, "batches learned from"),
        ("batch", 2, "images in a batch"),
    ):
        default = getattr(DEFAULT, name)
        parser.add_argument(
            f"--{name}", type=at_least(least), default=default, metavar="N", help=f"{what} (default {default})"
        )
    for name, default, what in (
        ("learning-rate", DEFAULT.learning_rate, "of Adam at the start"),
        ("interpolation-weight", DEFAULT.interpolation_weight, "of the critic's verdict beside reconstruction"),
        ("blend", DEFAULT.blend, "share of the image in what the critic learns to call no interpolation"),
    ):
        parser.add_argument(f"--{name}", type=float, default=default, metavar="X", help=f"{what} (default {default})")
    parser.add_argument("--seed", type=at_least(0), default=0, help="decides the first weights and the batches")
    parser.add_track()
    parser.add_argument("--threads", type=threads, default=1, metavar="N", help="CPU threads (default 1)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Read the images, train, and write the encoder."""
    arguments = make_parser().parse_args(argv)
    torch.set_num_threads(arguments.threads)
    writable(arguments.out)
    keeps(arguments.data, out=arguments.out)
    settings = EncoderSettings(**{name: getattr(arguments, name) for name in asdict(DEFAULT)})
    x, image_shape, *_ = load_inputs(arguments.data, size=arguments.size, seed=arguments.seed)
    if image_shape is None:
        raise ValueError(f"{arguments.data}: a table or text, expected images")
    generator = torch.Generator().manual_seed(arguments.seed)
    with progress("step", settings.steps) as advance:
        encoder, loss = train_encoder(x, image_shape, settings, generator, lambda step: advance(1))
    provenance = {
        "source": arguments.data,
        "lineage": trained_on([arguments.data], arguments.seed),
        "examples": len(x),
        "settings": asdict(settings),
        "seed": arguments.seed,
        "reconstruction_loss": loss,
        "commit": commit(),
        "command": command("train_encoder", argv),
    }
    save_encoder(arguments.out, encoder, provenance)
    with tracked(arguments, "train_encoder", provenance) as tracker:
        tracker.summarise({"reconstruction_loss": loss})
    print(f"wrote {arguments.out}: {settings.code} axes, reconstruction error {loss:.4f} a pixel, {len(x)} images")
    return 0
