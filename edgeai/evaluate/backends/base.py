"""The one interface to everything that runs a network on an image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import Contract, Fact, FileRef, Granularity
from edgeai.evaluate.decode import Output
from edgeai.evaluate.pictures import SURE, refuse_beyond_one, refuse_corners, refuse_what_are_no_scores, settled
from edgeai.evaluate.remarks import ASSUMED
from edgeai.graph.types import Graph
from edgeai.recognise.know import Known

LOOKS = 16
Kernels = Literal["xnnpack", "builtin", "reference", "integer", "float"]
ONNX_KERNELS: tuple[Kernels, ...] = ("integer", "float")


def assumptions(known: Known | None) -> tuple[Fact, ...]:
    """What of a classifier's input nothing but a convention says; networks of YOLO's family have but this one."""
    if known is None or known.contract.spec.task != "classify":
        return ()
    found = [e for e in known.evidence if e.field == "input range" and e.source.startswith("by convention")]
    return tuple(Fact(ASSUMED, f"{entry.value} by convention") for entry in found)


class Runner(ABC):
    """A network that is ready to run, batch 1. A context manager: it frees its memory or its line on exit.

    `backend` names runtime and kernel set (`litert/xnnpack`), since kernel sets disagree in the last bits.
    `precision` is fp32, fp16 or int8; `granularity` that of the weights. `options` and `versions` go to provenance.
    """

    contract: Contract
    model: FileRef
    name: str
    backend: str
    precision: str = "fp32"
    granularity: Granularity = "float"
    options: tuple[Fact, ...] = ()
    versions: tuple[Fact, ...] = ()
    known: Known | None = None  # how the file was recognised; None where it did not have to be
    any_shape: bool = False  # takes pictures [rows, columns, 3] of whole strides, not its square alone
    looked_at: int = 0  # pictures that were held against a head that only shapes speak for

    @property
    def input_size(self) -> int:
        """Side of the square input in pixels."""
        return self.contract.imgsz

    @abstractmethod
    def infer(self, image: NDArray[np.uint8]) -> tuple[Output, ...]:
        """The outputs, in the file's order, for a letterboxed RGB image [imgsz, imgsz, 3] uint8."""

    def see(self, outputs: Sequence[Output], lowest: float = SURE) -> Contract:
        """The contract, with what the outputs of a picture decide where the file itself does not (`pictures.py`)."""
        foreign = self.known is not None and not self.known.own
        if foreign:
            refuse_beyond_one(self.contract, outputs)
        if foreign and self.looked_at < LOOKS:
            self.looked_at += 1
            refuse_corners(self.contract, outputs)
            if self.known is not None and not self.known.sure:
                refuse_what_are_no_scores(self.contract, outputs)
        self.contract = settled(self.contract, outputs, lowest)
        return self.contract

    def close(self) -> None:  # noqa: B027  (most runners have nothing to free)
        """Free what the runner holds. It cannot be used afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def input_table(
    dtype: np.dtype[Any], scale: float, zero_point: int, mean: Sequence[float] = (), std: Sequence[float] = ()
) -> NDArray[Any]:
    """What each of the 256 pixel values becomes at the input of a network: [256], or [256, 3] with mean and std.

    Quantised as TFLite does: round(real / scale) + zero point, saturated. A scale of 0.0 means a float input.
    """
    real = np.arange(256) / 255.0
    if std:
        real = (real[:, None] - np.asarray(mean)) / np.asarray(std)
    if not scale:
        return (np.rint(real) if np.issubdtype(dtype, np.integer) else real).astype(dtype)
    info = np.iinfo(dtype)
    result: NDArray[Any] = np.clip(np.rint(real / scale) + zero_point, info.min, info.max).astype(dtype)
    return result


def weights_kind(graph: Graph) -> tuple[str, Granularity]:
    """Precision (fp32, fp16, int8, ...) and granularity of a network's weights, read from the file."""
    weights = [tensor for op in graph.ops if (tensor := graph.weights(op)) is not None]
    quantised = [tensor for tensor in weights if tensor.quantized]
    if quantised:
        per_channel = any(tensor.per_channel for tensor in quantised)
        return quantised[0].dtype, "per-channel" if per_channel else "per-tensor"
    half = any(tensor.dtype == "float16" for tensor in weights)
    return "fp16" if half else "fp32", "float"


def package_version(*packages: str) -> Fact:
    """Name and version of the first of these packages that is installed (one module, several distributions)."""
    from importlib.metadata import PackageNotFoundError, version

    for package in packages:
        try:
            return Fact(package, version(package))
        except PackageNotFoundError:
            continue
    return Fact(packages[0], "unknown")
