"""How the Metz rule changes one layer's weights: twelve named terms, read out of the neuron states, then merged.

Metz et al. (2019), appendix A. Shapes: B examples, P units below, N above, H hidden channels, R readout channels.
"""

import math

import torch
from torch import Tensor, nn

from update_rules.local.local_terms import bounded_columns, standardised, unit_rms_columns
from update_rules.metz.layers import Linear

TERMS = (
    "0_order",
    "1_order",
    "decorr_x",
    "hebb",
    "large_decay",
    "lin_lower_symm",
    "lin_upper_psd",
    "lin_upper_symm",
    "rbf",
    "sqr_lower_symm",
    "sqr_upper_symm",
    "w_base",
)
"""The terms in the order of the mixing weights, which is alphabetical."""

# The columns of the two readout maps, in groups of R channels: first what meets the other layer, then the two sides of
# the square matrices that are made from one layer alone.
BELOW_READOUTS = (
    "weight_readout_0_bottom",
    "weight_readout_rbf_bottom",
    "weight_readout_1_bottom",
    "lin_lower_symm_bottom",
    "lin_lower_symm_top",
    "sqr_lower_symm_bottom",
    "sqr_lower_symm_top",
)
ABOVE_READOUTS = (
    "weight_readout_0_top",
    "weight_readout_rbf_top",
    "weight_readout_1_top",
    "lin_upper_symm_bottom",
    "lin_upper_symm_top",
    "lin_upper_psd_top",
    "sqr_upper_symm_bottom",
    "sqr_upper_symm_top",
)


def symmetrise(squares: Tensor) -> Tensor:
    """(U + Uᵀ)/√2 of every square matrix in ``squares`` [..., N, N], with its diagonal set to 0."""
    off_diagonal = 1 - torch.eye(squares.shape[-1], dtype=squares.dtype, device=squares.device)
    return (squares + squares.transpose(-1, -2)) * (off_diagonal / math.sqrt(2))


class WeightChange(nn.Module):
    """The change of one layer's weights from the neuron states below and above it; the same θ for all layers."""

    def __init__(self, hidden: int, readout_channels: int, generator: torch.Generator) -> None:
        super().__init__()
        self.readout_channels = readout_channels
        self.below = Linear(hidden, len(BELOW_READOUTS) * readout_channels, generator)
        self.above = Linear(hidden, len(ABOVE_READOUTS) * readout_channels, generator)
        self.mix = nn.Parameter(torch.full((len(TERMS),), 0.1))
        self.mix_bias = nn.Parameter(torch.zeros(1))

    def forward(self, weights: Tensor, x_below: Tensor, h_below: Tensor, x_above: Tensor, h_above: Tensor) -> Tensor:
        """The change [P, N] of ``weights``, from activations [B, P], [B, N] and states [B, P, H], [B, N, H] beside."""
        w = unit_rms_columns(weights)
        return self.merge(self.terms(w, x_below, h_below, x_above, h_above), w)

    def terms(self, w: Tensor, x_below: Tensor, h_below: Tensor, x_above: Tensor, h_above: Tensor) -> dict[str, Tensor]:
        """The terms of the change, [P, N] each, before any normalisation; ``w`` [P, N] has columns of rms 1."""
        examples, units_below = x_below.shape
        units = x_above.shape[1]
        below, above = self.read(self.below, h_below), self.read(self.above, h_above)
        scale = 1 / (self.readout_channels * examples)
        order_0, rbf, order_1 = scale * (below[:3] @ above[:3].transpose(1, 2))
        lower = symmetrise(below[3::2] @ below[4::2].transpose(1, 2)) * (scale / math.sqrt(units_below))
        upper = symmetrise(above[3::3] @ above[4::3].transpose(1, 2)) * (scale / math.sqrt(units))
        upper_psd = (above[5] @ above[5].T) * (scale / math.sqrt(units))

        u, v = standardised(x_above), standardised(x_below)
        sign, square = torch.sign(w), w * w
        bent = torch.sqrt(1 + square) - 1
        correlated = w @ (u.mT @ u) / (examples * math.sqrt(units))
        return {
            "0_order": order_0,
            "1_order": w * order_1,
            "decorr_x": correlated * torch.rsqrt((correlated * correlated + 1e-8).mean((-2, -1), keepdim=True)),
            "hebb": -(v.T @ u) / examples,
            "large_decay": square * sign,
            "lin_lower_symm": lower[0] @ w,
            "lin_upper_psd": w @ upper_psd,
            "lin_upper_symm": w @ upper[0],
            "rbf": torch.exp(-square) * rbf,
            "sqr_lower_symm": (lower[1] @ bent) * sign,
            "sqr_upper_symm": (bent @ upper[1]) * sign,
            "w_base": w,
        }

    def merge(self, terms: dict[str, Tensor], w: Tensor) -> Tensor:
        """The change [P, N] from the ``terms`` [P, N] and the weights ``w`` with columns of rms 1."""
        mixed = torch.tensordot(self.mix, bounded_columns(torch.stack([terms[name] for name in TERMS])), 1)
        change = (mixed + self.mix_bias) / len(TERMS)
        # The weights must not shrink along themselves.
        change = change - w * torch.relu((change * w).mean((-2, -1), keepdim=True))
        return bounded_columns(change / math.sqrt(len(TERMS))) - w / 7

    def read(self, readout: Linear, h: Tensor) -> Tensor:
        """All readouts of ``h`` [B, N, H] as matrices [readouts, N, B·R], ready for products over examples."""
        examples, units, _ = h.shape
        channels = readout(h).reshape(examples, units, -1, self.readout_channels)
        return channels.permute(2, 1, 0, 3).reshape(-1, units, examples * self.readout_channels)


def bias_change(readout: Linear, h_mean: Tensor) -> Tensor:
    """The change [..., N] of a layer's biases from the batch mean of its neuron states [..., N, H]."""
    return settle_bias(readout(h_mean)[..., 0])


def settle_bias(change: Tensor) -> Tensor:
    """The change [..., N] of biases from what neuron states give [..., N]; its mean over units is never below 0."""
    change = change + torch.relu(-change.mean(-1, keepdim=True))
    return change * torch.rsqrt(0.5 + (change * change).mean(-1, keepdim=True))
