"""A board as one of the things that run a network on an image: accuracy measured where the network will live."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeai.artifacts import Contract, Fact, FileRef
from edgeai.board import Board
from edgeai.device.bench import output_arrays
from edgeai.device.connect import connected
from edgeai.device.host import pixels
from edgeai.device.stm32msg import identity
from edgeai.device.stm32msg.faults import LineFault
from edgeai.errors import InputError
from edgeai.evaluate.backends.base import Runner, input_table, package_version, weights_kind
from edgeai.evaluate.decode import Output
from edgeai.files import existing_file, file_ref, sha256_bytes, write_bytes
from edgeai.graph import load_graph
from edgeai.imaging.images import laid_out
from edgeai.recognise import NOTHING, Asked
from edgeai.recognise.know import know

DIGEST = 32  # bytes of a sha256


class DeviceRunner(Runner):
    """A TFLite file on a microcontroller board or an emulated one.

    Outputs are kept in `store`, one file an input, so that a measurement that was cut off goes on with the image it
    stopped at. They are kept under what they depend on: the model, the board and its firmware. Raises InputError where
    the file cannot be run, DeviceError where the board fails.
    """

    def __init__(
        self, path: Path, board: Board, store: Path, port: str = "", timeout: float = 60.0, asked: Asked = NOTHING
    ) -> None:
        graph = load_graph(existing_file(path, "a .tflite file"))
        self.known = know(graph, path.stem, asked)
        self.contract: Contract = self.known.decodable(path.name)
        self.precision, self.granularity = weights_kind(graph)
        self.model: FileRef = file_ref(path)
        self.name = path.stem
        entry = graph.tensors[graph.inputs[0]]
        size = self.contract.imgsz
        if tuple(entry.shape) not in ((1, size, size, 3), (1, 3, size, size)):
            raise InputError(f"{path.name} does not take one RGB image of {size} pixels")
        self._shape = tuple(entry.shape)
        scale, zero_point = (entry.scale, entry.zero_point) if entry.quantized else (0.0, 0)
        self._table = input_table(np.dtype(entry.dtype), scale, zero_point, self.contract.mean, self.contract.std)
        self._outputs = [graph.tensors[index] for index in graph.outputs]
        self.reused = 0
        self.faults: list[str] = []
        self._stack = ExitStack()
        line = connected(board, path, port, timeout=timeout, on_fault=self._heard, counting=False)
        self._session = self._stack.enter_context(line)
        try:
            self._held = identity.find_model(self._session, path, self.model)
            self._check(path)
        except BaseException:
            self.close()
            raise
        device = identity.describe(self._session)
        self.backend = f"{board.name}/{self._session.system.devid:#x}"
        self.options = (
            Fact("board", board.name), Fact("device", device.name), Fact("runtime", device.runtime),
            Fact("firmware model", self._held.signature or self._held.compile_datetime),
        )  # fmt: skip
        self.versions = (package_version("pyserial"),)
        key = sha256_bytes(repr((self.model.sha256, *self.options)).encode())[:24]
        self._store = store / key

    def _check(self, path: Path) -> None:
        from edgeai.device.host import HostModel

        host = HostModel(path)
        differences = identity.check_tensors(self._held, host.inputs, host.outputs)
        if differences:
            raise InputError(
                f"{path.name} is not the file on the board: {differences[0]}", "load this model's firmware"
            )

    def _heard(self, fault: LineFault) -> None:
        self.faults.append(fault.kind)

    def infer(self, image: NDArray[np.uint8]) -> tuple[Output, ...]:
        data = np.ascontiguousarray(laid_out(pixels(image, self._table)[None], self._shape)).tobytes()
        place = self._store / f"{sha256_bytes(data)[:32]}.bin"
        arrays = self._stored(place)
        if arrays is None:
            record = self._session.infer(self._held, [data])
            arrays = output_arrays(record, [tuple(tensor.shape) for tensor in self._outputs])
            self._keep(place, arrays)
        else:
            self.reused += 1
        return tuple(
            Output(array, tensor.scale if tensor.quantized else 0.0, tensor.zero_point if tensor.quantized else 0)
            for array, tensor in zip(arrays, self._outputs, strict=True)
        )

    def close(self) -> None:
        self._stack.close()

    # --- store --------------------------------------------------------------------------------------

    def _keep(self, place: Path, arrays: Sequence[NDArray[Any]]) -> None:
        body = zlib.compress(b"".join(array.tobytes() for array in arrays), 1)
        write_bytes(place, bytes.fromhex(sha256_bytes(body)) + body)

    def _stored(self, place: Path) -> list[NDArray[Any]] | None:
        """What an earlier run kept; None where nothing, or not every byte of it, is there."""
        try:
            kept = place.read_bytes()
        except OSError:
            return None
        digest, body = kept[:DIGEST], kept[DIGEST:]
        if bytes.fromhex(sha256_bytes(body)) != digest:
            return None
        data, arrays, at = zlib.decompress(body), [], 0
        for tensor in self._outputs:
            dtype = np.dtype(tensor.dtype)
            count = int(np.prod(tensor.shape))
            arrays.append(np.frombuffer(data, dtype, count, at).reshape(tensor.shape))
            at += count * dtype.itemsize
        return arrays
