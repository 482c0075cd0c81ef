"""scripts/apply_rule.py from the command line to the files it writes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.notice import Notice
from inner_loop.transformer import RuleFeatures
from unsupervised_update_rules.commands import apply_rule
from update_rules.gradient.protonet import ProtoNet
from update_rules.local.hebbian import Hebbian
from update_rules.registry import make_rule
from update_rules.rule_file import load_rule, save_rule

SMALL = ["--hidden", "6", "--outputs", "4", "--steps", "3"]


@pytest.fixture
def rule(tmp_path: Path) -> str:
    save_rule(tmp_path / "rule.safetensors", Hebbian(), {"sources": ["digits"]})
    return str(tmp_path / "rule.safetensors")


def table(path: Path, n: int = 30, inputs: int = 5, **arrays: object) -> str:
    np.savez(path, x=np.random.default_rng(0).normal(size=(n, inputs)), **arrays)
    return f"npz:{path}"


def test_features_and_network_are_written_and_new_data_is_embedded_alike(
    tmp_path: Path, rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = table(tmp_path / "data.npz", y=np.arange(30) % 3)
    out, network = tmp_path / "features.npz", tmp_path / "network.safetensors"
    assert (
        apply_rule.main(["--rule", rule, "--data", data, "--out", str(out), "--network-out", str(network), *SMALL]) == 0
    )
    captured = capsys.readouterr()
    assert (
        "features.npz: features [30, 4], ids [30], y [30], class_names [3], rows in the order of npz:" in captured.out
    )
    assert captured.err.startswith("expected: 0:00:0")
    assert "inner step 3/3" in captured.err
    with np.load(out) as written:
        features, y = written["features"], written["y"]
    assert features.dtype == np.float32
    assert (y == np.arange(30) % 3).all()
    again = tmp_path / "again.npz"
    assert apply_rule.main(["--network-in", str(network), "--data", data, "--out", str(again)]) == 0
    with np.load(again) as written:
        assert (written["features"] == features).all()
    estimator = RuleFeatures(load_rule(rule), hidden=(6,), outputs=4, steps=3, random_state=0)
    with np.load(tmp_path / "data.npz") as stored:
        np.testing.assert_allclose(estimator.fit_transform(stored["x"].astype(np.float32)), features, rtol=1e-5)


def test_unlabelled_data_of_any_kind_gives_features_without_labels(tmp_path: Path, rule: str) -> None:
    numbers = tmp_path / "rows.csv"
    numbers.write_text("a,b,c\n" + "\n".join(f"{i},{i * i},{-i}" for i in range(12)))
    images = tmp_path / "images.npz"
    np.savez(images, x=np.random.default_rng(0).integers(0, 256, size=(12, 6, 6), dtype=np.uint8))
    for data, size in ((f"csv:{numbers}", []), (f"npz:{images}", ["--size", "3"])):
        out = tmp_path / "features.npz"
        assert apply_rule.main(["--rule", rule, "--data", data, "--out", str(out), *SMALL, *size]) == 0
        with np.load(out) as written:
            assert list(written) == ["features", "ids"]
            assert written["features"].shape == (12, 4)


def test_the_seed_decides_the_features(tmp_path: Path, rule: str) -> None:
    data, features = table(tmp_path / "data.npz"), []
    for seed in ("1", "1", "2"):
        out = tmp_path / "features.npz"
        apply_rule.main(["--rule", rule, "--data", data, "--out", str(out), "--seed", seed, *SMALL])
        with np.load(out) as written:
            features.append(written["features"])
    assert (features[0] == features[1]).all()
    assert not (features[0] == features[2]).all()


OWN = """
from update_rules.local.hebbian import Hebbian


class Mine(Hebbian):
    name = "mine"
"""


def test_a_rule_of_ones_own_runs_where_its_module_is_trusted(
    tmp_path: Path, own_module: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    module, network = own_module(OWN), str(tmp_path / "network")
    save_rule(tmp_path / "rule", make_rule(f"{module}:Mine"), {})
    sys.modules.pop(module)
    same = ["--data", table(tmp_path / "data.npz"), "--out", str(tmp_path / "features.npz")]
    train = ["--rule", str(tmp_path / "rule"), "--network-out", network, *same, *SMALL]
    for argv in (train, ["--network-in", network, *same]):
        with pytest.raises(ValueError, match=rf"needs the rule {module}:Mine, .*add --trust {module} "):
            apply_rule.main(argv)
        assert module not in sys.modules
        assert apply_rule.main([*argv, "--trust", module]) == 0
        assert sys.modules.pop(module).Mine.name == "mine"
    assert "trained by rule mine" in capsys.readouterr().out


def test_a_terminal_gets_a_bar(
    tmp_path: Path, rule: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    data, out = table(tmp_path / "data.npz"), str(tmp_path / "features.npz")
    apply_rule.main(["--rule", rule, "--data", data, "--out", out, *SMALL])
    error = capsys.readouterr().err
    assert "━" in error
    assert "3/3" in error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--rule": "none.safetensors"}, "none.safetensors: not found"),
        ({"--rule": "{tmp}/data.npz"}, "rule file .*data.npz"),
        ({"--out": "{tmp}/out.csv"}, r"got --out .*out.csv, expected the name of an .npz file"),
        ({"--rule": "{tmp}/start"}, r"rule protonet consumes the views \[\], expected unlabelled batches alone"),
        ({"--data": "npz:{tmp}/none.npz"}, "none.npz"),
        ({"--data": "npz:{tmp}/one.npz"}, "1 sample"),
        ({"--data": "npz:{tmp}/nan.npz"}, "NaN or infinite"),
        ({"--data": "moon"}, "unknown source 'moon'"),
        ({"--out": "{tmp}/no/features.npz"}, "cannot write .*there is no folder"),
        ({"--out": "{tmp}"}, "cannot write .*it is a folder"),
        ({"--network-out": "{tmp}/no/network"}, "cannot write .*there is no folder"),
        ({"--steps": "-1"}, "argument --steps: got '-1', expected a whole number of 0 or more"),
        ({"--batch": "many"}, "argument --batch: got 'many', expected a whole number of 2 or more"),
        ({"--activation": "rellu"}, "invalid choice: 'rellu'"),
        ({"--seed": "99999999999"}, "Seed must be between"),
        ({"--stepps": "1"}, "unrecognized arguments: --stepps"),
        ({"--rule": None}, "one of the arguments --rule --network-in is required"),
        ({"--rule": None, "--network-in": "{tmp}/data.npz"}, "damaged or not safetensors"),
        ({"--rule": None, "--network-in": "{tmp}/wide.safetensors"}, "holds rows of 5 inputs, expected rows of 7"),
        ({"--rule": None, "--network-in": "n", "--network-out": "m"}, "expected one of them"),
    ],
)
def test_bad_input_is_one_clear_line_and_writes_nothing(
    tmp_path: Path, rule: str, change: dict[str, str | None], message: str
) -> None:
    arguments: dict[str, str | None] = {
        "--rule": rule,
        "--data": table(tmp_path / "data.npz"),
        "--out": str(tmp_path / "features.npz"),
    }
    table(tmp_path / "one.npz", n=1)
    save_rule(tmp_path / "start", ProtoNet("w1=5x64 b1=64 w2=64x64 b2=64 w3=64x32 b3=32"), {})
    np.savez(tmp_path / "nan.npz", x=np.full((5, 2), np.nan))
    wide = table(tmp_path / "wide.npz", inputs=7)
    network = str(tmp_path / "wide.safetensors")
    apply_rule.main(
        ["--rule", rule, "--data", wide, "--out", str(tmp_path / "wide_features.npz"), "--network-out", network, *SMALL]
    )
    before = sorted(tmp_path.iterdir())
    arguments |= {key: value and value.replace("{tmp}", str(tmp_path)) for key, value in change.items()}
    argv = [word for key, value in arguments.items() if value is not None for word in (key, value)]
    with pytest.raises((ValueError, OSError), match=message) as caught:
        apply_rule.main(argv)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_the_script_exits_with_2_and_one_line(tmp_path: Path, rule: str) -> None:
    script = Path(__file__).parent.parent / "scripts" / "apply_rule.py"
    argv = ["--rule", rule, "--data", "npz:none.npz", "--out", "features.npz"]
    done = subprocess.run([sys.executable, script, *argv], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_a_table_goes_in_by_name_and_comes_out_traceable(tmp_path: Path, rule: str) -> None:
    rows = [f"{'red' if i % 3 else 'blue'},{i % 7},p{i},{'yes' if i % 2 else 'no'}" for i in range(20)]
    (tmp_path / "a.csv").write_text("colour,size,code,ill\n" + "\n".join(rows))
    network, out, again = (str(tmp_path / name) for name in ("network.safetensors", "a.npz", "b.npz"))
    data = ["--data", f"csv:{tmp_path / 'a.csv'}", "--label", "ill"]
    apply_rule.main(["--rule", rule, *data, "--out", out, "--network-out", network, *SMALL])
    swapped = [",".join(row.split(",")[i] for i in (1, 2, 0)) for row in rows]
    (tmp_path / "b.csv").write_text(
        "id,size,code,colour\n" + "\n".join(f"row{i},{row}" for i, row in enumerate(swapped))
    )
    with pytest.warns(Notice, match="the column 'id' only names the rows"):
        apply_rule.main(["--network-in", network, "--data", f"csv:{tmp_path / 'b.csv'}", "--out", again])
    with np.load(out) as first, np.load(again) as second:
        assert first["features"].tolist() == second["features"].tolist()
        assert first["y"].tolist() == ["no", "yes"] * 10
        assert first["class_names"].tolist() == ["no", "yes"]
        assert first["ids"].tolist() == [str(i + 1) for i in range(20)]
        assert second["ids"].tolist() == [f"row{i}" for i in range(20)]
        assert "y" not in second
    apply_rule.main(["--network-in", network, *data[:2], "--out", again])
    with np.load(again) as second:
        assert second["y"].tolist() == ["no", "yes"] * 10  # the column of classes is known by its name
    (tmp_path / "c.csv").write_text("size,code\n1,p1\n2,p2\n")
    with pytest.raises(ValueError, match=r"no column 'colour', expected colour, size, code as in .*a\.csv"):
        apply_rule.main(["--network-in", network, "--data", f"csv:{tmp_path / 'c.csv'}", "--out", again])


def test_images_are_read_at_the_size_of_training(tmp_path: Path, rule: str) -> None:
    x = np.random.default_rng(0).integers(0, 256, size=(12, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", x=x)
    network, out, again = (str(tmp_path / name) for name in ("network.safetensors", "a.npz", "b.npz"))
    data = ["--data", f"npz:{tmp_path / 'x.npz'}"]
    apply_rule.main(["--rule", rule, *data, "--size", "4", "--out", out, "--network-out", network, *SMALL])
    apply_rule.main(["--network-in", network, *data, "--out", again])
    with np.load(out) as first, np.load(again) as second:
        assert first["features"].tolist() == second["features"].tolist()
    np.savez(tmp_path / "rows.npz", x=x.reshape(12, 64)[:, :16] / np.float32(255))
    with pytest.raises(ValueError, match="holds rows of 16 inputs, expected images 4 x 4 of 16"):
        apply_rule.main(["--network-in", network, "--data", f"npz:{tmp_path / 'rows.npz'}", "--out", again])


def test_what_is_read_is_not_overwritten(tmp_path: Path, rule: str) -> None:
    source = table(tmp_path / "data.npz", y=np.arange(30) % 3)
    before = (tmp_path / "data.npz").read_bytes()
    for out, more in ((tmp_path / "data.npz", []), (tmp_path / "f.npz", ["--network-out", rule])):
        with pytest.raises(ValueError, match="would overwrite what is read"):
            apply_rule.main(["--rule", rule, "--data", f"{source}@train", "--out", str(out), *more, *SMALL])
    assert (tmp_path / "data.npz").read_bytes() == before


def test_parts_of_data_are_those_of_the_rules_own_training(tmp_path: Path, rule: str) -> None:
    save_rule(tmp_path / "other.safetensors", Hebbian(), {"sources": ["digits"], "seed": 3})
    source = table(tmp_path / "data.npz", y=np.arange(30) % 15)
    ids = {}
    for name in (rule, str(tmp_path / "other.safetensors")):
        for seed in ("0", "1"):
            out = tmp_path / "f.npz"
            apply_rule.main(["--rule", name, "--data", f"{source}@test", "--out", str(out), "--seed", seed, *SMALL])
            with np.load(out) as written:
                ids[name, seed] = written["y"].tolist()
    (first, again), (other, _) = ([ids[name, seed] for seed in "01"] for name in dict.fromkeys(n for n, _ in ids))
    assert first == again
    assert first != other
