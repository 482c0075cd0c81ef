"""The network inside each neuron of ``neuron_local``, for T tasks at once, with its backward pass written by hand.

The maths is that of ``NeuronMLP`` followed by a linear readout. Autograd would keep a dozen arrays of the size of the
hidden states; by hand three are kept, and all else happens in place. Shapes: T tasks, F inputs of a neuron per example,
U inputs per unit, H hidden channels, R rows read out, B examples, N units.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def per_task(weights: Tensor, tasks: int) -> Tensor:
    """``weights`` [R, H], shared by tasks or with a leading T, as [T, R, H] without a copy, for ``torch.bmm``."""
    return weights if weights.dim() == 3 else weights.expand(tasks, *weights.shape)


def gathered(grad: Tensor, weights: Tensor) -> Tensor:
    """The gradient of ``weights``, given ``grad`` of every task, [T, ...]: their sum where tasks share them."""
    return grad if grad.dim() == weights.dim() else grad.sum(0)


class NeuronBlock(torch.autograd.Function):
    """Readouts [T, R, B, N] of the states of neurons that see [T, F, B, N] per example and [T, U, N] per unit.

    ``NeuronBlock.apply(seen, unit, example, unit_weights, mix, pooled, offset, from_hidden, from_inputs, read_offset)``
    with the weights of a ``NeuronMLP`` and of the readout: from_hidden [R, H], and from_inputs [R, F] and read_offset
    [R], both or neither of them None; each may have a leading T. Differentiable once, in everything.
    """

    @staticmethod
    def forward(ctx: Any, seen: Tensor, unit: Tensor, *given: Any) -> Tensor:
        """The readouts."""
        example, unit_weights, mix, pooled, offset, from_hidden, from_inputs, read_offset = given
        tasks, _, examples, units = seen.shape
        flat = seen.flatten(2)
        shape = (tasks, -1, examples, units)
        first = torch.bmm(per_task(example, tasks), flat)
        first.view(shape).add_((unit_weights @ unit)[:, :, None]).relu_()
        mean = first.view(shape).mean(2)
        hidden = torch.bmm(per_task(mix, tasks), first)
        hidden.view(shape).add_((pooled @ mean + offset[..., None])[:, :, None]).relu_()
        read = torch.bmm(per_task(from_hidden, tasks), hidden)
        if from_inputs is not None:
            read.baddbmm_(per_task(from_inputs, tasks), flat).add_(read_offset[..., None])
        weights = (example, unit_weights, mix, pooled, offset, from_hidden, from_inputs, read_offset)
        ctx.save_for_backward(flat, unit, first, mean, hidden, *weights)
        ctx.shape = shape
        return read.view(shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_read: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the arguments, in their order."""
        flat, unit, first, mean, hidden, *weights = ctx.saved_tensors
        example, unit_weights, mix, pooled, offset, from_hidden, from_inputs, read_offset = weights
        shape = ctx.shape
        tasks, _, examples, _ = shape
        grad = grad_read.flatten(2)
        back = torch.ops.aten.threshold_backward
        grad_from_hidden = gathered(torch.bmm(grad, hidden.mT), from_hidden)
        grad_hidden = torch.bmm(per_task(from_hidden.mT, tasks), grad)
        grad_hidden = back.grad_input(grad_hidden, hidden, 0, grad_input=grad_hidden)
        grad_history = grad_hidden.view(shape).sum(2)
        grad_mix = gathered(torch.bmm(grad_hidden, first.mT), mix)
        grad_pooled = gathered(torch.bmm(grad_history, mean.mT), pooled)
        grad_first = torch.bmm(per_task(mix.mT, tasks), grad_hidden)
        grad_first.view(shape).add_((pooled.mT @ grad_history)[:, :, None], alpha=1 / examples)
        grad_first = back.grad_input(grad_first, first, 0, grad_input=grad_first)
        grad_summed = grad_first.view(shape).sum(2)
        grad_seen = torch.bmm(per_task(example.mT, tasks), grad_first)
        grad_from_inputs = grad_offset = None
        if from_inputs is not None:
            grad_seen.baddbmm_(per_task(from_inputs.mT, tasks), grad)
            grad_from_inputs = gathered(torch.bmm(grad, flat.mT), from_inputs)
            grad_offset = grad.sum(2) if read_offset.dim() > 1 else grad.sum((0, 2))
        return (
            grad_seen.view(shape),
            unit_weights.mT @ grad_summed,
            gathered(torch.bmm(grad_first, flat.mT), example),
            gathered(torch.bmm(grad_summed, unit.mT), unit_weights),
            grad_mix,
            grad_pooled,
            grad_history.sum(2) if offset.dim() > 1 else grad_history.sum((0, 2)),
            grad_from_hidden,
            grad_from_inputs,
            grad_offset,
        )


class SeenByNeurons(torch.autograd.Function):
    """What neurons see per example, [T, O+C, B, N]: O inputs of their own and the error, at unit rms over C channels.

    ``SeenByNeurons.apply(error, eps, *own)`` with the unscaled error [T, C, B, N] and O tensors [T, B, N].
    """

    @staticmethod
    def forward(ctx: Any, error: Tensor, eps: float, *own: Tensor) -> Tensor:
        """All in one array."""
        tasks, channels, examples, units = error.shape
        seen = error.new_empty(tasks, len(own) + channels, examples, units)
        for place, values in enumerate(own):
            seen[:, place] = values
        scaled = seen[:, len(own) :]
        scale = torch.mul(error, error, out=scaled).mean(1, keepdim=True).add_(eps).rsqrt_()
        torch.mul(error, scale, out=scaled)
        ctx.save_for_backward(seen, scale)
        ctx.own = len(own)
        return seen

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the error and of the neurons' own inputs."""
        seen, scale = ctx.saved_tensors
        scaled, grad_scaled = seen[:, ctx.own :], grad[:, ctx.own :]
        along = (scaled * grad_scaled).mean(1, keepdim=True)
        return torch.addcmul(grad_scaled, scaled, along, value=-1).mul_(scale), None, *grad[:, : ctx.own].unbind(1)
