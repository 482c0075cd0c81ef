"""The readouts that can be named in a config; any other by its path, ``my_module:MyReadout``."""

from common.components import Registry
from outer_loop.readouts.contract import Readout

READOUTS = Registry(
    "readout",
    Readout,
    {
        "ridge": "outer_loop.readouts.ridge:Ridge",
        "marginal_ridge": "outer_loop.readouts.marginal_ridge:MarginalRidge",
        "head": "outer_loop.readouts.head:Head",
        "pairwise": "outer_loop.readouts.pairwise:Pairwise",
        "expected_score": "outer_loop.readouts.expected_score:ExpectedScore",
        "prototypes": "outer_loop.readouts.prototypes:Prototypes",
    },
)
