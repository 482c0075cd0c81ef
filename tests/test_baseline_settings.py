"""The settings file of the baselines, and the script that writes it."""

from pathlib import Path

import pytest

from common.yaml_dialect import parse_yaml
from evaluation.baselines.settings import (
    METHODS,
    TUNED,
    BaselineSettings,
    KMeansSettings,
    read_settings,
    settings_file,
)
from inner_loop.networks.activations import units_compete
from unsupervised_update_rules.commands import tune_baselines


@pytest.mark.parametrize("activation", ["relu", "winners_linear"])
def test_the_settings_that_come_with_the_code_are_read_and_were_chosen_on_meta_training_data(activation: str) -> None:
    path = settings_file(units_compete(activation))
    read_settings(path)
    methods = parse_yaml(path.read_text(), "")["methods"]
    assert methods.keys() == set(TUNED)
    for name, entry in methods.items():
        assert entry["tried"][0]["accuracy"] == entry["accuracy"]["mean"], name
        for source in set(entry["accuracy"]) - {"mean"}:
            assert source.endswith("@train"), source
            assert "mnist" not in source
        if name in {"autoencoder", "vae", "supervised"}:
            assert ("--activation winners_linear" in entry["command"]) == (activation == "winners_linear"), name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kmeans: 1", "expected a key 'methods'"),
        ("methods: {kmean: {settings: {}}}", r"unknown method 'kmean', expected .* \(did you mean kmeans\?\)"),
        ("methods: {kmeans: 3}", "methods.kmeans: expected a key 'settings'"),
        ("methods: {kmeans: {settings: {feature: square}}}", r"got option 'feature'.*\(did you mean features\?\)"),
        ("methods: {kmeans: {settings: {features: cube}}}", "method kmeans: got features='cube', expected 'triangle',"),
        ("methods: {kmeans: {settings: {examples: 1.5}}}", "method kmeans: got examples=1.5, expected a valid integer"),
        ("methods: {vae: {settings: {beta: -1}}}", "method vae: got beta=-1, expected greater than or equal to 0"),
        ("methods: {vae: {settings: {beta: true}}}", "method vae: got beta=True, expected a valid number"),
        ("methods: [", "broken YAML"),
    ],
)
def test_wrong_settings_are_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "baselines.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_settings(path)
    assert "\n" not in str(caught.value)


def test_tuning_tries_every_value_keeps_the_best_and_leaves_other_methods_alone(tmp_path: Path) -> None:
    out = tmp_path / "baselines.yaml"
    small = ["--ways", "3", "--shots", "2", "--queries", "3", "--tasks", "2", "--size", "4", "--out", str(out)]
    assert tune_baselines.main(["--data", "digits@train", "--methods", "kmeans", *small]) == 0
    entry = parse_yaml(out.read_text(), "")["methods"]["kmeans"]
    assert {one["features"] for one in entry["tried"]} == {"triangle", "distance", "square"}
    assert entry["accuracy"]["mean"] == entry["tried"][0]["accuracy"] == entry["accuracy"]["digits@train"]
    assert entry["command"].startswith("python scripts/tune_baselines.py --data digits@train")
    chosen = read_settings(out)
    assert chosen == BaselineSettings(kmeans=KMeansSettings(**entry["settings"]))
    assert tune_baselines.main(["--data", "digits@train", "--methods", "pca_whitened", *small]) == 0
    both = parse_yaml(out.read_text(), "")["methods"]
    assert list(both) == ["pca_whitened", "kmeans"]
    assert both["kmeans"] == entry
    out.write_text("methods:\n  pca_whitened:\n    settings: {floor: 0.5}\n")
    assert tune_baselines.main(["--data", "digits@train", "--methods", "pca_whitened", *small]) == 0
    assert 0.5 in {one["floor"] for one in parse_yaml(out.read_text(), "")["methods"]["pca_whitened"]["tried"]}


def test_every_method_with_settings_has_a_grid_of_values_it_accepts() -> None:
    assert set(tune_baselines.GRIDS) == set(TUNED)
    for method, grid in tune_baselines.GRIDS.items():
        for key, values in grid.items():
            for value in values:
                assert getattr(METHODS.make(method, {key: value}), key) == value


def test_a_file_of_another_kind_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "other.yaml"
    out.write_text("seed: 1\n")
    with pytest.raises(ValueError, match="expected a key 'methods'"):
        tune_baselines.main(["--data", "digits", "--methods", "kmeans", "--out", str(out)])
    assert out.read_text() == "seed: 1\n"
