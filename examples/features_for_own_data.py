# %% [markdown]
# Features for data of your own: a shipped rule trains a small network on it, without a label.

# %%
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from unsupervised_update_rules import RuleFeatures

x, y = load_digits(return_X_y=True)  # any numbers [examples, inputs]; images in [0, 1], flattened
x = x / 16

# %% The best shipped rule, hebbian_winners. It never sees y.
rule = RuleFeatures(random_state=0)
features = rule.fit_transform(x)
print("features", features.shape)

# %% One labelled example of each class is enough to tell digits apart far better than from pixels.
rng = np.random.default_rng(0)
labelled = np.array([rng.choice(np.flatnonzero(y == digit)) for digit in range(10)])
for name, seen in (("pixels", x), ("features", features / features.std())):
    probe = LogisticRegression(max_iter=1000).fit(seen[labelled], y[labelled])
    print(f"{name:8} {100 * probe.score(seen, y):.1f} % from one label a class")

# %% New examples go through the same network, one by one.
print("new", rule.transform(x[:3]).shape)
