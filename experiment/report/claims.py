"""The claims: what README and docs say in numbers, each recomputed from the results files that it names."""

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from common.yaml_dialect import parse_yaml, yaml_value
from evaluation.results import short_commit
from experiment.report.store import read, unit_of

Claim = dict[str, Any]

GIVEN = ("id", "says", "of", "files")
"""What a person writes of a claim, and maybe a ``target``; ``recompute`` adds the rest."""

HEAD = """\
# Everything that README and docs claim in numbers. A person writes id, says, of (what is asked of the files, see
# experiment/report/store.py), files and maybe a target; `make pages` fills in the rest.
"""


def read_claims(path: Path) -> list[Claim]:
    """The claims in the YAML file at ``path``. Raises ValueError for one without what GIVEN names, or given twice."""
    claims: list[Claim] = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    ids = [claim.get("id") for claim in claims]
    for claim in claims:
        missing = [key for key in GIVEN if not claim.get(key)]
        if missing or ids.count(claim["id"]) > 1:
            what = f"no {', '.join(missing)}" if missing else "an id that another has"
            raise ValueError(f"{path}: claim {claim.get('id')} with {what}, expected {', '.join(GIVEN)}")
    return claims


def recompute(claim: Mapping[str, Any], root: Path) -> Claim:
    """``claim`` with value, 95 % interval, tasks, commands and commits anew from its files under ``root``.

    Value, low and high are in percent or points; low and high are None where only a mean was stored. Raises ValueError
    where its files do not tell it, or one of them is of no use to it.
    """
    store = read(root, claim["files"])
    answer = store.ask(claim["of"])
    if answer is None:
        raise ValueError(f"claim {claim['id']}: {', '.join(claim['files'])} tell nothing of {claim['of']}")
    for pattern in claim["files"]:
        if not any(Path(file).match(pattern.rpartition("=")[2]) for file in answer.files):
            raise ValueError(f"claim {claim['id']}: nothing of it is from {pattern}; take that away")
    value, half = answer.mean
    ends = {
        key: None if math.isnan(half) else in_percent(value + way * half) for key, way in (("low", -1), ("high", 1))
    }
    made = [store.made[file] for file in answer.files]
    return {
        **{key: claim[key] for key in ("id", "says", "of")},
        **{"value": in_percent(value), **ends, "unit": unit_of(claim["of"])},
        **({"target": claim["target"]} if "target" in claim else {}),
        **{"tasks": answer.tasks, "files": claim["files"]},
        "command": list(dict.fromkeys(command_form(command) for command, _ in made)),
        "commit": list(dict.fromkeys(short_commit({"commit": commit}) for _, commit in made)),
    }


def claims_text(claims: Iterable[Mapping[str, Any]]) -> str:
    """The YAML file of ``claims``: a line for each field of each."""
    parts = ["\n  ".join(f"{key}: {yaml_value(value)}" for key, value in claim.items()) for claim in claims]
    return HEAD + "".join(f"- {part}\n" for part in parts)


def told(claim: Mapping[str, Any]) -> str:
    """What ``claim`` says, with its number and interval, to one decimal."""
    sign, unit = "+" if claim["unit"] == "points" else "", {"percent": "%"}.get(claim["unit"], claim["unit"])
    value, *ends = (claim[key] if claim[key] is None else number(claim[key], sign) for key in ("value", "low", "high"))
    target = f"; target {claim['target']} {unit}" if "target" in claim else ""
    return (
        f"{claim['says'].rstrip('.')}: {value} {unit}" + (f" ({' to '.join(ends)})" if all(ends) else "") + f"{target}."
    )


def in_percent(share: float) -> float:
    """100 times ``share``, to ten decimals: what is printed of it shall not hang on the order of a sum."""
    return round(100 * share, 10)


def number(value: float, sign: str = "") -> str:
    """``value`` to one decimal, halves away from zero."""
    return f"{value + math.copysign(1e-9, value):{sign}.1f}"


def command_form(command: str) -> str:
    """``command`` with names of runs, data, seeds and values left open, so that commands of one kind are alike."""
    command = re.sub(r" --json \S+", "", command)
    command = re.sub(r"--rule(?: (?:runs|results/rules)/\S+)+", "--rule RUN", command)
    return re.sub(
        r"--(data|seeds|values|sweep)(?: (?!--)\S+)+", lambda found: f"--{found[1]} {found[1].upper()}", command
    )
