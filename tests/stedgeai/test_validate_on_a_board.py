"""Validation on a target: the tool's stand-in speaks stm32msg to a board that computes the real network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.board import FakeBoard, FakeModel, _operator
from helpers import edgeai

from edgeai.artifacts import ValidationResult, from_json
from edgeai.device.stm32msg import messages as m
from edgeai.graph import load_graph
from edgeai.stedgeai.host import HostTensor, host_tensors

Capsys = pytest.CaptureFixture[str]
FORMATS = {"int8": 0x840440, "uint8": 0x40440, "float32": 0x821040, "int32": 0x841040}


class NetworkBoard(FakeBoard):
    """A board that holds one TFLite file. From operator `broken` on it computes with all channels turned round."""

    def __init__(self, path: Path, broken: int = 1 << 30) -> None:
        self.path, self.broken, self.graph = path, broken, load_graph(path)
        sides = [[self.graph.tensors[i] for i in side] for side in (self.graph.inputs, self.graph.outputs)]
        self.sides = sides
        sizes = [tuple(t.nbytes for t in side) for side in sides]
        super().__init__([FakeModel("network", sizes[0], sizes[1], len(self.graph.ops))])

    def _desc(self, name: str, dtype: str, shape: Sequence[int], scale: float, zero: int) -> m.TensorDesc:
        size = int(np.prod(shape))
        return m.TensorDesc(name[:63], FORMATS[dtype], size, 5 << 24 | len(shape), tuple(shape), scale, zero)

    def _info(self, model: FakeModel) -> m.ModelInfo:
        descs = [
            tuple(self._desc(t.name, t.dtype, t.shape, t.scale, t.zero_point) for t in side) for side in self.sides
        ]
        return replace(super()._info(model), inputs=descs[0], outputs=descs[1])

    def _tensors(self, inputs: list[bytes]) -> list[HostTensor]:
        (tensor,) = self.sides[0]
        values = np.frombuffer(inputs[0], tensor.dtype).reshape(tensor.shape)
        out = []
        for found in host_tensors(self.path, values):
            data = found.values[..., ::-1].copy() if found.index >= self.broken else found.values
            out.append(replace(found, values=data))
        return out

    def _compute(self, model: FakeModel, inputs: list[bytes]) -> list[bytes]:
        self.runs += 1
        by_name = {tensor.name: tensor for tensor in self._tensors(inputs)}
        self.results = [by_name[t.name] for t in self.sides[1]]
        return [tensor.values.tobytes() for tensor in self.results]

    def _send_layers(self, model: FakeModel, inputs: list[bytes], with_data: bool) -> None:
        tensors = self._tensors(inputs)
        for place, tensor in enumerate(tensors):
            flags = int(m.OperatorFlag.INTERNAL | (m.OperatorFlag.LAST if place + 1 == len(tensors) else 0))
            self._answer(m.State.PROCESSING, op=_operator(f"op_{tensor.index}", 0, flags, 1000 * (place + 1), place))
            dtype, shape = str(tensor.values.dtype), tensor.values.shape
            desc = self._desc(tensor.name, dtype, shape, tensor.scale, tensor.zero_point)
            super()._tensor(replace(desc, flags=4), tensor.values.tobytes(), m.State.PROCESSING, True, with_data)

    def _tensor(self, desc: m.TensorDesc, data: bytes, state: m.State, last: bool, with_data: bool) -> None:
        found = self.results[int(desc.name.removeprefix("out"))]
        mine = self._desc(found.name, str(found.values.dtype), found.values.shape, found.scale, found.zero_point)
        super()._tensor(replace(mine, flags=2), data, state, last, with_data)


@pytest.fixture
def batch(model: Path, tmp_path: Path) -> Path:
    tensor = (graph := load_graph(model)).tensors[graph.inputs[0]]
    limits = np.iinfo(tensor.dtype)
    rng = np.random.default_rng(5)
    values = rng.integers(limits.min, limits.max + 1, (2, *tensor.shape[1:]))
    np.save(tmp_path / "batch.npy", values.astype(tensor.dtype))
    return tmp_path / "batch.npy"


@pytest.fixture
def validate(
    capsys: Capsys, standin: Path, model: Path, batch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """Compile and validate below a path with blanks and letters that the N6's compiler cannot read."""
    place = tmp_path / "Prüfstand 東京"
    place.mkdir()
    monkeypatch.chdir(place)

    def run(board: NetworkBoard, profile: str, *options: object) -> ValidationResult:
        assert edgeai(capsys, "compile", model, "--board", profile, "--stedgeai", standin).code == 0
        with board:
            outcome = edgeai(
                capsys, "validate", model, "--board", profile, "--port", board.port, "--inputs", batch, "--stedgeai",
                standin, "--json", *options,
            )  # fmt: skip
        assert outcome.code == 0, outcome.err
        return from_json(ValidationResult, outcome.out)

    yield run


@pytest.mark.parametrize(("profile", "version"), [("stm32n6", "4.0.1"), ("stm32n6", "2.2.0"), ("stm32h7", "3.0.0")])
def test_a_board_that_computes_right(
    validate: Any, model: Path, monkeypatch: pytest.MonkeyPatch, profile: str, version: str
) -> None:
    """Durations come from the board: 1, 2, 3 … thousand cycles at 32 MHz."""
    monkeypatch.setenv("EDGEAI_STANDIN_VERSION", version)
    found = validate(NetworkBoard(model), profile)
    layers = len(load_graph(model).ops)
    assert found.profile is not None and found.profile.samples == 2 and len(found.profile.layers) == layers
    assert found.profile.ms == pytest.approx(sum(range(1, layers + 1)) / 32, abs=0.001)
    assert found.profile.layers[3].ms == pytest.approx(4 / 32, abs=0.001)
    assert found.profile.layers[3].cycles == (4000,)
    assert [(a.cosine, a.sqnr_db, a.bit_equal) for a in found.agreement] == [(1.0, None, 1.0)]
    assert found.toolchain == "stand-in" and found.version == version and found.mode == "target"


def test_bisect_names_the_first_operator_that_departs(validate: Any, model: Path) -> None:
    found = validate(NetworkBoard(model, broken=9), "stm32n6", "--bisect")
    graph = load_graph(model)
    assert found.departure is not None
    assert (found.departure.index, found.departure.operator) == (9, graph.ops[9].kind)
    assert found.agreement[0].bit_equal < 1 and found.metrics[0].rmse > 0


def test_bisect_of_a_right_board_finds_nothing(validate: Any, model: Path) -> None:
    assert validate(NetworkBoard(model), "stm32h7", "--bisect").departure is None
