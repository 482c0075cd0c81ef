"""The outer estimators that can be named in a config; any other by its path, ``my_module:MyEstimator``."""

from common.components import Registry
from outer_loop.estimators.contract import Estimator

ESTIMATORS = Registry(
    "estimator",
    Estimator,
    {
        "truncated_backprop": "outer_loop.estimators.truncated_backprop:TruncatedBackprop",
        "evolution_strategies": "outer_loop.estimators.evolution_strategies:EvolutionStrategies",
        "risk_minimisation": "outer_loop.estimators.risk_minimisation:RiskMinimisation",
    },
)
