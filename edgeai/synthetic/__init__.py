"""A procedural instance-segmentation set: made from a seed, so it needs no download and has no foreign licence.

`generate` writes one split in COCO's format. The bundled model was trained on this set.
"""

from __future__ import annotations

from edgeai.synthetic.shapes import CLASSES
from edgeai.synthetic.write import SPLITS, SyntheticSplit, generate

__all__ = ["CLASSES", "SPLITS", "SyntheticSplit", "generate"]
