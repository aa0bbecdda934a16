"""Which int8 kernels compute what an operator says."""
