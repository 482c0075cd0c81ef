"""``full_backprop``: the gradient through whole trajectories, from the first inner step on."""

from outer_loop.estimators.truncated_backprop import TruncatedBackprop


class FullBackprop(TruncatedBackprop):
    """The exact gradient of the meta-objective at the read points of whole trajectories.

    Unrolls are as long as trajectories; long ones keep States between segments of √K steps alone (``unroll``). Exact is
    not useful where the inner dynamics are chaotic: gradients then explode (Metz et al., 2019, "Understanding and
    correcting pathologies in the training of learned optimizers").
    """

    whole_trajectories = True
