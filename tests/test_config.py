"""The config file: what is accepted, what is refused and how, and that what is saved is what was meant."""

import re
from pathlib import Path

import pytest
import yaml
from few_shot_settings import MAML, PROTONET
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from outer_loop.config.file import describe_config, load_config, save_config
from outer_loop.config.moved import MOVED
from outer_loop.config.schema import Config, Section

CONFIGS = Path(__file__).parent.parent / "configs"


def load(tmp_path, text, *overrides):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return load_config(path, overrides)


def test_keys_that_are_not_given_keep_their_defaults(tmp_path):
    config = load(tmp_path, "seed: 3\nouter: {clip: 0.5}\n")
    assert (config.seed, config.outer.clip) == (3, 0.5)
    assert config.outer.learning_rate == Config().outer.learning_rate
    assert config.network == Config().network


@pytest.mark.parametrize("text", ["1e-3", "1.0e-3", "0.001", ".001", "+1e-03", "1E-3"])
def test_numbers_are_read_as_people_write_them(tmp_path, text):
    assert load(tmp_path, f"outer: {{learning_rate: {text}}}").outer.learning_rate == 0.001
    assert load(tmp_path, "seed: 0", f"outer.learning_rate={text}").outer.learning_rate == 0.001


def test_words_that_older_yaml_takes_for_booleans_stay_words(tmp_path):
    assert load(tmp_path, "tracking: off").tracking.mode == "off"
    assert load(tmp_path, "seed: 0", "tracking=off").tracking.mode == "off"
    assert load(tmp_path, "tasks: {labeller: true}").tasks.labeller.name == "true"
    assert load(tmp_path, "tasks: {labeller: {name: true}}").tasks.labeller.name == "true"
    assert load(tmp_path, "seed: 0", "tasks.labeller=true").tasks.labeller.name == "true"
    assert load(tmp_path, "tasks: {labeller: shuffled}").tasks.labeller.name == "shuffled"
    assert load(tmp_path, "tasks: {labeller: true}", "tasks.labeller.name=shuffled").tasks.labeller.name == "shuffled"
    assert load(tmp_path, "run_dir: 010x").run_dir == "010x"
    assert load(tmp_path, "seed: 010").seed == 10


def test_overrides_reach_any_depth_and_the_last_one_wins(tmp_path):
    config = load(
        tmp_path,
        "rule: {name: neuron_local}",
        "rule.options.hidden=8",
        "inner.unroll=[2, 3]",
        "inner.read_every=2",
        "network.options.hidden=[[], [7]]",
        "seed=1",
        "seed=2",
    )
    assert config.rule.options == {"hidden": 8}
    assert config.inner.unroll == (2, 3)
    assert config.network.options == {"hidden": [[], [7]]}
    assert config.seed == 2


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("sed: 1", ["unknown config key sed", "got 1", "did you mean seed?"]),
        ("outer: {learnig_rate: 1.0}", ["outer.learnig_rate", "1.0", "did you mean outer.learning_rate?"]),
        ("learning_rate: 1.0", ["unknown config key learning_rate", "did you mean outer.learning_rate?"]),
        ("rule: {options: {hiden: 4}}", ["rule.options.hiden", "4", "did you mean hidden?"]),
        ("rule: {options: {hidden: 4.5}}", ["rule.options.hidden", "4.5", "expected an integer"]),
        ("rule: {options: {hidden: true}}", ["rule.options.hidden", "True", "expected an integer"]),
        (
            "rule: {options: {hidden:4}}",
            ["rule.options.hidden:4: got None", "(in braces a blank goes after each colon)"],
        ),
        ("rule: {name: neuron_locl}", ["rule.name", "'neuron_locl'", "metz", "did you mean neuron_local?"]),
        ("seed: one", ["config key seed", "'one'", "expected an integer"]),
        ("seed: 1.0", ["config key seed", "1.0", "expected an integer"]),
        ("seed: true", ["config key seed", "True", "expected an integer"]),
        ("seed: null", ["config key seed", "None", "expected an integer"]),
        ("seed: -1", ["config key seed", "-1", "expected 0 or more"]),
        ("outer_steps: 0", ["outer_steps", "got 0", "expected 1 or more"]),
        ("run_dir: 3", ["run_dir", "got 3", "expected a text"]),
        ("run_dir: ''", ["run_dir", "not empty"]),
        ("device: gpu", ["device", "'gpu'", "cpu, cuda or cuda:N"]),
        ("tracking: maybe", ["tracking", "'maybe'", "'auto', 'online', 'offline' or 'off'"]),
        ("outer: {clip: fast}", ["outer.clip", "'fast'", "expected a number"]),
        ("outer: {clip: 0}", ["outer.clip", "got 0", "expected more than 0"]),
        ("outer: {clip: 1e999}", ["outer.clip", "inf", "expected a finite number"]),
        ("outer: {optimiser: Adm}", ["outer.optimiser.name", "'Adm'", "did you mean Adam?"]),
        (
            "outer: {optimiser: {options: {betas: [0.9, 1.0]}}}",
            ["outer.optimiser.options", "[0.9, 1.0]", "what optimiser Adam takes: Invalid beta parameter at index 1"],
        ),
        ("outer: {optimiser: {options: {betas: [0.9]}}}", ["outer.optimiser.options.betas", "[0.9]", "list of two"]),
        ("outer: {optimiser: {options: {betas: [0.9, x]}}}", ["outer.optimiser.options.betas.1", "'x'", "a number"]),
        ("outer: {optimiser: {options: {lr: 1}}}", ["outer.optimiser.options.lr", "got 1", "outer.learning_rate"]),
        ("outer: {optimiser: {options: {params: 1}}}", ["outer.optimiser.options.params", "got 1", "no such option"]),
        ("outer: {readout: {options: {penalty: 0}}}", ["outer.readout.options.penalty", "got 0", "more than 0"]),
        ("outer: {readout: {name: head, options: {a: 1}}}", ["outer.readout.options.a", "expected no options"]),
        ("outer: {estimator: es}", ["outer.estimator.name", "'es'", "truncated_backprop, full_backprop"]),
        (
            "outer: {estimator: {name: evolution_strategies, options: {pairs: 0}}}",
            ["outer.estimator.options.pairs", "got 0", "1 or more"],
        ),
        (
            "outer: {estimator: {name: evolution_strategies, options: {deviation: 0}}}",
            ["outer.estimator.options.deviation", "got 0", "more than 0"],
        ),
        ("outer: {final_learning_rate: 2}", ["outer.final_learning_rate", "at most learning_rate, 0.001"]),
        ("outer: 3", ["config key outer", "got 3", "a section with the keys tasks_per_step"]),
        ("inner: {unroll: [1, 2, 3]}", ["inner.unroll", "[1, 2, 3]", "expected a list of two"]),
        ("inner: {unroll: 5}", ["inner.unroll", "got 5", "expected a list"]),
        ("inner: {unroll: [9, 8]}", ["inner.unroll", "[9, 8]", "shortest <= longest"]),
        ("inner: {unroll: [5, 30]}", ["inner.unroll", "(5, 30)", "the shortest length, 20"]),
        ("inner: {read_every: 6}", ["inner.read_every", "got 6", "at most the shortest unroll, 5"]),
        ("evaluation: {steps: 5}", ["evaluation.read_every", "got 10", "at most evaluation.steps, 5"]),
        ("tasks: {sources: 3}", ["tasks.sources", "got 3", "expected a list"]),
        ("outer: {lr: 3}", ["unknown config key outer.lr", "did you mean outer.learning_rate?"]),
        ("lr: 3", ["unknown config key lr", "did you mean outer.learning_rate?"]),
        ("epochs: 3", ["unknown config key epochs", "did you mean outer_steps?"]),
        ("tasks: {sources: []}", ["tasks.sources", "[]", "expected a list that is not empty"]),
        ("tasks: {permute: 1}", ["tasks.permute", "got 1", "expected true or false"]),
        ("tasks: {labeller: shuffle}", ["tasks.labeller", "true, shuffled", "did you mean shuffled?"]),
        (
            "tasks: {labeller: false}",
            ["tasks.labeller", "False", "expected a name, or a section with the keys name, o"],
        ),
        ("tasks: {labeller: {name: false}}", ["tasks.labeller.name", "False", "expected a text"]),
        ("tasks: {labeller: {name: true, options: {a: 1}}}", ["tasks.labeller.options.a", "expected no options"]),
        (
            "tasks: {labeller: {name: clusters, options: {groups: 1}}}",
            [
                "tasks.labeller.options",
                "{'groups': 1}, expected what labeller clusters takes: got groups=1, expected 2",
            ],
        ),
        (
            "tasks: {labeller: {name: instances, options: {augmentation: blur=2}}}",
            ["tasks.labeller.options", "got augmentation 'blur=2', expected identity, or NAME=STRENGTH"],
        ),
        ("network: {options: {hidden: [64]}}", ["network.options.hidden.0", "got 64", "expected a list"]),
        ("network: {options: {hidden: [[0]]}}", ["network.options.hidden.0.0", "got 0", "1 or more"]),
        ("network: {options: {hidden: []}}", ["network.options.hidden", "[]", "a list that is not empty"]),
        (
            "network: {options: {activations: [rleu]}}",
            ["network.options.activations.0", "'rleu'", "did you mean relu?"],
        ),
        ("network: {options: {activations: [step]}}", ["network.options", "'step'", "activations other than step"]),
        ("network: {options: {filters: 3}}", ["network.options.filters", "got 3", "hidden, outputs, activations"]),
        ("network: {name: mpl}", ["network.name", "'mpl'", "did you mean mlp?"]),
        ("network: {normalisation: none}", ["network.normalisation", "'none'", "batch, support, unlabelled, running"]),
        ("1: 2", ["config key 1", "expected a name"]),
        ("rule: {options: [3]}", ["rule.options", "[3]", "a mapping"]),
    ],
)
def test_a_wrong_key_is_one_line_with_its_name_the_value_and_what_was_expected(tmp_path, text, parts):
    with pytest.raises(ValueError, match=r"^(unknown )?config key ") as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert "\n" not in message
    assert "; " not in message, "one mistake makes one clause"
    for part in parts:
        assert part in message


INSTEAD = {
    "tasks.augmentation=crop=0.2": "tasks.labeller={name: instances, options: {augmentation: crop=0.2}}",
    "tasks.partitions=3": "tasks.labeller={name: clusters, options: {partitions: 3}}",
    "tasks.groups=100": "tasks.labeller={name: clusters, options: {groups: 100}}",
    "tasks.encoder=codes.safetensors": "tasks.labeller={name: clusters, options: {encoder: codes.safetensors}}",
    "rule.start=hebbian": "rule.pretrained=hebbian",
    "network.kind=mlp": "network.name=mlp",
    "network.hidden=[[5], []]": "network.options.hidden=[[5], []]",
    "network.outputs=3": "network.options.outputs=3",
    "network.activations=[tanh]": "network.options.activations=[tanh]",
    "network.filters=3": "network.options.filters=3",
    "network.channels=3": "network.options.channels=3",
    "network.pooling=max": "network.options.pooling=max",
    "network.batch_norm=support": "network.normalisation=support",
    "outer.objective=prototypes": "outer.readout=prototypes",
    "outer.penalty=0.2": "outer.readout={name: ridge, options: {penalty: 0.2}}",
    "outer.first_order=3": "rule.options.first_order=3",
    "outer.betas=[0.8, 0.9]": "outer.optimiser={name: Adam, options: {betas: [0.8, 0.9]}}",
}
"""What people used to write, and what they are told to write instead."""

BESIDE = {
    "network.options.filters": PROTONET,
    "network.options.channels": PROTONET,
    "network.options.pooling": PROTONET,
    "rule.options.first_order": MAML,
}
"""What else a config needs to have where only some components have such an option."""


@pytest.mark.parametrize("old", INSTEAD)
def test_a_key_that_moved_is_told_what_to_write_and_that_loads(tmp_path, old):
    key, _, value = old.partition("=")
    section, _, last = key.partition(".")
    for text, overrides in ((f"{section}:\n  {last}: {value}\n", []), ("seed: 0", [old])):
        message = f"^config key {key}: got .*, which has moved: leave it out, or write "
        with pytest.raises(ValueError, match=message) as caught:
            load(tmp_path, text, *overrides)
        assert str(caught.value).endswith(f"write {INSTEAD[old]}")
    place, _, written = INSTEAD[old].partition("=")
    found = load(tmp_path, "seed: 0", *BESIDE.get(place, ()), INSTEAD[old]).model_dump(mode="json")
    for name in place.split("."):
        found = found[name]
    meant = yaml.safe_load(written)
    assert found == ({"name": meant, "options": {}} if place == "outer.readout" and "{" not in written else meant)


def test_what_moved_is_no_key_any_more():
    assert {old.partition("=")[0] for old in INSTEAD} == set(MOVED)
    known = {line.partition("=")[0] for line in describe_config().splitlines()}
    assert not known & set(MOVED)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["outer.readout=head"], "outer.readout.name: got 'head', expected a readout of features, which rule neuron_l"),
        ([*MAML, "outer.readout=ridge"], "outer.readout.name: got 'ridge', expected a readout of logits, which rule"),
        (["network=conv4"], "network.name: got 'conv4', expected a network of dense layers"),
        (["tasks.untold=0.5"], "tasks.untold: got 0.5, expected 0 for rule neuron_local, which does not cluster"),
        (["network.normalisation=running"], "network.normalisation: got 'running', expected one of batch, support, un"),
        ([*PROTONET, "network.normalisation=running", "outer.average=0.5"], "outer.average: got 0.5, expected 0 with"),
        ([*PROTONET, "network.normalisation=unlabelled"], "network.normalisation: got 'unlabelled', expected batch or"),
        ([*PROTONET, "tasks.size=[4, 5]"], "tasks.size: got (4, 5), expected one choice"),
        ([*PROTONET, "network={name: mlp}"], "network.options: got {}, expected one choice of each"),
        ([*MAML, "inner.length=[2, 3]"], "inner.unroll: got (2, 2), expected [K, K] as inner.length"),
        (["outer.estimator=full_backprop"], "as inner.length, since estimator full_backprop learns from whole traject"),
        (
            [*MAML, "tasks.swapped=query_x"],
            "tasks.swapped: got ('query_x',), expected views that rule maml sees, support",
        ),
        (["tasks.distractors=3"], "tasks.distractors: got 3, expected 0 without tasks.unlabelled_shots"),
        ([*MAML, "inner.compile=true"], "inner.compile: got True, expected false for rule maml"),
        (
            ["inner.compile=true", "outer.estimator=forward_mode"],
            "inner.compile: got True, expected false for estimator forward_mode",
        ),
        (
            ["network.options.activations=[relu, step]"],
            "expected activations other than step, which lets no meta-gradient through to truncated_backprop",
        ),
    ],
)
def test_parts_that_do_not_fit_together_are_named(tmp_path, overrides, message):
    with pytest.raises(ValueError, match=f"^config key [^;]*{re.escape(message)}[^;]*$"):
        load(tmp_path, "seed: 0", *overrides)


def test_what_needs_no_gradient_may_have_steps(tmp_path):
    found = load(tmp_path, "seed: 0", "network.options.activations=[step]", "outer.estimator=evolution_strategies")
    assert found.network.options == {"activations": ["step"]}
    assert found.outer.estimator.name == "evolution_strategies"


def test_all_wrong_keys_are_told_at_once(tmp_path):
    with pytest.raises(ValueError, match=r"seed.*; .*rule\.options\.a.*; .*rule\.options\.b.*; .*outer\.clip"):
        load(tmp_path, "seed: x\nrule: {options: {a: 1, b: 2}}\nouter: {clip: y}")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "got nothing"),
        ("- a", "got list"),
        ("just words", "got str"),
        ("a: [1", "broken YAML at line 1, column"),
        ("a: 1\n\tb: 2", "broken YAML at line 2, column 1"),
        ("seed: 1\nseed: 2", "line 2, column 1: key 'seed' is given twice"),
        ("outer: {clip: 1, clip: 2}", "key 'clip' is given twice"),
        ("seed: !!python/object/apply:os.getpid []", "could not determine a constructor"),
        ("? [1, 2]\n: 3", "unhashable"),
        ("a: \x07", "broken YAML"),
        ("a: " + "[" * 5000, "broken YAML"),
        ("seed: " + "9" * 5000, "broken YAML"),
        ("a: !!int x", "broken YAML"),
    ],
)
def test_a_file_that_is_no_config_is_one_line_with_its_name(tmp_path, text, part):
    with pytest.raises(ValueError, match=r"config\.yaml: ") as caught:
        load(tmp_path, text)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_an_os_error_with_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.yaml: not found"):
        load_config(tmp_path / "absent.yaml")
    with pytest.raises(IsADirectoryError, match=r"config file .*: Is a directory"):
        load_config(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"run_dir: caf\xe9")
    with pytest.raises(ValueError, match=r"latin\.yaml: not UTF-8"):
        load_config(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("seed", "expected key=value"),
        ("=3", "expected key=value"),
        ("outer.=3", "expected key=value"),
        ("outer..clip=3", "expected key=value"),
        ("seed.x=3", "but seed is 0, expected a section"),
        ("seed=[", "broken YAML"),
        ("seed=", "config key seed: got None"),
        ("outer.clp=1", "did you mean outer.clip?"),
    ],
)
def test_a_wrong_override_is_one_line(tmp_path, override, part):
    with pytest.raises(ValueError, match=r"seed|override|outer") as caught:
        load(tmp_path, "seed: 0", override)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_saved_config_loads_as_the_same(tmp_path):
    config = load(
        tmp_path,
        "seed: 9\ntracking: off\nrule: {name: neuron_local, options: {rate: 1e-5, hidden: 4}}\n"
        "network: {options: {hidden: [[], [5, 6]]}}\n"
        "outer: {learning_rate: 3.3333333333333335e-05, final_learning_rate: 0}",
    )
    save_config(config, tmp_path / "saved.yaml")
    assert load_config(tmp_path / "saved.yaml") == config
    assert list(tmp_path.glob(".*")) == []


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.text(st.characters(exclude_characters="\0"), min_size=1),  # no path has a NUL
        st.sampled_from(["1e3", "off", "true", "~", "null", "1:30", "0x1", "2001-01-01", "\x85", "é"]),
    )
)
def test_any_text_survives_saving(tmp_path, text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    config = Config(run_dir=text)
    save_config(config, tmp_path / "saved.yaml")
    assert load_config(tmp_path / "saved.yaml") == config


def test_an_older_yaml_reader_sees_the_same_values(tmp_path):
    config = load(tmp_path, "tracking: off\nouter: {final_learning_rate: 1e-5}")
    save_config(config, tmp_path / "saved.yaml")
    assert yaml.safe_load((tmp_path / "saved.yaml").read_text()) == config.model_dump(mode="json")


def test_a_config_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Config().seed = 1
    with pytest.raises(ValidationError, match="frozen"):
        Config().outer.clip = 1.0


def test_every_setting_is_described():
    def fields(section: type[Section], prefix=""):
        for name, field in section.model_fields.items():
            kind = field.annotation
            if isinstance(kind, type) and issubclass(kind, Section):
                yield from fields(kind, f"{prefix}{name}.")
            else:
                assert field.description, f"{prefix}{name} has no description"
                yield f"{prefix}{name}", field.description

    lines = describe_config().splitlines()
    expected = list(fields(Config))
    assert len(lines) == len(expected)
    for line, (key, description) in zip(lines, expected, strict=True):
        assert line.startswith(f"{key}=")
        assert line.endswith(description)
    assert "outer.learning_rate=0.001 " in describe_config()


OF_OTHER_KINDS = {CONFIGS / "sweep.yaml"}


@pytest.mark.parametrize("path", sorted(set(CONFIGS.glob("*.yaml")) - OF_OTHER_KINDS), ids=lambda p: p.stem)
def test_every_config_in_the_repository_loads(path):
    load_config(path)


def test_the_sweep_file_makes_command_lines_that_load():
    sweep = yaml.safe_load((CONFIGS / "sweep.yaml").read_text())
    assert sweep["method"] in ("grid", "random", "bayes")
    assert (CONFIGS.parent / sweep["program"]).exists()
    base = sweep["command"][sweep["command"].index("--config") + 1]
    for pick in (min, max):  # both ends of every range
        values = {
            name: {"value": pick(parameter.get("values") or (parameter["min"], parameter["max"]))}
            for name, parameter in sweep["parameters"].items()
        }
        overrides = create_sweep_command_args({"args": values})["args_no_hyphens"]
        config = load_config(CONFIGS.parent / base, overrides)
        assert config.outer.learning_rate == pick(0.0003, 0.003)
    assert sweep["command"][-1] == "${args_no_hyphens}"


def test_a_section_given_on_the_command_line_leaves_its_other_keys(tmp_path):
    text = "outer: {clip: 0.5, tasks_per_step: 3, readout: {name: ridge, options: {penalty: 2.0}}}"
    config = load(tmp_path, text, "outer={clip: 0.2, readout: {name: ridge}}")
    assert (config.outer.clip, config.outer.tasks_per_step) == (0.2, 3)
    assert config.outer.readout.options == {"penalty": 2.0}
    other = load(tmp_path, "rule: {name: hebbian, options: {rate: 0.2}}", "rule={name: neuron_local}")
    assert (other.rule.name, other.rule.options) == ("neuron_local", {})
    alone = load(tmp_path, "tracking: off", "tracking.group=seeds", "tracking={tags: [a]}")
    assert (alone.tracking.mode, alone.tracking.group, alone.tracking.tags) == ("off", "seeds", ("a",))


def test_a_component_named_anew_keeps_its_options_and_another_has_its_own(tmp_path):
    text = "rule: {options: {hidden: 4}}\nnetwork: {options: {outputs: 5}}\ntracking: {mode: offline, project: mine}"
    for override in ("rule=neuron_local", "rule.name=neuron_local", "rule={name: neuron_local}"):
        assert load(tmp_path, text, override).rule.options == {"hidden": 4}
    assert load(tmp_path, text, "rule=hebbian").rule.options == {}
    assert load(tmp_path, text, "network=mlp").network.options == {"outputs": 5}
    tracking = load(tmp_path, text, "tracking=off").tracking
    assert (tracking.mode, tracking.project) == ("off", "mine")


def test_what_sweeps_write_is_read(tmp_path):
    config = load(tmp_path, "seed: 1", "outer={'clip': 0.2, 'readout': {'options': {'penalty': 3.0}}}")
    assert (config.outer.clip, config.outer.readout.options) == (0.2, {"penalty": 3.0})
    assert load(tmp_path, "evaluation: {training: [digits]}", "evaluation.training=None").evaluation.training is None
    assert load(tmp_path, "seed: 1", "inner.compile=False", "inner.recompute=True").inner.recompute is True
    with pytest.raises(ValueError, match=r"unknown config key outer.clp: got 0.2.*did you mean outer.clip\?"):
        load(tmp_path, "seed: 1", "outer={'clp': 0.2}")


def test_a_text_is_a_list_of_one_and_a_home_folder_is_found(tmp_path):
    config = load(tmp_path, "tasks: {sources: digits}", "evaluation.sources=mnist5k", "run_dir=~/runs/x")
    assert (config.tasks.sources, config.evaluation.sources) == (("digits",), ("mnist5k",))
    assert config.run_dir == str(Path.home() / "runs/x")


def test_there_need_be_no_report(tmp_path):
    for text, override in (("report: false", "seed=0"), ("seed: 0", "report=false"), ("seed: 0", "report.sources=[]")):
        assert load(tmp_path, text, override).report.sources == ()
