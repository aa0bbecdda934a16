"""YOLO sets are read where COCO's are (`edgeai.evaluate`), and found here by what trains on them."""

from edgeai.evaluate.yolo import has_part, is_yolo, parse_yaml, read_yolo

__all__ = ["has_part", "is_yolo", "parse_yaml", "read_yolo"]
