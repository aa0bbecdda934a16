"""Accuracy during training: the same measurement as `edgeai evaluate`, on the network as it stands."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from edgeai.artifacts import FileRef, Metric, ModelSpec
from edgeai.evaluate.backends.pytorch import TorchRunner
from edgeai.evaluate.coco import category_ids, evaluate
from edgeai.evaluate.dataset import Dataset

KEPT = ("box_ap", "box_ap50", "mask_ap", "mask_ap50")


def validator(dataset: Dataset, spec: ModelSpec) -> Callable[[nn.Module], tuple[Metric, ...]]:
    """A function from a network to its AP on `dataset`. Raises InputError where classes do not correspond, or a
    segmentation network meets objects without masks."""
    category_ids(spec.names, dataset)
    if spec.task == "segment":
        dataset.need_masks("mask AP needs an outline of every object")

    def measure(network: nn.Module) -> tuple[Metric, ...]:
        with TorchRunner(network, spec, FileRef("network", "", 0), spec.imgsz) as runner:
            result = evaluate(runner, dataset)
        return tuple(metric for metric in result.metrics if metric.name in KEPT)

    return measure
