"""Networks: build them by name, load them from a checkpoint or from our own safetensors file.

Importing this package is cheap; torch is imported when a network is built or loaded.
"""

from edgeai.models.build import build, build_spec
from edgeai.models.load import import_model, load_model

__all__ = ["build", "build_spec", "import_model", "load_model"]
