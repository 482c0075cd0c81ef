"""``chosen_clusterer``: which clusterer, with how many clusters and how many outliers aside, by what served before.

Shapes: Q points of a set, A choices, F scores, R terms of a choice, S selectors.
"""

import math
from collections.abc import Mapping
from importlib.util import find_spec

import numpy as np
import torch
from torch import Generator, Tensor, nn

from update_rules.clustering.candidates import EXTRA, LINKAGES
from update_rules.clustering.choices import ALONE, carried_out, choices
from update_rules.clustering.clusterer import Clusterer, points_of
from update_rules.clustering.internal_scores import SCORES, geometry, internal_scores
from update_rules.clustering.points import scaled
from update_rules.contract import Problem, State, StepViews

NAMES = (*ALONE, *LINKAGES)
KINDS = {"told": 2, "untold": 0}
"""Whether the number of clusters is given, with such a number."""

PENALTIES = (1.0, 30.0, 1000.0, 30000.0)
"""Of ridge regression, each of which gives a selector."""

FAR = 1e4
"""More than any selector says."""

TERMS = 2 * len(SCORES) + len(SCORES) * (len(SCORES) + 1) // 2 + len(NAMES) + 2
"""R: of a choice, what regressions see."""


class ChosenClusterer(Clusterer):
    """Supervising unsupervised learning (Garg and Kalai, 2018): risk minimisation over a finite family.

    An inner step clusters a set in every way of the family (``choices``) and notes how each partition looks from inside
    (``internal_scores``). Selectors then say which one to take: each way of the family, always; the one with the
    largest of each score; and those to which ridge regressions of the index on scores promise most. θ holds the
    regressions, and how well each selector did on sets of the past: the best one counts. Untrained, that is the
    largest silhouette, as one would by hand. Kinds, with the number of clusters told or not, are learned apart.
    """

    name = "chosen_clusterer"
    gives = "choices"

    def __init__(self, extra: bool = False) -> None:
        super().__init__()
        missing = [package for package, _ in EXTRA.values() if find_spec(package) is None]
        if extra and missing:
            raise ValueError(
                f"got extra=true without {', '.join(missing)}, expected it installed: pip install {missing[0]}"
            )
        self.extra = extra
        for kind, clusters in KINDS.items():
            ways = len(choices(clusters, extra))
            self.register_parameter(f"{kind}_lines", nn.Parameter(torch.zeros(len(PENALTIES), TERMS)))
            merits = torch.full((ways + len(SCORES) + len(PENALTIES),), -1.0)
            merits[ways + SCORES.index("silhouette")] = 0
            self.register_parameter(f"{kind}_merits", nn.Parameter(merits))

    def init_state(self, problem: Problem, generator: Generator) -> State:
        """Nothing found yet, and the seed of whatever clusterers draw."""
        ways = len(choices(problem.ways, self.extra))
        return {
            "seed": torch.randint(2**20, (), generator=generator).float(),
            "scores": torch.zeros(ways, len(SCORES)),
            "labels": torch.zeros(ways, points_of(problem)),
            "fits": torch.ones(ways),
        }

    def step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        """The partitions [A, Q] of ``query_x`` and their scores [A, F]."""
        x = scaled(views["query_x"].detach().double().cpu().numpy())
        found = [carried_out(x, one, int(state["seed"])) for one in choices(problem.ways, self.extra)]
        scores = internal_scores(geometry(x), found)
        return {
            "seed": state["seed"],
            "scores": torch.from_numpy(scores).to(state["scores"]),
            "labels": torch.from_numpy(np.stack(found)).to(state["labels"]),
            "fits": torch.tensor([float(problem.ways in (0, len(np.unique(one)))) for one in found]).to(state["fits"]),
        }

    def outputs(self, problem: Problem, state: State) -> Tensor:
        """Of each way [A, 1 + Q]: what the best selector so far says for it, and its partition."""
        says = self._selectors(problem, state)
        merits = self.get_parameter(f"{_kind(problem)}_merits")
        best = says.index_select(1, merits.argmax().reshape(1))
        return torch.cat([best, state["labels"]], 1)

    def partition(self, problem: Problem, state: State) -> Tensor:
        """That of the way for which the best selector says most."""
        outputs = self.outputs(problem, state)
        return outputs[outputs[:, 0].argmax(), 1:].long()

    def reason(self, problem: Problem, state: State) -> str:
        """The way that was taken, and which selector says so."""
        family, merits = choices(problem.ways, self.extra), self.get_parameter(f"{_kind(problem)}_merits").detach()
        way, place = int(self.outputs(problem, state)[:, 0].argmax()), int(merits.argmax())
        if place < len(family):
            why = "which did best on sets of the past"
        elif place < len(family) + len(SCORES):
            why = f"which has the largest {SCORES[place - len(family)]}"
        else:
            why = "which is predicted to do best by the scores on earlier data sets"
        return f"{family[way]}, {why}"

    def experience(self, problem: Problem, state: State, scores: Tensor) -> dict[str, Tensor]:
        """What one set teaches, to be added up: ``scores`` [A] are adjusted Rand indices of its partitions.

        Regressions take part once there are any.
        """
        kind, count = _kind(problem), self._merits_known(problem)
        terms = self._terms(problem, state)
        says = self._selectors(problem, state)
        taken = scores[says.argmax(0)]
        counted = torch.ones_like(taken)
        counted[-len(PENALTIES) :] = float(count)
        return {
            f"{kind}_gram": terms.T @ terms,
            f"{kind}_cross": terms.T @ (scores - scores.mean()),
            f"{kind}_taken": taken * counted,
            f"{kind}_counted": counted,
        }

    def learned(self, memory: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """θ by what was experienced: ridge regressions in closed form, and the mean index that each selector got."""
        theta = {}
        for kind in KINDS:
            if f"{kind}_gram" not in memory:
                continue
            gram, cross = memory[f"{kind}_gram"].double(), memory[f"{kind}_cross"].double()
            eye = torch.eye(len(gram), dtype=torch.float64)
            lines = torch.stack([torch.linalg.solve(gram + penalty * eye, cross) for penalty in PENALTIES])
            theta[f"{kind}_lines"] = lines.float()
            taken, counted = memory[f"{kind}_taken"], memory[f"{kind}_counted"]
            theta[f"{kind}_merits"] = torch.where(counted > 0, taken / counted.clamp_min(1e-9), -torch.ones_like(taken))
        return theta

    def describe(self) -> dict[str, float]:
        """The mean index of the best selector of each kind on sets of the past."""
        return {f"{kind}_merit": float(self.get_parameter(f"{kind}_merits").detach().max()) for kind in KINDS}

    def _merits_known(self, problem: Problem) -> bool:
        return bool(self.get_parameter(f"{_kind(problem)}_lines").any())

    def _selectors(self, problem: Problem, state: State) -> Tensor:
        """What each selector says for each way, [A, S]: always this one, the largest of one score, and regressions.

        Never one that gave another number of clusters than was asked for.
        """
        scores = state["scores"]
        lines = self.get_parameter(f"{_kind(problem)}_lines")
        always = torch.eye(len(scores), dtype=scores.dtype, device=scores.device)
        says = torch.cat([always, scores, self._terms(problem, state) @ lines.T], 1)
        return says - FAR * (1 - state["fits"][:, None])

    def _terms(self, problem: Problem, state: State) -> Tensor:
        """What regressions see of each way, [A, R]: scores, beside others' and as they are, products, and its name.

        Each less its mean over the ways: what is the same for all says nothing for one.
        """
        scores, family = state["scores"], choices(problem.ways, self.extra)
        beside = (scores - scores.mean(0)) / (scores.std(0, correction=0) + 1e-3)
        first, second = torch.triu_indices(len(SCORES), len(SCORES))
        products = beside[:, first] * beside[:, second] / 3
        which = torch.zeros(len(family), len(NAMES) + 2, dtype=scores.dtype)
        for place, one in enumerate(family):
            which[place, NAMES.index(one.name)] = 1
            which[place, -2], which[place, -1] = one.dropped * 5, math.log(one.clusters) / 2
        terms = torch.cat([beside, scores, products, which], 1)
        return terms - terms.mean(0)


def _kind(problem: Problem) -> str:
    return "told" if problem.ways else "untold"
