"""Settings, over those of ``tiny_config``, of the shortest runs that learn where a network starts."""

FEW_SHOT = (
    "tasks.ways=3",
    "tasks.shots=1",
    "tasks.queries=2",
    "tasks.permute=false",
    "network={name: conv4, options: {filters: 3}, normalisation: support}",
    "outer.clip=10.0",
    "evaluation.tasks=2",
)
MAML = (
    *FEW_SHOT,
    "rule={name: maml, options: {rate: 0.1, learned_rates: true, steps: 2, first_order: 3}}",
    "inner={unroll: [2, 2], length: [2, 2], read_every: 1}",
    "outer.readout=head",
    "outer.anneal_reads=4",
)
SCA = (
    *MAML,
    "rule={name: sca, options: {rate: 0.1, steps: 1, first_order: 3, sees: [predictions, features, task]}}",
)
SEMI_SUPERVISED = (
    *MAML,
    "rule={name: semi_supervised_maml, options: {rate: 0.1, steps: 2, per_step_normalisation: true}}",
    "tasks.unlabelled_shots=2",
    "tasks.distractors=2",
    "tasks.swapped=[unlabelled_set]",
)
PROTONET = (
    *FEW_SHOT,
    "rule={name: protonet, options: {}}",
    "inner={unroll: [1, 1], length: [1, 1], read_every: 1}",
    "outer.readout=prototypes",
)
