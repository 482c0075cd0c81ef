# %% [markdown]
# A meta-gradient in ten lines: how the loss after ten inner steps changes with the weights θ of the rule.

# %%
import torch

from unsupervised_update_rules import MLP, Problem, make_rule, metz_objective, theta_of, unroll

# %%
rule = make_rule("hebbian")
problem = Problem.of(MLP((20, 16, 8)))  # what the rule is to train: 20 inputs, 16 hidden units, 8 features
draw = torch.Generator().manual_seed(0)
start = {name: value[None] for name, value in rule.init_state(problem, draw).items()}  # of one task
batches = torch.rand(10, 1, 32, 20, generator=draw)  # [steps, tasks, examples, inputs], no labels

# %%
(state,) = unroll(rule, theta_of(rule), problem, start, {"unlabelled": batches}, read_points=[10])
x, y = torch.rand(40, 20, generator=draw), torch.arange(40) % 4  # the labels, of the readout alone
features = rule.features(problem, {name: value[0] for name, value in state.items()}, x)
loss = metz_objective(features[:20], y[:20], features[20:], y[20:], ways=4).loss
gradient = torch.autograd.grad(loss, [rule.constant])[0]
print(f"loss {loss:.3f}, gradient of the twelve coefficients:", gradient.numpy().round(3))
