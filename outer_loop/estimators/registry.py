"""The outer estimators that can be named in a config; any other by its path, ``my_module:MyEstimator``."""

from common.components import Registry
from outer_loop.estimators.contract import Estimator

ESTIMATORS = Registry(
    "estimator",
    Estimator,
    {
        "truncated_backprop": "outer_loop.estimators.truncated_backprop:TruncatedBackprop",
        "full_backprop": "outer_loop.estimators.full_backprop:FullBackprop",
        "forward_mode": "outer_loop.estimators.forward_mode:ForwardMode",
        "evolution_strategies": "outer_loop.estimators.evolution_strategies:EvolutionStrategies",
        "persistent_es": "outer_loop.estimators.persistent_es:PersistentES",
        "noise_reuse_es": "outer_loop.estimators.noise_reuse_es:NoiseReuseES",
        "cma_es": "outer_loop.estimators.cma_es:CmaEs",
        "risk_minimisation": "outer_loop.estimators.risk_minimisation:RiskMinimisation",
    },
)
