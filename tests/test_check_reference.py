"""The check against stored arrays, end to end, on vectors made by an independent transcription of the formulae."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from reference_numpy import meta_outputs, random_inputs, random_readout, tiny_config, update_outputs

from benchmarks.original import convert
from benchmarks.original.check import check_file, figures
from benchmarks.original.command import main
from benchmarks.original.compare import uncompared
from benchmarks.original.names import RULE_PREFIX, ArrayFile, rule_from_arrays
from unsupervised_update_rules.commands.entry import run
from update_rules.metz import change as metz_change
from update_rules.metz import metz
from update_rules.metz.change import TERMS, WeightChange
from update_rules.rule_file import load_rule

VECTORS = Path(__file__).parent / "vectors"
SHARED = Path(__file__).parents[2] / "shared" / "reference"
OWN = sorted(VECTORS.glob("*.npz"))
ORIGINAL = [path for path in sorted(SHARED.glob("*.npz")) if path.stat().st_size < 2_000_000]


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as archive:
        return dict(archive)


@pytest.fixture(scope="module")
def tiny() -> dict[str, np.ndarray]:
    return arrays_of(VECTORS / "tiny.npz")


@pytest.mark.parametrize("path", OWN + ORIGINAL, ids=lambda path: path.name)
def test_every_vector_passes(path: Path) -> None:
    result = check_file(path)
    assert result.passed, figures(result)
    assert result.uncompared == []


def test_script_prints_a_table_for_each_file_and_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(path) for path in OWN]) == 0
    out = capsys.readouterr().out
    assert "tiny.npz: update steps" in out
    assert "tiny_metagrad.npz: meta-gradient" in out
    assert "tiny_metaobj.npz: meta-objective" in out
    assert "FAIL" not in out
    groups = "fwd neuron/h neuron/d change forward_terms base3 meta grad_theta grad_base0 final case1 case2"
    rows = [line.split() for line in out.splitlines()]
    assert {row[0] for row in rows if row} >= set(groups.split())
    assert rows[-1] == ["all", "within", "limits"]


def test_stored_vector_is_what_the_transcription_gives(tiny: dict[str, np.ndarray]) -> None:
    for name, value in update_outputs(tiny, (3,)).items():
        np.testing.assert_allclose(tiny[name].reshape(value.shape), value, rtol=0, atol=1e-12)


def test_separate_backward_updates_and_deeper_networks(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    config = tiny_config(0) | {"n_layers": 2, "top_delta_layers": 2, "compute_h_layers": 2, "num_grad_channels": 3}
    inputs = random_inputs(config, 8, rng)
    path = tmp_path / "deep.npz"
    np.savez(path, **inputs, **update_outputs(inputs, (1, 2)))
    readout = random_readout(8, rng)
    wanted = {
        f"grad_theta/{RULE_PREFIX}{name}"
        for name in ("backwardlin_upper_symm_top/linear/b", "backward_weight_readout_coeffs/w", "linear/b")
    }
    np.savez(tmp_path / "deep_metagrad_short.npz", **readout, **meta_outputs(inputs, readout, wanted))
    result = check_file(path)
    assert result.passed, figures(result)
    assert {"backward_terms", "base1", "base2"} <= {group.group for group in result.groups}
    result = check_file(tmp_path / "deep_metagrad_short.npz")
    assert result.passed, figures(result)


def test_float32_files_have_the_limits_of_rounding(tmp_path: Path, tiny: dict[str, np.ndarray]) -> None:
    path = tmp_path / "tiny.npz"
    rounded = {name: a.astype(np.float32) if a.dtype == np.float64 and a.ndim else a for name, a in tiny.items()}
    np.savez(path, **rounded)
    result = check_file(path)
    assert result.passed, figures(result)
    assert min(group.limits[0] for group in result.groups) > 1e-5


def test_outputs_only_file_takes_its_inputs_from_its_sibling(tmp_path: Path, tiny: dict[str, np.ndarray]) -> None:
    inputs = ("theta/", "base0/", "batches/")
    np.savez(tmp_path / "tiny_f64.npz", **{n: a for n, a in tiny.items() if not n.startswith(inputs)})
    with pytest.raises(ValueError, match=r"tiny_f64\.npz holds outputs only.*expected .*tiny\.npz"):
        check_file(tmp_path / "tiny_f64.npz")
    shutil.copy(VECTORS / "tiny.npz", tmp_path)
    result = check_file(tmp_path / "tiny_f64.npz")
    assert result.passed, figures(result)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("tiny", "fwd/z1"),
        ("tiny", "neuron/h0"),
        ("tiny", "neuron/d_in1"),
        ("tiny", "forward_terms2/hebb"),
        ("tiny", "change/b2"),
        ("tiny", "base3/LocalWeightUpdateWLearner/LinearBatchNorm_3/linear/w"),
        ("tiny", "theta/MoreLocalWeightUpdateProcess/compute_top_delta/conv_1d_1/w"),
        ("tiny_metaobj", "case2/ridge_weights"),
        ("tiny_metagrad", "grad_theta/MoreLocalWeightUpdateProcess/linear/w"),
        ("tiny_metagrad", "grad_base0/LocalWeightUpdateWLearner/LinearBatchNorm_1/b"),
    ],
)
@pytest.mark.parametrize("damage", ["sign", "small", "nan"])
def test_a_damaged_array_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, name: str, damage: str
) -> None:
    for path in OWN:
        shutil.copy(path, tmp_path)
    path = tmp_path / f"{file}.npz"
    arrays = arrays_of(path)
    damaged = arrays[name].copy()
    if damage == "sign":
        damaged *= -1
    elif damage == "small":
        damaged += 1e-4 * np.abs(damaged).max()
    else:
        damaged.flat[-1] = np.nan
    np.savez(path, **(arrays | {name: damaged}))
    assert main([str(path)]) == 1
    out = capsys.readouterr().out
    assert "FAIL" in out
    if not name.startswith("theta/"):
        assert f"worst: {name}" in out


@pytest.mark.parametrize("term", TERMS)
def test_a_term_of_the_wrong_sign_fails(monkeypatch: pytest.MonkeyPatch, term: str) -> None:
    right = WeightChange.terms

    def wrong(self: WeightChange, *args: torch.Tensor) -> dict[str, torch.Tensor]:
        terms = right(self, *args)
        return terms | {term: -terms[term]}

    monkeypatch.setattr(WeightChange, "terms", wrong)
    failed = {group.group for group in check_file(VECTORS / "tiny.npz").groups if not all(group.passed)}
    assert failed == {"change", "base3", "forward_terms"}


@pytest.mark.parametrize(
    ("module", "name", "wrong", "groups"),
    [
        (metz_change, "symmetrise", lambda u: (u + u.transpose(-1, -2)) / 2**0.5, {"forward_terms", "change", "base3"}),
        (metz_change, "bounded_columns", lambda t: t, {"change", "base3"}),
        (metz, "bias_change", lambda readout, h: -metz_change.bias_change(readout, h), {"change", "base3"}),
        (metz, "weight_statistics", lambda i, o: torch.zeros(len(o) if i is None else i.shape[1], 8).to(
            (o if i is None else i).dtype), {"neuron/h", "neuron/d", "forward_terms", "change", "base3"}),
    ],
)  # fmt: skip
def test_a_wrong_formula_fails(
    monkeypatch: pytest.MonkeyPatch, module: object, name: str, wrong: object, groups: set[str]
) -> None:
    monkeypatch.setattr(module, name, wrong)
    assert {group.group for group in check_file(VECTORS / "tiny.npz").groups if not all(group.passed)} == groups


def test_arrays_that_nothing_is_compared_with_are_named(tmp_path: Path, tiny: dict[str, np.ndarray]) -> None:
    path = tmp_path / "tiny.npz"
    np.savez(path, **tiny, **{"forward_terms1/unknown": np.zeros(3)})
    result = check_file(path)
    assert result.uncompared == ["forward_terms1/unknown"]
    assert "not compared: forward_terms1/unknown" in figures(result)


def bad_file(folder: Path, kind: str) -> Path:
    """A file of one kind that cannot be checked."""
    path = folder / "bad.npz"
    arrays = arrays_of(VECTORS / "tiny.npz")
    objective = arrays_of(VECTORS / "tiny_metaobj.npz")
    bias = "base0/LocalWeightUpdateWLearner/LinearBatchNorm/b"
    if kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("not an archive")
    elif kind == "truncated":
        path.write_bytes((VECTORS / "tiny.npz").read_bytes()[:9000])
    elif kind == "flipped":
        content = bytearray((VECTORS / "tiny.npz").read_bytes())
        content[20_000:20_200] = bytes(200)
        path.write_bytes(content)
    elif kind == "single":
        np.save(folder / "bad.npy", np.zeros(3))
        (folder / "bad.npy").rename(path)
    elif kind == "objects":
        np.savez(path, **{"fwd/x0": np.array([{}, None], dtype=object)})
    elif kind == "strings":
        np.savez(path, **{"fwd/x0": np.array(["a"])})
    elif kind == "foreign":
        np.savez(path, x=np.zeros(3), y=np.zeros(3))
    elif kind == "no outputs":
        np.savez(path, **{n: a for n, a in arrays.items() if n.startswith(("cfg", "theta", "base0", "batches"))})
    elif kind == "unknown outputs":
        known = ("cfg", "theta", "base0", "batches")
        np.savez(path, **{"fwd/other": np.zeros(3)}, **{n: a for n, a in arrays.items() if n.startswith(known)})
    elif kind == "missing array":
        del arrays[f"theta/{RULE_PREFIX}linear/w"]
        np.savez(path, **arrays)
    elif kind == "wrong shape":
        np.savez(path, **(arrays | {"fwd/x1": np.zeros((2, 2))}))
    elif kind == "wrong theta":
        np.savez(path, **(arrays | {f"theta/{RULE_PREFIX}linear/w": np.zeros((2, 7))}))
    elif kind == "wrong base":
        np.savez(path, **(arrays | {bias: np.zeros((1, 9))}))
    elif kind == "wrong images":
        np.savez(path, **(arrays | {"batches/images": np.zeros((2, 4, 9, 1))}))
    elif kind == "wrong size":
        np.savez(path, **(arrays | {"cfg/n_layers": np.array(-1)}))
    elif kind == "two sizes":
        np.savez(path, **(arrays | {"cfg/n_layers": np.array([3, 3])}))
    elif kind == "wrong rows":
        np.savez(path, **(arrays | {"neuron/rows": np.array([99])}))
    elif kind == "wrong labels":
        np.savez(path, **(objective | {"case1/labels_test": objective["case1/labels_test"] + 50}))
    elif kind == "wrong features":
        np.savez(path, **(objective | {"case1/features_test": np.zeros((9, 2))}))
    return path


@pytest.mark.parametrize(
    "kind",
    [
        "missing", "empty", "folder", "text", "truncated", "flipped", "single", "objects", "strings", "foreign",
        "no outputs", "unknown outputs", "missing array", "wrong shape", "wrong theta", "wrong base", "wrong images",
        "wrong size", "two sizes", "wrong rows", "wrong labels", "wrong features",
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_checked_is_one_line_and_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    path = bad_file(tmp_path, kind)
    with pytest.raises(SystemExit) as exit_:
        run(lambda: main([str(path)]))
    assert exit_.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert "bad.npz" in lines[0]


def test_uncompared_ignores_inputs_and_biases_that_nothing_reads() -> None:
    names = [
        "cfg/x",
        "theta/a/w",
        "base0/a/w",
        "base5/a/LinearBatchNorm_9/b",
        "final/a/shuffle_ind",
        "meta/labels_test",
    ]
    arrays = dict.fromkeys(names, np.zeros(1))
    assert uncompared(ArrayFile(Path("x.npz"), arrays | {"base5/a/w": np.zeros(1)}), {}) == ["base5/a/w"]


def test_as_a_command() -> None:
    script = Path(__file__).parents[1] / "scripts" / "check_reference.py"
    command = [sys.executable, str(script)]
    good = subprocess.run([*command, str(OWN[0])], capture_output=True, text=True, check=False)
    assert (good.returncode, good.stderr) == (0, "")
    bad = subprocess.run([*command, "nowhere.npz"], capture_output=True, text=True, check=False)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.startswith("error: ")
    assert "nowhere.npz" in bad.stderr


@pytest.mark.parametrize("bare", [False, True])
def test_a_rule_file_is_made_of_the_originals_arrays(
    bare: bool, tiny: dict[str, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With nothing but the arrays of θ, as a checkpoint has them, sizes are told by shapes."""
    theta = {name: value for name, value in tiny.items() if name.startswith("theta/")}
    given, out = tmp_path / "arrays.npz", tmp_path / "rule.safetensors"
    np.savez(given, **{name.removeprefix("theta/") if bare else name: value for name, value in theta.items()})
    assert convert.main([str(given), str(out)]) == 0
    rule = load_rule(out)
    expected = rule_from_arrays(ArrayFile(VECTORS / "tiny.npz", tiny), 1e-4, torch.float32)
    assert rule.config == expected.config
    sizes = {"hidden": "compute_h_size", "top_layers": "top_delta_layers", "outputs": "output_size"}
    assert {ours: rule.config[ours] for ours in sizes} == {ours: int(tiny[f"cfg/{one}"]) for ours, one in sizes.items()}
    assert all(torch.equal(value, expected.state_dict()[name]) for name, value in rule.state_dict().items())
    assert "wrote" in capsys.readouterr().out
    lacking = {name: value for name, value in theta.items() if "forwardlin_upper_psd_top" not in name}
    np.savez(given, **lacking)
    with pytest.raises(ValueError, match=r"arrays\.npz has no array theta/.*forwardlin_upper_psd_top"):
        convert.main([str(given), str(tmp_path / "other.safetensors")])
    np.savez(given, something=np.zeros(3))
    with pytest.raises(ValueError, match="has no array"):
        convert.main([str(given), str(tmp_path / "other.safetensors")])
    np.savez(given)
    with pytest.raises(ValueError, match="has no array"):
        convert.main([str(given), str(tmp_path / "other.safetensors")])
    flat = next(name for name in theta if name.endswith("compute_top_delta/conv_1d_1/w"))
    np.savez(given, **{**theta, flat: np.zeros(3)})
    with pytest.raises(ValueError, match="expected 2 axes or more"):
        convert.main([str(given), str(tmp_path / "other.safetensors")])
    for rate in ("-1", "nan", "x"):
        with pytest.raises(ValueError, match="expected a number above 0"):
            convert.main([str(given), str(tmp_path / "other.safetensors"), "--learning-rate", rate])
    assert not (tmp_path / "other.safetensors").exists()
