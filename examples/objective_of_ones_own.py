# %% [markdown]
# An objective of your own: a readout says what the outer loop minimises. Save it as `my_readouts.py` and use it:
#
#     python scripts/meta_train.py --config configs/quickstart.yaml outer.readout=my_readouts:Cosine run_dir=runs/cosine

# %%
import torch
import torch.nn.functional as F
from torch import Tensor

from unsupervised_update_rules import Readout


class Cosine(Readout):
    """Classes are told by the cosine of the angle to the class means, with a ``sharpness`` (Vinyals et al., 2016)."""

    def __init__(self, sharpness: float = 10.0) -> None:
        self.sharpness = sharpness

    def scores(self, support: Tensor | None, y_support: Tensor, query: Tensor, ways: int) -> Tensor:
        """What speaks for each class, [Q, C], from features [S, N] and [Q, N]."""
        assert support is not None
        members = (y_support[:, None] == torch.arange(ways, device=y_support.device)).to(support.dtype)
        means = members.mT @ support / members.sum(0)[:, None]
        return self.sharpness * F.normalize(query, dim=-1) @ F.normalize(means, dim=-1).mT


# %% The loss and the accuracy follow from the scores: cross-entropy, and the class that scores highest.
draw = torch.Generator().manual_seed(0)
centres = torch.randn(3, 8, generator=draw)
y = torch.arange(30) % 3
x = centres[y] + 0.3 * torch.randn(30, 8, generator=draw)
reading = Cosine().read(x[:15], y[:15], x[15:], y[15:], ways=3)
print(f"loss {reading.loss:.3f}, accuracy {reading.accuracy:.2f}")
