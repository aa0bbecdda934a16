"""Where an int8 file loses accuracy: every layer against its float counterpart, alone and in the running network."""

from edgeai.quantize.debug.report import debug

__all__ = ["debug"]
