"""The scikit-learn estimator."""

import doctest
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from common.expected import Taken, expected
from common.notice import Notice
from inner_loop import transformer
from inner_loop.transformer import RuleFeatures
from update_rules.contract import Rule
from update_rules.gradient.protonet import ProtoNet
from update_rules.local.hebbian import Hebbian
from update_rules.registry import make_rule
from update_rules.rule_file import load_rule, save_rule


def small(**settings: object) -> RuleFeatures:
    return RuleFeatures(Hebbian(), **{"hidden": (6,), "outputs": 4, "steps": 3, "random_state": 0, **settings})


def table(n: int = 40, inputs: int = 5) -> NDArray[np.float64]:
    return np.random.default_rng(0).normal(size=(n, inputs))


def test_it_passes_every_check_of_scikit_learn() -> None:
    for result in check_estimator(RuleFeatures(hidden=(8,), outputs=4, steps=2), on_skip=None):
        skipped = result["check_name"] == "check_array_api_input"  # needs SCIPY_ARRAY_API
        assert skipped or result["status"] == "passed", result


def test_the_documented_example_runs() -> None:
    assert doctest.testmod(transformer) == (0, 3)


def same_theta(one: Rule, other: Rule) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return type(one) is type(other) and all(torch.equal(a, b) for a, b in pairs)


def test_a_rule_is_the_best_pretrained_one_unless_it_is_named_given_or_fresh() -> None:
    x, few = table(), {"steps": 1, "random_state": 0}
    assert same_theta(RuleFeatures(**few).fit(x).network_.rule, load_rule("hebbian_winners"))
    assert same_theta(RuleFeatures("neuron_local", **few).fit(x).network_.rule, load_rule("neuron_local"))
    fresh = RuleFeatures(fresh="neuron_local", **few).fit(x).network_
    assert same_theta(fresh.rule, make_rule("neuron_local"))
    assert not same_theta(fresh.rule, load_rule("neuron_local"))
    assert fresh.problem.network.sizes == (5, 64, 64, 32)
    given = Hebbian(rate=0.05)
    features = RuleFeatures(given, **few).fit(x)
    features.transform(x)
    assert features.network_.rule is given
    assert same_theta(given, Hebbian(rate=0.05))
    assert {parameter.dtype for parameter in given.parameters()} == {torch.float32}


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
        ({"hidden": (0,)}, r"got hidden=\[\[0\]\], expected greater than or equal to 1"),
        ({"activation": "rellu"}, r"got activations=\['rellu'\], expected one of relu, .*did you mean relu\?"),
        ({"standardise": "yes"}, "expected True, False or 'auto'"),
        ({"rule": "no/such.safetensors"}, "not found"),
        ({"fresh": "hebian"}, r"got rule 'hebian', expected one of .*did you mean hebbian\?"),
        ({"rule": ProtoNet("w1=5x6 b1=6 w2=6x4 b2=4")}, r"consumes the views \[\], expected unlabelled batches alone"),
    ],
)
def test_wrong_settings_are_one_clear_line(settings: dict[str, object], message: str) -> None:
    with pytest.raises((ValueError, OSError), match=message) as caught:
        small().set_params(**settings).fit(table())
    assert "\n" not in str(caught.value)


def test_inputs_beyond_float32_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"rule attention_clusterer finds clusters, not features; use scripts/cluster"):
        RuleFeatures("attention_clusterer").fit(table())
    with pytest.raises(ValueError, match="X has values too large"):
        small(standardise=False).fit(table() * 1e200)
    features = small(standardise=False).fit(table())
    with pytest.raises(ValueError, match="features of example 1 are not finite"):
        features.transform(np.array([[0.0] * 5, [1e300] * 5]))


def test_data_on_another_scale_give_the_same_features() -> None:
    x = np.random.default_rng(1).normal(size=(40, 5)) * [1.0, 2.0, 0.5, 1.0, 3.0] + [5.0, 3.0, 4.0, 1.0, 0.0]
    features = small().fit_transform(x)
    for factor in (1e-5, 1e4):
        np.testing.assert_allclose(small().fit_transform(factor * x), features, rtol=1e-3, atol=1e-4)


def test_new_data_on_another_scale_are_noticed() -> None:
    x = np.random.default_rng(1).uniform(size=(40, 5))
    fitted = small().fit(x)
    for factor in (255, 1 / 255):
        with pytest.warns(Notice, match="times as large as those that the network was trained on; scale them alike"):
            fitted.transform(factor * x)
    fitted.transform(x[:1] * 0)


def test_features_that_are_all_the_same_are_an_error() -> None:
    with pytest.raises(ValueError, match="features come out the same for every example: all examples are the same"):
        small().fit(np.ones((20, 4)))


def test_how_the_caller_lays_out_arrays_or_sets_torch_makes_no_difference() -> None:
    x = np.random.default_rng(1).uniform(size=(40, 5))
    wanted = small().fit_transform(x)
    assert (small().fit_transform(x[::-1].copy()[::-1]) == wanted).all()
    assert (small().fit_transform(np.asfortranarray(x)) == wanted).all()
    pretrained = RuleFeatures(steps=2, random_state=0)
    read_before = pretrained.fit_transform(x)
    estimator = small()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            assert (estimator.fit_transform(x) == wanted).all()
            assert (pretrained.fit_transform(x) == read_before).all()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_what_it_will_take_is_said_first_and_noticed_where_it_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    small().fit(table(), say=said.append)
    (line,) = said
    assert re.fullmatch(
        r"expected: 0:00:0\d for 3 inner steps and the features; [\d,]+ MB at the peak, .* available", line
    )
    monkeypatch.setattr(transformer, "LONG_S", 0)
    with pytest.warns(Notice, match="expected: .* for 3 inner steps and the features"):
        small().fit(table())


def test_more_memory_than_there_is_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(
        ValueError, match=r"work would take [\d,]+ MB at the peak, but .* are available; take less of it"
    ):
        expected("work", Taken(1.0, 2**60), torch.device("cpu"), "less of it")
