"""Ask the validation firmware itself for the output of every operator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from edgeai.errors import DeviceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeai.device.stm32msg.client import RunRecord

SYNC_S = 2.0


def layer_tensors(port: str, baud: int, inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """The tensors of one run of the first model, by name. Raises DeviceError where the firmware shows none."""
    from edgeai.device.stm32msg.client import Client
    from edgeai.device.stm32msg.messages import RunMode
    from edgeai.device.stm32msg.packet import Link
    from edgeai.device.stm32msg.transport import open_transport, parse_address

    with open_transport(parse_address(port), baud) as transport:
        client = Client(Link(transport))
        client.sync(SYNC_S)
        models = client.models()
        if not models:
            raise DeviceError(f"the firmware at {port} holds no model", "load one")
        mode = RunMode.IO_ONLY | RunMode.PER_LAYER | RunMode.PER_LAYER_WITH_DATA
        record = client.run(models[0], [inputs[0].tobytes()], mode)
    found = dict(_arrays(record))
    if not found:
        raise DeviceError("the firmware shows no tensors of its operators", "compile without the epoch controller")
    return found


def _arrays(record: RunRecord) -> Iterator[tuple[str, NDArray[Any]]]:
    import numpy as np

    from edgeai.device.stm32msg.messages import tensor_dtype

    for tensor in (tensor for layer in record.layers for tensor in layer.tensors):
        dtype = tensor_dtype(tensor.desc.format)
        if dtype is not None and tensor.data.datas:
            yield tensor.desc.name, np.frombuffer(tensor.data.datas, dtype)
