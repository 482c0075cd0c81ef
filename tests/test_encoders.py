"""Convolutional encoders: shapes and padding, ACAI's losses, the script end to end, files, and partitions of codes."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from common.tensor_file import file_header
from evaluation.encoders.conv_autoencoder import ConvDecoder, ConvEncoder, ConvShape, start_at_random
from evaluation.encoders.encoder_file import load_encoder, save_encoder
from evaluation.encoders.training import EncoderSettings, batch_losses, train_encoder
from experiment import encoders
from experiment.encoders import embedding
from experiment.task_sources import load_datasets, training_tasks
from inner_loop.network_file import save_network
from inner_loop.networks.conv4 import Conv4
from inner_loop.networks.mlp import MLP
from inner_loop.transformer import RuleFeatures
from outer_loop.config.file import load_config
from tasks.dataset import Dataset
from unsupervised_update_rules.commands import train_encoder as script
from update_rules.contract import Network
from update_rules.gradient.learned_start import LearnedStart, layout
from update_rules.gradient.maml import Maml
from update_rules.gradient.protonet import ProtoNet
from update_rules.registry import make_rule
from update_rules.rule_file import save_rule

SMALL = ["--code", "5", "--channels", "2", "--steps", "3", "--batch", "8"]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bars(n: int, side: int = 8) -> torch.Tensor:
    """Flat images of one bright row and one bright column each."""
    images = torch.zeros(n, side, side)
    rows, columns = torch.randint(side, (2, n), generator=seeded())
    images[torch.arange(n), rows] = 1
    images[torch.arange(n), :, columns] = 1
    return images.flatten(1)


def small_encoder(image_shape: tuple[int, ...] = (8, 8), code: int = 5) -> ConvEncoder:
    encoder = ConvEncoder(ConvShape(image_shape, code, 2))
    start_at_random(encoder, seeded())
    return encoder


@pytest.mark.parametrize(
    ("image_shape", "bottom"),
    [
        ((28, 28), (32, 7, 7)),
        ((14, 14), (16, 7, 7)),
        ((84, 84, 3), (64, 6, 6)),
        ((5, 18), (32, 2, 5)),
        ((1, 1, 3), (16, 1, 1)),
    ],
)
def test_images_of_any_shape_have_a_code_and_come_back_in_their_shape(
    image_shape: tuple[int, ...], bottom: tuple[int, ...]
) -> None:
    shape = ConvShape(image_shape, 6, 16)
    assert shape.bottom == bottom
    x = torch.rand(3, int(np.prod(image_shape)), generator=seeded())
    torch.testing.assert_close(shape.to_flat(shape.to_planes(x)), x, rtol=0, atol=0)
    code = ConvEncoder(shape)(x)
    assert code.shape == (3, 6)
    assert ConvDecoder(shape)(code).shape == x.shape


def test_colours_are_planes() -> None:
    image = torch.zeros(1, 4, 4, 3)
    image[..., 1] = 1
    planes = ConvShape((4, 4, 3), 1, 1).to_planes(image.flatten(1))
    assert planes.sum((0, 2, 3)).tolist() == [0, 16, 0]


def test_training_reconstructs_and_the_seed_decides() -> None:
    x, settings = bars(200), EncoderSettings(code=16, channels=4, steps=150, batch=32)
    before = train_encoder(x, (8, 8), EncoderSettings(code=16, channels=4, steps=0), seeded())[1]
    encoder, loss = train_encoder(x, (8, 8), settings, seeded())
    assert loss < 0.5 * before
    again, _ = train_encoder(x, (8, 8), settings, seeded())
    assert torch.equal(encoder.embed(x), again.embed(x))
    torch.testing.assert_close(encoder.embed(x)[7:8], encoder.embed(x[7:8]))


def test_the_critic_changes_what_is_learned_and_less_so_with_less_weight() -> None:
    x = bars(100)

    def codes(**changes: object) -> torch.Tensor:
        settings = EncoderSettings(**{"code": 4, "channels": 2, "steps": 20, "batch": 16} | changes)  # type: ignore[arg-type]
        return train_encoder(x, (8, 8), settings, seeded())[0].embed(x)

    critic = codes(critic=True)
    assert critic.isfinite().all()
    assert not torch.equal(critic, codes(critic=True, interpolation_weight=0.0))


class Level(nn.Module):
    """A critic that says how bright an image is, as one number."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(1, keepdim=True)


def test_the_losses_are_those_of_the_paper() -> None:
    # With the identity for encoder and decoder, everything can be told from the batch.
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    settings = EncoderSettings(critic=True, interpolation_weight=2.0)
    losses = batch_losses(nn.Identity(), nn.Identity(), Level(), x, settings, seeded())
    alpha = torch.rand(2, 1, generator=seeded()).flatten() / 2
    seen = torch.stack([alpha[0], 1 - alpha[1]])  # α of the way from each image to the other
    assert losses.critic is not None
    torch.testing.assert_close(losses.autoencoder, 2 * seen.square().mean())
    torch.testing.assert_close(losses.critic, (seen - alpha).square().mean() + 0.5)
    half = nn.Linear(2, 2, bias=False)
    nn.init.constant_(half.weight, 0.0)
    losses = batch_losses(half, nn.Identity(), Level(), x, EncoderSettings(critic=True, blend=0.5), seeded())
    assert losses.critic is not None
    torch.testing.assert_close(losses.autoencoder, torch.tensor(0.5))  # every second number is 1 and said to be 0
    torch.testing.assert_close(losses.critic, alpha.square().mean() + 0.125)  # a blend half as bright as the image


def test_bad_settings_and_images_are_refused() -> None:
    with pytest.raises(ValueError, match="got -1 steps of 64 examples, expected 0 or more of 2 or more"):
        EncoderSettings(steps=-1)
    with pytest.raises(ValueError, match=r"learning_rate=0, .*expected a rate above 0"):
        EncoderSettings(learning_rate=0)
    with pytest.raises(ValueError, match=r"got images of shape \[3, 3, 2\]"):
        ConvShape((3, 3, 2), 1, 1)
    with pytest.raises(ValueError, match="got a code of 0 axes and 1 channels"):
        ConvShape((3, 3), 0, 1)
    with pytest.raises(ValueError, match=r"got examples of shape \[2, 3\], expected \[examples, 64\], images 8 × 8"):
        small_encoder().embed(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"training diverged at learning_rate=1e\+30"):
        train_encoder(bars(20), (8, 8), EncoderSettings(channels=2, steps=5, learning_rate=1e30), seeded())


@pytest.fixture
def images(tmp_path: Path) -> str:
    x = (bars(60).view(60, 8, 8) * 255).byte().numpy()
    np.savez(tmp_path / "images.npz", x=x, y=np.arange(60) % 3)
    return f"npz:{tmp_path / 'images.npz'}"


def test_the_script_writes_an_encoder_that_says_where_it_comes_from(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / name for name in ("one", "two", "three")]
    for file, critic in zip(files, ([], [], ["--critic"]), strict=True):
        assert script.main(["--data", images, "--out", str(file), *SMALL, *critic]) == 0
    captured = capsys.readouterr()
    assert "step 3/3" in captured.err
    assert "5 axes, reconstruction error 0." in captured.out
    header = file_header(files[2], "file")
    assert (header["format"], header["version"], header["source"], header["seed"]) == ("conv_encoder", "1", images, "0")
    assert json.loads(header["settings"])["critic"] is True
    assert 0 < float(header["reconstruction_loss"]) < 1
    assert header["commit"]
    one, two, three = (load_encoder(file).embed(bars(60)) for file in files)
    assert one.shape == (60, 5)
    assert torch.equal(one, two)
    assert not torch.equal(one, three)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "sklearn:iris"], "sklearn:iris: a table or text, expected images"),
        (["--out", "no/such/folder"], "there is no folder no/such"),
        (["--learning-rate", "-1"], "expected a rate above 0"),
        (["--code", "0"], "got '0', expected a whole number of 1 or more"),
    ],
)
def test_what_the_script_cannot_do_is_one_clear_line(
    arguments: list[str], message: str, images: str, tmp_path: Path
) -> None:
    with pytest.raises((ValueError, OSError), match=message):
        script.main(["--data", images, "--out", str(tmp_path / "out"), *SMALL, *arguments])
    assert not (tmp_path / "out").exists()


def test_files_that_are_no_whole_encoder_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "encoder"
    save_encoder(path, small_encoder(), {"seed": 0})
    header, tensors = file_header(path, "file"), load_file(path)
    name = "layers.0.bias"
    for change, left, message in (
        ({"format": "other"}, tensors, "got a file of format 'other', expected 'conv_encoder'"),
        ({"version": "2"}, tensors, "got version '2', expected '1'"),
        ({"shape": "{}"}, tensors, "damaged header"),
        ({"shape": '{"image_shape": [8, 8], "code": 1e400, "channels": 2}'}, tensors, "damaged header"),
        ({}, {}, r"tensors missing \['layers.0.bias', .*\], unexpected \[\]"),
        ({}, tensors | {name: torch.zeros(9)}, r"layers.0.bias is torch.float32 \[9\], expected torch.float32 \[2\]"),
        ({}, tensors | {name: torch.full((2,), torch.nan)}, "layers.0.bias has NaN or infinite numbers"),
    ):
        save_file(left, path, header | change)
        with pytest.raises(ValueError, match=message):
            load_encoder(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="damaged or not safetensors"):
        load_encoder(path)
    with pytest.raises(FileNotFoundError):
        load_encoder(tmp_path / "none")


def dataset(side: int = 8) -> Dataset:
    return Dataset("toy", bars(30, side), torch.arange(30) % 3, (side, side), ("a", "b", "c"))


def test_the_header_tells_what_kind_of_encoder_a_file_is(tmp_path: Path) -> None:
    encoder = small_encoder()
    save_encoder(tmp_path / "conv", encoder, {"seed": 0})
    save_rule(tmp_path / "rule", make_rule("hebbian"), {"seed": 0}, {"steps": 3, "batch": 8})
    assert torch.equal(embedding(dataset(), "inputs", 0), bars(30))
    assert torch.equal(embedding(dataset(), str(tmp_path / "conv"), 0), encoder.embed(bars(30)))
    by_rule = embedding(dataset(), str(tmp_path / "rule"), 7)
    trained = RuleFeatures(tmp_path / "rule", random_state=7).fit(bars(30).numpy())  # as its file says
    assert torch.equal(by_rule, trained.network_.embed(bars(30)))
    assert by_rule.shape == (30, 32)
    assert not torch.equal(by_rule, embedding(dataset(), str(tmp_path / "rule"), 8))
    save_network(tmp_path / "net", trained.network_)
    with pytest.raises(ValueError, match=r"net: format 'base_network', expected a file of train_encoder.py or a rule"):
        embedding(dataset(), str(tmp_path / "net"), 0)
    with pytest.raises(ValueError, match=r"toy: 4 × 4, expected images of 8 × 8 as .*conv was trained on; tasks.size"):
        embedding(dataset(4), str(tmp_path / "conv"), 0)
    with pytest.raises(FileNotFoundError, match="nothing: not found"):
        embedding(dataset(), "nothing", 0)


def test_a_shipped_rule_is_an_encoder_by_its_name() -> None:
    found = embedding(dataset(), "hebbian", 0)
    assert found.shape[0] == 30
    assert torch.equal(found, embedding(dataset(), "hebbian", 0))


CONV4 = {"name": "conv4", "options": {"filters": 3}}


def mlp(*hidden: int) -> dict[str, object]:
    return {"name": "mlp", "options": {"hidden": [list(hidden)], "outputs": 3, "activations": ["tanh"]}}


@pytest.mark.parametrize(
    ("kind", "said", "network", "below"),
    [
        (Maml, CONV4, Conv4(8, filters=3, outputs=6), Conv4(8, filters=3)),
        (ProtoNet, CONV4, Conv4(8, filters=3), Conv4(8, filters=3)),
        (Maml, mlp(3), MLP((64, 3, 6), "tanh"), MLP((64, 3), "tanh")),
        (ProtoNet, mlp(5), MLP((64, 5, 3), "tanh"), MLP((64, 5, 3), "tanh")),
        (Maml, mlp(), MLP((64, 3), "tanh"), MLP((64, 3), "tanh")),
    ],
)
def test_a_learned_start_is_an_encoder_too(
    kind: type[LearnedStart],
    said: dict[str, Any],
    network: Network,
    below: Network,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Features below the head, of each example alone, by the weights that the file holds."""
    monkeypatch.setattr(encoders, "AT_ONCE", 8)
    rule = kind(layout(network.shapes))
    readout = {"name": "head" if kind is Maml else "prototypes", "options": {}}
    about = {"network": said, "normalisation": "support", "readout": readout}
    save_rule(tmp_path / "rule", rule, {}, about)
    code = embedding(dataset(), str(tmp_path / "rule"), 0)
    assert code.shape == (30, 3)
    weights = rule.started(network, {})
    frozen = below.forward(weights, bars(30)[torch.randperm(30, generator=seeded())[:8]]).statistics()
    alone = [below.forward(weights, example[None], frozen).x[-1] for example in bars(30)]
    torch.testing.assert_close(code, torch.cat(alone).detach())
    for name, use in (("other", about | {"network": wider(said)}), ("bare", {})):
        save_rule(tmp_path / name, rule, {}, use)
        with pytest.raises(ValueError, match=f"toy: rule {kind.name} starts from .*, got data for w1=.*; take"):
            embedding(dataset(), str(tmp_path / name), 0)
    save_rule(tmp_path / "sized", rule, {}, about | {"size": 8})
    assert torch.equal(embedding(dataset(), str(tmp_path / "sized"), 0), code)
    trained_on = rf"toy: 4 × 4, expected images of 8 × 8 as rule {kind.name} in .*sized was trained on; tasks.size sets"
    with pytest.raises(ValueError, match=trained_on):
        embedding(dataset(4), str(tmp_path / "sized"), 0)
    flat = replace(dataset(), x=bars(30)[:, :40], image_shape=None)
    misfit = (
        "tasks of 40 inputs for a conv4 network" if said == CONV4 else f"rule {kind.name} starts from .* for w1=40x"
    )
    with pytest.raises(ValueError, match=f"toy: .*{misfit}.*; tasks.size sets"):
        embedding(flat, str(tmp_path / "sized"), 0)


def wider(said: dict[str, Any]) -> dict[str, Any]:
    """Another network of the kind."""
    options = said["options"]
    wide = {"filters": 4} if "filters" in options else {"hidden": [[9]]}
    return said | {"options": options | wide}


def test_codes_are_partitioned_into_tasks(tiny_config: Callable[..., list[str]], images: str, tmp_path: Path) -> None:
    assert script.main(["--data", images, "--out", str(tmp_path / "encoder"), *SMALL]) == 0
    labeller = "tasks.labeller={name: clusters, options: {groups: 4, partitions: 2}}"
    settings = [labeller, f"tasks.sources=['{images}']"]
    path, *overrides = tiny_config("run", *settings, "tasks.size=8", "tasks.ways=2")[1:]
    made = []
    for encoder in ("inputs", str(tmp_path / "encoder")):
        config = load_config(path, [*overrides, f"tasks.labeller.options.encoder={encoder}"])
        made.append(training_tasks(config, load_datasets(config, config.tasks.sources)))
    assert [len(source.datasets) for source in made] == [2, 2]
    assert made[0].datasets[0].fingerprint != made[1].datasets[0].fingerprint
