"""Which int8 kernels compute what an operator says."""

from edgeai.kernels.variants import variant_of

__all__ = ["variant_of"]
