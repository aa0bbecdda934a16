"""A TFLite file as a torch program, with every rounding where the kernels round."""
