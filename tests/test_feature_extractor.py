"""The scikit-learn estimator, and the file of the base network that it trains."""

import doctest
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from inner_loop import transformer as feature_extractor
from inner_loop.network_file import load_network, save_network
from inner_loop.transformer import RuleFeatures
from update_rules.local.hebbian import Hebbian
from update_rules.rule_file import save_rule


def small(**settings: object) -> RuleFeatures:
    return RuleFeatures(Hebbian(), **{"hidden": (6,), "outputs": 4, "steps": 3, "random_state": 0, **settings})


def table(n: int = 40, inputs: int = 5) -> NDArray[np.float64]:
    return np.random.default_rng(0).normal(size=(n, inputs))


def test_it_passes_every_check_of_scikit_learn() -> None:
    for result in check_estimator(RuleFeatures(hidden=(8,), outputs=4, steps=2), on_skip=None):
        skipped = result["check_name"] == "check_array_api_input"  # needs SCIPY_ARRAY_API
        assert skipped or result["status"] == "passed", result


def test_the_documented_example_runs() -> None:
    assert doctest.testmod(feature_extractor) == (0, 3)


def test_features_of_an_example_depend_on_nothing_but_it() -> None:
    x = table()
    features = small().fit(x)
    together = features.transform(x)
    one_by_one = np.concatenate([features.transform(row[None]) for row in x])
    np.testing.assert_allclose(one_by_one, together, rtol=0, atol=1e-6)
    assert together.dtype == np.float32
    assert features.transform(x.astype(np.float32)).dtype == np.float32


def test_the_seed_decides_everything_and_labels_nothing() -> None:
    x = table()
    first = small().fit_transform(x)
    assert (first == small().fit_transform(x, y=np.arange(40))).all()
    assert not (first == small(random_state=1).fit_transform(x)).all()
    assert (first == small(random_state=np.random.RandomState(0)).fit_transform(x)).all()


def test_images_stay_as_they_are_and_other_data_are_standardised() -> None:
    images, rows = np.random.default_rng(0).random((30, 4)), 1e6 + 100 * table(30, 4)
    assert torch.equal(small().fit(images).network_.scale, torch.ones(4))
    assert small(standardise=True).fit(images).network_.scale[0] == pytest.approx(images[:, 0].std())
    scaled = small().fit(rows)
    assert scaled.network_.offset.numpy() == pytest.approx(rows.mean(0))
    assert torch.equal(small(standardise=False).fit(rows).network_.offset, torch.zeros(4))
    shifted = small().fit_transform(3 * rows - 7)
    np.testing.assert_allclose(shifted, scaled.transform(rows), rtol=1e-3, atol=1e-4)


def test_it_takes_a_rule_file_reports_progress_and_works_in_a_pipeline(tmp_path: Path) -> None:
    save_rule(tmp_path / "rule.safetensors", Hebbian(rate=0.05), {"sources": ["digits"]})
    x, y = load_digits(return_X_y=True)
    features = RuleFeatures(tmp_path / "rule.safetensors", hidden=(32,), outputs=32, steps=5, random_state=0)
    seen: list[int] = []
    features.fit(x[:300] / 16, progress=seen.append)
    assert seen == [1, 2, 3, 4, 5]
    assert list(features.get_feature_names_out()[:2]) == ["rulefeatures0", "rulefeatures1"]
    assert make_pipeline(features, RidgeClassifier()).fit(x[:300] / 16, y[:300]).score(x[300:] / 16, y[300:]) > 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": -1}, "got steps=-1, expected a whole number of 0 or more"),
        ({"batch_size": 1}, "got batch_size=1"),
        ({"outputs": 2.5}, r"got outputs=2\.5"),
        ({"hidden": (3.5,)}, r"got hidden=\(3\.5,\)"),
        ({"hidden": (0,)}, "got network sizes"),
        ({"activation": "rellu"}, "got activation 'rellu', expected one of relu"),
        ({"standardise": "yes"}, "expected True, False or 'auto'"),
        ({"rule": "no/such.safetensors"}, "not found"),
    ],
)
def test_wrong_settings_are_one_clear_line(settings: dict[str, object], message: str) -> None:
    with pytest.raises((ValueError, OSError), match=message) as caught:
        small().set_params(**settings).fit(table())
    assert "\n" not in str(caught.value)


def test_inputs_beyond_float32_are_an_error() -> None:
    with pytest.raises(ValueError, match="X has values too large"):
        small(standardise=False).fit(table() * 1e200)
    features = small(standardise=False).fit(table())
    with pytest.raises(ValueError, match="features of example 1 are not finite"):
        features.transform(np.array([[0.0] * 5, [1e300] * 5]))


def test_a_saved_network_embeds_as_the_one_in_memory(tmp_path: Path) -> None:
    x = 10 * table()
    features = small(activation="tanh").fit(x)
    path = tmp_path / "network.safetensors"
    save_network(path, features.network_)
    loaded = load_network(path)
    assert (loaded.embed(torch.from_numpy(x)).numpy() == features.transform(x)).all()
    assert loaded.network == features.network_.network
    assert [file.name for file in tmp_path.iterdir()] == ["network.safetensors"]
    with pytest.raises(ValueError, match=r"got examples of shape \[2, 9\], expected \[examples, 5\]"):
        loaded.embed(torch.zeros(2, 9))


def test_damaged_and_foreign_network_files_are_one_clear_line(tmp_path: Path) -> None:
    good = tmp_path / "network.safetensors"
    save_network(good, small().fit(table()).network_)
    tensors = load_file(good)
    header = {"format": "base_network", "version": "1", "sizes": "[5, 6, 4]", "activation": "relu"}
    nan = {**tensors, "state/w1": tensors["state/w1"] * float("nan")}
    # What embedding does not read, such as backward weights, may be anything.
    save_file({**tensors, "state/v1": tensors["state/v1"] * float("nan")}, tmp_path / "unread", header)
    load_network(tmp_path / "unread")
    cases = {
        "cut.safetensors": (good.read_bytes()[:-8], "damaged or not safetensors"),
        "empty.safetensors": (b"", "damaged or not safetensors"),
        "foreign.safetensors": ((tensors, {}), "got a file of format None, expected 'base_network'"),
        "newer.safetensors": ((tensors, {**header, "version": "9"}), "got version '9', expected '1'"),
        "sizes.safetensors": ((tensors, {**header, "sizes": "{"}), "damaged header"),
        "no_sizes.safetensors": ((tensors, {"format": "base_network", "version": "1"}), "damaged header"),
        "activation.safetensors": ((tensors, {**header, "activation": "sin"}), "damaged header"),
        "shape.safetensors": ((tensors, {**header, "sizes": "[7, 6, 4]"}), r"state/w1 is torch.float32 \[5, 6\]"),
        "missing.safetensors": (({"state/w1": tensors["state/w1"]}, header), "tensors missing .*'state/b1'"),
        "nan.safetensors": ((nan, header), "state/w1 has NaN or infinite numbers"),
    }
    for name, (content, message) in cases.items():
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            save_file(content[0], path, content[1])
        with pytest.raises(ValueError, match=message) as caught:
            load_network(path)
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"base network file .*none\.safetensors: not found"):
        load_network(tmp_path / "none.safetensors")
    with pytest.raises(OSError, match="cannot write"):
        save_network(tmp_path / "no" / "network.safetensors", load_network(good))
