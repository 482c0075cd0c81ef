"""Rule files and the registry: what is saved comes back to the bit, and nothing else is accepted."""

import json
import os
import pickle
import sys
from collections import Counter

import pytest
import torch
from safetensors.torch import load_file, save_file

from common.atomic_file import atomic_write, remove_temporary_files, temporary_name
from common.tensor_file import file_header
from examples import RULES as EXAMPLES
from inner_loop.networks.mlp import MLP
from update_rules import rule_file
from update_rules.contract import Problem
from update_rules.registry import RULES, make_rule
from update_rules.rule_file import load_rule, read_header, read_rule, save_rule

PROVENANCE = {"sources": ["glyphs@train", "digits"], "commit": "abc123", "outer_steps": 40, "accuracy": 0.5}


def small_rule(seed=0):
    rule = make_rule("neuron_local", hidden=4, error_channels=2, readout_channels=1, seed=seed)
    with torch.no_grad():
        rule.mixing.uniform_(generator=torch.Generator().manual_seed(1))
    return rule


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "rule.safetensors"
    save_rule(path, small_rule(), PROVENANCE)
    return path


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
@pytest.mark.parametrize("normalisation", ["batch", "running"])
def test_every_rule_comes_back_to_the_bit(example, normalisation, tmp_path):
    problem = Problem.of(example.network, normalisation=normalisation)
    rule = make_rule(example.name, **(RULES.find(example.name).options_for(problem, 3) | example.options))
    with torch.no_grad():
        for value in rule.state_dict().values():
            value.add_(torch.rand(value.shape, generator=torch.Generator().manual_seed(1)))
    save_rule(tmp_path / "rule", rule, {})
    again = load_rule(tmp_path / "rule", trust=[type(rule).__module__])
    assert type(again) is RULES.find(example.name)
    assert again.config == rule.config
    assert again.state_dict().keys() == rule.state_dict().keys()
    for key, value in rule.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)


OWN = """
from update_rules.local.hebbian import Hebbian


class Mine(Hebbian):
    name = "mine"
"""


def test_a_rule_of_ones_own_comes_back_where_its_module_is_trusted(own_module, tmp_path):
    module, path = own_module(OWN), tmp_path / "rule"
    rule = make_rule(f"{module}:Mine", rate=0.25)
    save_rule(path, rule, PROVENANCE)
    assert read_header(path).rule == f"{module}:Mine"
    sys.modules.pop(module)
    message = rf"^rule file .*rule: needs the rule {module}:Mine, so the module {module}, .*--trust {module} "
    for trust in ((), [module[:-1]], [f"{module}.more"]):
        with pytest.raises(ValueError, match=message) as caught:
            read_rule(path, trust)
        assert "\n" not in str(caught.value)
    assert read_header(path).rule == f"{module}:Mine"
    assert module not in sys.modules
    again, header = read_rule(path, [module])
    assert (type(again).__module__, type(again).__name__) == (module, "Mine")
    assert module in sys.modules
    assert (again.config, header.trust) == (rule.config, (module,))
    assert torch.equal(again.log_rate, rule.log_rate)


def test_the_header_says_where_the_rule_comes_from(path):
    header = read_header(path)
    assert (header.version, header.rule) == ("2", "neuron_local")
    assert header.config == small_rule().config
    assert json.loads(header.provenance["sources"]) == ["glyphs@train", "digits"]
    assert header.provenance["commit"] == "abc123"
    assert json.loads(header.provenance["outer_steps"]) == 40
    assert header.provenance.keys() == PROVENANCE.keys()


def test_the_header_says_what_the_rule_is_used_with_and_that_is_no_provenance(path):
    assert read_header(path).use == {}
    network = {"name": "mlp", "options": {"hidden": [[12]], "activations": ["winners_linear"]}}
    use = {"network": network, "steps": 7, "readout": {"name": "ridge", "options": {"penalty": 0.5}}}
    save_rule(path, small_rule(), PROVENANCE, use)
    header = read_header(path)
    assert (header.use, header.provenance.keys()) == (use, PROVENANCE.keys())


def test_equal_rules_make_equal_bytes(tmp_path):
    for name in ("a", "b"):
        save_rule(tmp_path / name, small_rule(), PROVENANCE)
    save_rule(tmp_path / "c", small_rule(), dict(reversed(PROVENANCE.items())))
    assert len({(tmp_path / name).read_bytes() for name in "abc"}) == 1


def test_other_readers_of_the_format_read_it_too(path):
    tensors = load_file(path)
    for name, value in small_rule().state_dict().items():
        assert torch.equal(tensors[name], value)
    header = int.from_bytes(path.read_bytes()[:8], "little")
    assert header % 8 == 0


def test_a_rule_in_the_pretrained_folder_goes_by_its_name(path, monkeypatch):
    monkeypatch.setattr(rule_file, "PRETRAINED", path.parent)
    assert torch.equal(load_rule("rule").mixing, small_rule().mixing)
    with pytest.raises(
        FileNotFoundError, match=r"rul: not found, expected a file or one of rule \(did you mean rule\?\)"
    ):
        load_rule("rul")


def rewrite(path, metadata=None, **changes):
    """The file with other metadata and tensors; None removes."""
    header = {**file_header(path, "rule file"), **(metadata or {})}
    tensors = {**load_file(path), **changes}
    save_file(
        {key: value for key, value in tensors.items() if value is not None},
        path,
        {key: value for key, value in header.items() if value is not None},
    )


NAN = torch.tensor(torch.nan)


@pytest.mark.parametrize(
    ("metadata", "tensors", "part"),
    [
        ({"format": "pt"}, {}, "got a file of format 'pt', expected 'unsupervised-update-rule'"),
        ({"format": None}, {}, "got a file of format None, expected 'unsupervised-update-rule'"),
        ({"version": "1"}, {}, "got version '1', expected '2'"),
        ({"version": "3"}, {}, "got version '3', expected '2'"),
        ({"version": None}, {}, "got version None, expected '2'"),
        ({"rule": "neuron_locl"}, {}, "did you mean neuron_local?"),
        ({"rule": None}, {}, "got rule ''"),
        ({"config": "{"}, {}, "expected a JSON object"),
        ({"config": "[1]"}, {}, "expected a JSON object"),
        ({"config": "[" * 100_000}, {}, "expected a JSON object"),
        ({"config": None}, {}, "expected a JSON object"),
        ({"use": "[1]"}, {}, "got use '[1]', expected a JSON object"),
        ({"config": '{"hidden": "4"}'}, {}, "hidden='4', expected a valid integer"),
        ({"config": '{"hiden": 4}'}, {}, "did you mean hidden?"),
        ({"config": '{"hidden": -4}'}, {}, "does not make a rule"),
        ({"config": '{"hidden": 1000000000000}'}, {}, "does not make a rule"),
        ({"config": '{"hidden": 5}'}, {}, "expected torch.float32"),
        ({}, {"mixing": None}, "tensors missing ['mixing'], unexpected []"),
        ({}, {"extra": NAN}, "unexpected ['extra']"),
        ({}, {"mixing": torch.zeros(10)}, "mixing is torch.float32 [10], expected torch.float32 [11]"),
        ({}, {"mixing": torch.zeros(12, dtype=torch.float64)}, "mixing is torch.float64 [12]"),
        ({}, {"log_rate": NAN}, "log_rate has NaN or infinite numbers"),
        ({}, {"log_rate": torch.tensor(-torch.inf)}, "log_rate has NaN or infinite numbers"),
    ],
)
def test_a_rule_file_that_does_not_fit_is_one_line(path, metadata, tensors, part):
    rewrite(path, metadata, **tensors)
    with pytest.raises(ValueError, match=r"^rule file .*rule\.safetensors: ") as caught:
        load_rule(path)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_file_is_one_line(path):
    whole = path.read_bytes()
    contents = [whole[:length] for length in (0, 4, 8, 100, len(whole) // 2, len(whole) - 1)]
    contents += [whole + b"\0", b"\xff" * 64, b"not a rule at all", pickle.dumps({"theta": 1})]
    for content in contents:
        path.write_bytes(content)
        for read in (load_rule, read_header):
            with pytest.raises(ValueError, match=r"rule\.safetensors: damaged or not safetensors") as caught:
                read(path)
            assert "\n" not in str(caught.value)


def test_a_pickle_is_refused_and_not_run(tmp_path):
    torch.save(Trap(tmp_path / "ran"), tmp_path / "rule.pt")
    with pytest.raises(ValueError, match="not safetensors"):
        load_rule(tmp_path / "rule.pt")
    assert not (tmp_path / "ran").exists()


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_a_file_that_cannot_be_read_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent: not found"):
        load_rule(tmp_path / "absent")
    with pytest.raises(IsADirectoryError, match=r"rule file .*: Is a directory"):
        load_rule(tmp_path)


def test_a_rule_that_is_not_finite_is_not_saved(path):
    before = path.read_bytes()
    rule = small_rule()
    with torch.no_grad():
        rule.mixing[3] = torch.inf
    with pytest.raises(ValueError, match="rule neuron_local: mixing has NaN or infinite numbers"):
        save_rule(path, rule, {})
    with pytest.raises(
        ValueError, match="got provenance rule, expected other keys than format, version, rule, config, use"
    ):
        save_rule(path, small_rule(), {"rule": "x"})
    assert path.read_bytes() == before


def test_a_file_that_cannot_be_written_is_an_os_error_with_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cannot write .*absent/rule: No such file or directory"):
        save_rule(tmp_path / "absent" / "rule", small_rule(), {})
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match=r"cannot write .*folder: Is a directory"):
        save_rule(tmp_path / "folder", small_rule(), {})
    assert Counter(tmp_path.iterdir()) == Counter([tmp_path / "folder"])


def test_what_fails_while_writing_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def interrupted():
        with atomic_write(path) as file:
            file.write(b"ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    with atomic_write(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_only_temporary_files_are_removed(tmp_path):
    for name in ("keep", ".keep", "keep.tmp"):
        (tmp_path / name).write_bytes(b"")
    temporary_name(tmp_path / "gone").write_bytes(b"")
    remove_temporary_files(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".keep", "keep", "keep.tmp"]


def test_what_an_older_file_does_not_name_is_as_it_then_was(tmp_path):
    """Inner steps of MAML moved scales and shifts before there was an option for it."""
    weights = {"weights": "w1=4x3 b1=3 w2=3x2 b2=2"}
    save_rule(tmp_path / "new", make_rule("maml", **weights), {})
    header = file_header(tmp_path / "new", "rule file")
    config = json.loads(header["config"])
    assert config.pop("adapt_normalisation") is False
    save_file(load_file(tmp_path / "new"), tmp_path / "old", header | {"config": json.dumps(config)})
    found = {name: load_rule(tmp_path / name) for name in ("new", "old")}
    assert [one.config["adapt_normalisation"] for one in found.values()] == [False, True]
    problem = Problem.of(MLP((4, 3, 2)), ways=2)
    states = [one.init_state(problem, torch.Generator()).keys() for one in found.values()]
    assert states[1] - states[0] == {"b1"}


def test_the_registry_knows_the_rules_by_name():
    trained = {"metz", "neuron_local", "hebbian", "maml", "sca", "semi_supervised_maml", "protonet"}
    by_hand = {"oja", "sanger", "krotov_hopfield", "soft_hebb"}
    assert set(RULES.names) == trained | by_hand | {
        "attention_clusterer",
        "recurrent_clusterer",
        "pair_similarity",
        "chosen_clusterer",
    }
    for name in RULES.names:
        assert RULES.find(name).name == name
    assert make_rule("neuron_local", hidden=7, rate=0.5).config["hidden"] == 7


@pytest.mark.parametrize(
    ("name", "options", "part"),
    [
        (
            "hebian",
            {},
            "expected one of metz, neuron_local, hebbian, oja, sanger, krotov_hopfield, soft_hebb, maml, sca",
        ),
        ("maml", {"rate": 0.1}, "rule maml: got no option weights, which it needs"),
        ("neuron_local", {"hiden": 3}, "got option 'hiden', expected one of hidden, error_channels"),
        ("neuron_local", {"hidden": 3.0}, "got hidden=3.0, expected a valid integer"),
        ("neuron_local", {"rate": "fast"}, "got rate='fast', expected a valid number"),
    ],
)
def test_a_rule_that_cannot_be_made_is_one_line(name, options, part):
    with pytest.raises(ValueError, match="got") as caught:
        make_rule(name, **options)
    assert part in str(caught.value)


def test_a_folder_called_like_a_pretrained_rule_does_not_hide_it(tmp_path, monkeypatch):
    (tmp_path / "hebbian").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_rule("hebbian").name == "hebbian"
