"""Rule files: θ in safetensors with a versioned header. Reading one runs no code that is in it."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from common.components import Option
from common.home_folder import expanded
from common.names import did_you_mean
from common.tensor_file import check_finite, check_tensors, read_tensors, write_tensors
from update_rules.contract import Rule
from update_rules.registry import RULES, remade_rule

FORMAT = "unsupervised-update-rule"
VERSION = "2"
PRETRAINED = Path(__file__).resolve().parent.parent / "pretrained"
"""Where rule files that can be named without a path are."""

BEST_FILE, LAST_FILE = "rule.safetensors", "rule_last.safetensors"
"""What a run calls its rules: the best by validation, and that of the last one. Their folder says which rule it is."""

HEADER_KEYS = ("format", "version", "rule", "config", "use")


@dataclass(frozen=True)
class RuleHeader:
    """What a rule file says about itself."""

    version: str
    rule: str
    """The rule's name in the registry, or the path ``module:Class`` of a rule that is not ours."""
    config: dict[str, Option]
    """The keyword arguments that rebuild the rule."""
    provenance: dict[str, str]
    """Where θ comes from (``sources`` as a JSON list, ``commit``, ``outer_steps``, ...), as written."""
    where: str = "rule file"
    """What errors call the file."""
    use: dict[str, Any] = field(default_factory=dict)
    """What suits it: network, steps, batch, normalisation, readout, size, permute: see ``evaluation.protocol``."""
    trust: tuple[str, ...] = ()
    """Modules that the reader of the file trusts."""


def save_rule(
    path: str | Path,
    rule: Rule,
    provenance: Mapping[str, str | float | Sequence[str]],
    use: Mapping[str, Any] | None = None,
) -> None:
    """Write θ of ``rule``, where it comes from and its ``use`` to ``path``: strings as they are, all else as JSON.

    Raises ValueError for a θ that is not finite and a key of ``provenance`` that the header has; OSError as files do.
    """
    theta = rule.state_dict()
    check_finite(theta, f"rule {rule.name}")
    taken = [key for key in provenance if key in HEADER_KEYS]
    if taken:
        raise ValueError(f"got provenance {', '.join(taken)}, expected other keys than {', '.join(HEADER_KEYS)}")
    metadata = {"format": FORMAT, "version": VERSION, "rule": RULES.name_of(type(rule))}
    metadata |= {"config": json.dumps(rule.config)} | ({"use": json.dumps(use)} if use else {})
    metadata |= {key: value if isinstance(value, str) else json.dumps(value) for key, value in provenance.items()}
    write_tensors(path, theta, metadata)


def load_rule(path_or_name: str | Path, trust: Collection[str] = ()) -> Rule:
    """The rule in a file, or of that name in ``pretrained/``, on the CPU. Raises as ``read_rule`` does."""
    return read_rule(path_or_name, trust)[0]


def read_rule(path_or_name: str | Path, trust: Collection[str] = ()) -> tuple[Rule, RuleHeader]:
    """The rule in a file, or of that name in ``pretrained/``, on the CPU, and what the file says about itself.

    Code of a module that is not ours runs only where ``trust`` names the module. Raises OSError if the file cannot be
    read, and ValueError if it is no rule file, is damaged, or holds other tensors than its rule has.
    """
    header, theta = _read(find_rule_file(path_or_name))
    header, where = replace(header, trust=tuple(trust)), header.where
    RULES.check_trust(header.rule, trust, where)
    try:
        rule = remade_rule(header.rule, header.config)
    except (ValueError, TypeError, RuntimeError, ArithmeticError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{where}: its config {header.config} does not make a rule: {reason}") from None
    check_tensors(theta, rule.state_dict(), f"{where}: as a {rule.name} rule")
    rule.load_state_dict(theta)
    return rule, header


def read_header(path_or_name: str | Path) -> RuleHeader:
    """What a rule file says about itself. Raises as ``load_rule`` does, but does not look into the tensors."""
    return _read(find_rule_file(path_or_name))[0]


def find_rule_file(path_or_name: str | Path) -> Path:
    """That file, else the file of that name in ``pretrained/``. Raises FileNotFoundError that lists the names."""
    path = Path(expanded(path_or_name))
    names = sorted(file.stem for file in PRETRAINED.glob("*.safetensors"))
    if path.is_file() or (path.exists() and str(path_or_name) not in names):  # no folder hides a pretrained rule
        return path
    if str(path_or_name) in names:
        return PRETRAINED / f"{path_or_name}.safetensors"
    known = f" or one of {', '.join(names)}" if names else ""
    raise FileNotFoundError(f"rule file {path}: not found, expected a file{known}{did_you_mean(path.stem, names)}")


def _read(path: Path) -> tuple[RuleHeader, dict[str, Tensor]]:
    """Header and tensors of ``path``."""
    metadata, theta = read_tensors(path, "rule file", FORMAT, VERSION)
    where = f"rule file {path}"
    config, use = (_parse_object(metadata, key, where) for key in ("config", "use"))
    provenance = {key: value for key, value in metadata.items() if key not in HEADER_KEYS}
    return RuleHeader(VERSION, metadata.get("rule", ""), config, provenance, where, use), theta


def _parse_object(metadata: Mapping[str, str], key: str, where: str) -> dict[str, Any]:
    """The JSON object that ``metadata`` has for ``key``; older files say nothing of their use."""
    text = metadata.get(key, "{}" if key == "use" else "")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{where}: got {key} {text[:60]!r}, expected a JSON object")
    return found
