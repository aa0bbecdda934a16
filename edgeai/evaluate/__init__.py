"""Accuracy on the host: letterbox, back-ends, decode, NMS, masks and COCO metrics."""
