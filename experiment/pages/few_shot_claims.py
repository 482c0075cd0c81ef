"""What learning without labels claims, as pairs of learners: of each, how far the first is ahead on the same tasks."""

from collections.abc import Mapping, Sequence

from evaluation.results_table import percent, short_source
from experiment.pages.few_shot_runs import FewShotRuns, Key
from experiment.pages.markdown import table

SOURCES = ("strokes.npz@test", "omniglot_small.npz", "omniglot_small.npz@test")
WAYS, SHOTS = 5, (1, 5)

Pairs = Sequence[tuple[str, str]]


def _against(rule: str, *others: str) -> Pairs:
    return [(rule, other) for other in others]


CLAIMS: Mapping[str, Pairs] = {
    "CACTUs on pixels, ProtoNet": _against(
        "cactus_inputs_protonet",
        *("raw_nearest", "raw_linear", "untrained_prototypes of cactus_inputs_protonet"),
        *("random_protonet", "oracle_protonet"),
    ),
    "CACTUs on pixels, MAML": _against(
        "cactus_inputs_maml",
        *("raw_nearest", "raw_linear", "scratch of cactus_inputs_maml", "random_maml", "oracle_maml"),
    ),
    "CACTUs on codes, images redrawn, 3,000 outer steps, ProtoNet": _against(
        "cactus_warped_protonet_long",
        *("embedding_nearest", "embedding_linear", "untrained_prototypes of cactus_warped_protonet_long"),
        *("random_warped_protonet_long", "oracle_warped_protonet_long"),
    ),
    "the same, MAML": _against(
        "cactus_warped_maml_long",
        *("embedding_nearest", "embedding_linear", "scratch of cactus_warped_maml_long"),
        *("random_warped_maml_long", "oracle_warped_maml_long"),
    ),
    "UMTRA": [
        ("umtra", "scratch of umtra"),
        ("umtra_identity", "scratch of umtra_identity"),
        ("umtra_four_classes", "umtra"),
        ("umtra_four_classes", "umtra_eighty_classes"),
        ("umtra_few_classes", "umtra_many_classes"),
    ],
    "AAL": [
        ("aal_protonet", "untrained_prototypes of aal_protonet"),
        ("aal_protonet", "aal_protonet_plain"),
        ("aal_maml", "scratch of aal_maml"),
        ("aal_maml", "aal_maml_plain"),
    ],
    "AAL, five random images under a label": [
        ("aal_protonet_groups_even", "aal_protonet"),
        ("aal_protonet_groups_even_long", "aal_protonet_long"),
        ("aal_protonet_groups_even_10k", "aal_protonet_10k"),
        ("aal_maml_groups", "aal_maml"),
        ("aal_maml_groups_long", "aal_maml_long"),
        ("aal_omniglot_protonet_groups", "aal_omniglot_protonet"),
        ("aal_omniglot_maml_groups", "aal_omniglot_maml"),
    ],
}
"""Pairs of learners by what they tell of; names as in ``FewShotRuns``."""


def claims(runs: FewShotRuns) -> str:
    """A table of those of CLAIMS that ``runs`` tell of, on tasks of SOURCES in WAYS ways."""
    there = dict.fromkeys(key.source for key in runs.kinds() if short_source(key.source) in SOURCES)
    sources = sorted(there, key=lambda source: SOURCES.index(short_source(source)))
    keys = [Key(source, WAYS, shots) for source in sources for shots in SHOTS]
    rows = []
    for claim, pairs in CLAIMS.items():
        name = claim  # in the first of its rows
        for one, other in pairs:
            cells = [_cell(runs, one, other, key) for key in keys]
            if any(cells):
                rows.append([name, f"`{one}`", _told(other), *cells])
                name = ""
    heads = [f"{short_source(key.source).replace('.npz', '')} {key.shots}-shot" for key in keys]
    return table(["claim", "learner", "ahead of", *heads], rows) if rows else "None of them is stored."


def _told(learner: str) -> str:
    own, of, _ = learner.partition(" of ")
    return f"its {own}" if of else f"`{learner}`"


def _cell(runs: FewShotRuns, one: str, other: str, key: Key) -> str:
    found = runs.lead_and_tasks(one, other, key)
    return "" if found is None else f"{percent(*found[0], '+')} ({found[1]})"
