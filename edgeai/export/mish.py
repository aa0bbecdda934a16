"""Mish from operators that int8 has.

x tanh(softplus(x)) is converted to EXP and LOG as it stands, and no 8-bit scale holds e^x for the x of an activation.
With y = -x and softplus(x) = -ln(sigmoid(y)) it is y tanh(ln(sigmoid(y))): the sigmoid has TFLite's fixed scale 1/256,
its logarithm is needed down to where tanh saturates, and the sign of y costs nothing: the batch norm in front takes it.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgeai.models.activations import convolutions


class MishOfNegative(nn.Module):
    """y -> mish(-y)."""

    def forward(self, y: Tensor) -> Tensor:
        return y * y.sigmoid().log().tanh()


def with_negated_mish(network: nn.Module) -> nn.Module:
    """`network` with every Mish behind a norm of turned sign, in place; it computes the same."""
    for layer in convolutions(network).values():
        if isinstance(layer.act, nn.Mish):
            layer.bn.weight.data.neg_()
            layer.bn.bias.data.neg_()
            layer.act = MishOfNegative()
    return network
