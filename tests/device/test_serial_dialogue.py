"""The client against a scripted board: every command, every version, every kind of line."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.board import INPUT_ADDRESS, FakeBoard, FakeModel, Firmware, Script, infer, layer_data

from edgeai.device.stm32msg import identity
from edgeai.device.stm32msg.dialogue import Waits
from edgeai.device.stm32msg.faults import Refused
from edgeai.device.stm32msg.messages import RunMode, TensorFlag
from edgeai.device.stm32msg.resync import Patience
from edgeai.device.stm32msg.session import Session, open_session
from edgeai.device.stm32msg.transport import Address
from edgeai.errors import DeviceError

PATIENCE = Patience(quiet=0.01, answer=0.1, rest=0.02, gap=0.004, total=1.0)
TWO = FakeModel("two_in", inputs=(40, 7), outputs=(9, 33, 1), layers=4)
X = bytes(range(100, 124))


def opened(board: FakeBoard) -> Session:
    return open_session(Address(board.port), waits=Waits(run=2.0), patience=PATIENCE)


@pytest.mark.parametrize("tcp", [False, True])
def test_every_command(tcp: bool) -> None:
    with FakeBoard((FakeModel(), TWO), tcp=tcp) as board, opened(board) as session:
        assert [model.name for model in session.models] == ["tiny", "two_in"]
        record = session.infer(session.models[0], [X])
        assert [tensor.data.datas for tensor in record.outputs] == infer(FakeModel(), [X])
        inputs = [bytes(range(40)), b"seven b"]
        record = session.infer(session.models[1], inputs)
        assert [tensor.data.datas for tensor in record.outputs] == infer(TWO, inputs)
        record = session.perf(session.models[1], per_layer=True)
        assert len(record.layers) == 4
        assert all(t.desc.flags & TensorFlag.NO_DATA and not t.data.datas for t in record.outputs)
        record = session.layers(session.models[1], inputs)
        found = [layer.tensors[0].data.datas for layer in record.layers]
        assert found == [layer_data(TWO, inputs, i) for i in range(4)]
        data = bytes(range(47))
        session.client.write_memory(INPUT_ADDRESS, data)
        assert session.client.read_memory(INPUT_ADDRESS, 47) == data
        assert session.client.checksum_agrees(INPUT_ADDRESS, data)
        assert not session.client.checksum_agrees(INPUT_ADDRESS, data[:-1] + b"x")
        assert not session.faults


def test_constant_inputs_send_one_element() -> None:
    with FakeBoard() as board, opened(board) as session:
        mode = RunMode.IO_ONLY | RunMode.CONST_VALUE
        record = session.client.run(session.models[0], [b"\x05" * 24], mode)
        assert record.outputs[0].data.datas == infer(FakeModel(), [b"\x05" * 24])[0]


@pytest.mark.parametrize(
    "firmware",
    [
        Firmware(version=(3, 0)),
        Firmware(version=(3, 2), extra_field=6, devid=0x486, extra=(0, 1_000_000_000, 900_000_000, 0)),
        Firmware(version=(3, 1), devid=0x486, extra=(0, 1_000_000_000, 900_000_000, 0)),
        Firmware(logs=True, unknown_fields=True),
        Firmware(read_write=False),
        Firmware(crc=False),
        Firmware(input_survives=False),
    ],
    ids=["3.0", "3.2", "n6", "logs", "no memory access", "16-bit checksum", "input overwritten"],
)
def test_every_firmware(firmware: Firmware) -> None:
    with FakeBoard(firmware=firmware) as board, opened(board) as session:
        record = session.infer(session.models[0], [X])
        assert record.outputs[0].data.datas == infer(FakeModel(), [X])[0]
        device = identity.describe(session)
        assert device.accelerator_hz == (1_000_000_000 if firmware.extra else None)
        confirmed_by_checksum = firmware.read_write and firmware.input_survives
        assert board.runs == (1 if confirmed_by_checksum else 2)


def test_an_unknown_major_version_is_named() -> None:
    with FakeBoard(firmware=Firmware(version=(4, 0))) as board, pytest.raises(DeviceError, match=r"version 4\.0"):
        opened(board)


def test_a_model_that_is_not_initialised() -> None:
    with FakeBoard(firmware=Firmware(broken_model=True)) as board, pytest.raises(Refused, match="generic error"):
        opened(board)


def test_an_unknown_model_and_a_wrong_size_are_refused() -> None:
    with FakeBoard() as board, opened(board) as session:
        with pytest.raises(Refused, match="invalid parameter"):
            session.infer(replace(session.models[0], name="other"), [X])
        with pytest.raises(Refused, match="invalid size"):
            session.infer(session.models[0], [X + b"1"])
        assert session.infer(session.models[0], [X]).outputs[0].data.datas == infer(FakeModel(), [X])[0]


def test_a_silent_line_is_no_firmware() -> None:
    with FakeBoard(script=Script(deaf=True)) as board, pytest.raises(DeviceError, match="nothing on") as caught:
        opened(board)
    assert "baud" in caught.value.hint
