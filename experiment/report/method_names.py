"""What the store calls the methods of results files, older ones too, and what must agree where they are pooled."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evaluation.lineup import rule_label

ON_NETWORK = ("random_network", "autoencoder", "vae", "contrastive", "supervised")
"""Baselines of a base network, which are others on another network."""

OWN = ("scratch", "untrained_prototypes")
"""Learners that share a rule's network, and so are others for another rule."""

SEEN = ("unlabelled_shots", "distractors", "swapped", "fixed_classes")
"""What evaluation may have shown a rule beside the episode, or in its place."""

PART = "without "
"""What the name of a rule without one of its parts begins with."""


def rules_of(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What a file with ``meta`` says of its rules, by label; an older file has one at most, and says less."""
    if "rules" in meta or "rule_file" not in meta:
        return dict(meta.get("rules", {}))
    about = {"file": meta["rule_file"], "rule": meta.get("rule"), "use": {"own": "batch_norm" in meta}}
    if "batch_norm" in meta:
        about["use"]["batch_norm"] = meta["batch_norm"]
    return {"rule": about | ({"provenance": meta["rule_provenance"]} if "rule_provenance" in meta else {})}


def seed_of_training(about: Mapping[str, Any], meta: Mapping[str, Any]) -> bool:
    """Whether seeds of a file with ``meta`` are of training: of clusterers, and rules with a readout of their own."""
    return bool(about["use"]["own"]) or "sets" in meta


def method_name(method: str, meta: Mapping[str, Any], label: str = "") -> str:
    """What the store calls ``method`` of a file with ``meta``: one name for one thing in all files.

    A single rule goes by ``label``, else by its file's, whose end, where that is the seed of its training, is cut; its
    parts follow its name. In a file without a rule ``label`` follows the names.
    """
    rules = rules_of(meta)
    about = rules.get("rule", {"file": "", "use": {"own": False}})
    rule = label or rule_label(about["file"])
    if seed_of_training(about, meta) and not label:
        rule = re.sub(r"_\d+$", "", rule)
    if method in ("rule", "untrained_rule"):
        return rule if method == "rule" else f"{rule}, untrained"
    if method in OWN:
        return f"{method} of {rule}"
    if method.startswith(PART):
        return f"{rule}, {method}"
    for encoder in meta.get("encoder", []):
        if method.startswith(f"{Path(encoder).stem}_"):
            return "embedding" + method.removeprefix(Path(encoder).stem)
    if method in ON_NETWORK or method.rpartition("_")[0] in ON_NETWORK:
        if "hidden" in meta:
            method = f"{method} on {'-'.join(map(str, meta['hidden'])) or 'one layer'} {meta['activation']}"
        else:
            method = f"{method} of {rule}"
    return f"{method}, {label}" if label and not rules else method


def settings_of_method(method: str, meta: Mapping[str, Any], seed: int) -> Iterator[tuple[str, Any]]:
    """What must be the same wherever ``method`` is pooled over files with ``meta``; older files say less."""
    rules = rules_of(meta)
    alone = method in ("untrained_rule", *OWN) or method.startswith(PART)
    name = "rule" if alone else method.removesuffix(", untrained")
    if name in rules:
        about = rules[name]
        own = seed_of_training(about, meta)
        told = ("hidden", "activation", "outputs", "steps", "batch") if name == "rule" else ()
        yield from ((key, meta[key]) for key in told if key in meta)
        yield from about["use"].items()
        yield from ((key, meta.get(key) or None) for key in SEEN)
        if "provenance" in about and not own:
            yield "provenance", about["provenance"]
        yield f"a rule of seed {seed} in" if own else "rule", about["file"] if own else about["rule"]
    elif any(one["use"]["own"] for one in rules.values()):
        yield "encoders", sorted(Path(path).stem for path in meta["encoder"]) if "raw" not in method else []
    else:
        yield "outputs", meta.get("outputs")
        yield from meta.get("baseline_settings", {}).get(method, {}).items()
