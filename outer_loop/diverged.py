"""An outer step that lost too many tasks, and what to do about it."""

from pathlib import Path

from outer_loop.config.schema import Config


class DivergedError(ValueError):
    """More than half of the tasks of an outer step became non-finite."""


def diverged(config: Config, outer_step: int, lost: str, *, gradient: bool) -> str:
    """What to tell of the step after ``outer_step``, which ``lost`` so many tasks; ``gradient``: of backpropagation."""
    outer = config.outer
    smaller = "" if gradient else ", or another deviation in outer.estimator.options"
    remedy = (
        f"in {Path(config.run_dir) / 'checkpoints'} delete last.pt, copy an earlier step file to that name, and resume "
        f"with a lower outer.learning_rate (now {outer.learning_rate}) or outer.clip (now {outer.clip}){smaller}"
    )
    if not outer_step:
        remedy = "the rule diverges as it starts: change rule.options or inner.length, and run_dir"
    return f"outer step {outer_step + 1}: {lost} tasks became non-finite, at most half may; {remedy}"
