# %% [markdown]
# An estimator of your own: from trajectories to a direction for θ. This one is forward-mode: the derivative along one
# random direction, times that direction. It needs no memory for a backward pass. Save it as `my_estimators.py`:
#
#     python scripts/meta_train.py --config configs/quickstart.yaml \
#         outer.estimator=my_estimators:ForwardGradient run_dir=runs/forward

# %%
from collections.abc import Sequence

import torch

from unsupervised_update_rules import (
    Estimate,
    Estimator,
    Group,
    Rule,
    TruncatedUnroll,
    by_groups,
    losses_of,
    over_reads,
)


class ForwardGradient(Estimator):
    """(∇L · v) v for a normal v of each task, by central differences: no backward pass (Baydin et al., 2022)."""

    needs_gradient = False
    compiles = False

    def __init__(self, width: float = 1e-2) -> None:
        self.width = width

    @torch.no_grad()
    def estimate(self, rule: Rule, theta: dict, unrolls: Sequence[TruncatedUnroll], memory: dict) -> Estimate:
        """The mean over the tasks that stay finite. Noise is each trajectory's own, so that ranks draw alike."""
        learned = {name: value for name, value in theta.items() if value.requires_grad}
        noise = [
            {name: torch.randn(value.shape, generator=one.generator) for name, value in learned.items()}
            for one in unrolls
        ]

        def group(members: list[int]) -> Group:
            """The sums over tasks of one shape."""
            some = [unrolls[index] for index in members]
            along = {name: torch.stack([noise[index][name] for index in members]) for name in learned}

            def run(share: float):
                moved = {**theta, **{name: theta[name] + share * along[name] for name in learned}}
                found = losses_of(self, rule, moved, some, [one.carried for one in some], per_task=True)
                return over_reads(found.loss, some[0].read_weights), found

            (ahead, _), (behind, _), (loss, found) = run(self.width), run(-self.width), run(0.0)
            slope = (ahead - behind) / (2 * self.width)
            kept = [place for place, ok in enumerate((slope + loss).isfinite().tolist()) if ok]
            return Group(
                {name: torch.tensordot(slope[kept], along[name][kept], dims=1) for name in learned},
                [members[place] for place in kept],
                [{name: value[place] for name, value in found.final.items()} for place in kept],
                float(loss[kept].sum()),
                float(over_reads(found.accuracy, some[0].read_weights)[kept].sum()),
            )

        return by_groups(theta, unrolls, memory, group)


# %% Ten outer steps of it, on digits, with parts from a config.
from pathlib import Path  # noqa: E402
from tempfile import TemporaryDirectory  # noqa: E402

from unsupervised_update_rules import build_trainer, load_config  # noqa: E402

SETTINGS = """
rule: hebbian
network: {options: {hidden: [[16]], outputs: 8}}
tasks: {sources: [mnist5k], size: 8, ways: 3, shots: 3, queries: 3, batch: 32}
inner: {unroll: [5, 5], length: [10, 10]}
outer: {tasks_per_step: 4, clip: 1.0}
evaluation: {sources: [digits], tasks: 2, steps: 10}
"""
with TemporaryDirectory() as folder:
    path = Path(folder) / "config.yaml"
    path.write_text(SETTINGS, encoding="utf-8")
    trainer = build_trainer(load_config(path))
trainer.parts.estimator = ForwardGradient().configured(trainer.parts.estimator.objective)
for _ in range(10):
    metrics = trainer.step()
print(f"meta-loss {metrics['meta_loss']:.3f} after {trainer.state.outer_step} outer steps")
