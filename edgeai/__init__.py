"""edgeai: an instance-segmentation network from PyTorch to an STM32 board, measured on the way."""

__version__ = "0.1.0"
