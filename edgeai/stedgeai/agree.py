"""Host against target: agreement of every output, and the first operator whose output departs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgeai.artifacts import Departure, OutputAgreement
from edgeai.errors import InputError
from edgeai.stedgeai.host import HostTensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Kernels may round the last bit differently: one step of 255 is 45 dB or more on a tensor that uses its range.
# A wrong operator falls far below 20 dB, the error of one part in ten.
DEPARTURE_DB = 20.0


def compare_outputs(host: Sequence[HostTensor], target: Sequence[NDArray[Any]]) -> tuple[OutputAgreement, ...]:
    """Every output on the target against the same one on the host. Raises InputError where they do not correspond."""
    if len(host) != len(target):
        counts = f"the target gave {len(target)} outputs, the model has {len(host)}"
        raise InputError(counts, "compile this model again")
    return tuple(agree(tensor, values) for tensor, values in zip(host, target, strict=True))


def agree(host: HostTensor, target: NDArray[Any]) -> OutputAgreement:
    """One tensor against the host's; shapes may differ in dimensions of 1 only."""
    from edgeai.evaluate.agreement import agreement

    if host.values.size != target.size:
        raise InputError(
            f"{host.name} has {host.values.size} values on the host and {target.size} on the target",
            "the board runs another network",
        )
    found = agreement(host.values, target.reshape(host.values.shape), host.scale, host.zero_point)
    return OutputAgreement(host.name, int(target.size), found.cosine, found.sqnr_db, found.bit_equal)


def first_departure(
    host: Sequence[HostTensor], target: Mapping[str, NDArray[Any]], limit_db: float = DEPARTURE_DB
) -> Departure | None:
    """The first operator, in the order of execution, whose output on the target lies below `limit_db`.

    `target` holds the tensors the device gave by name; those the host does not know are passed over, as a device
    fuses operators and names its own. Raises InputError where not one name is common to both.
    """
    given = {_plain(name): values for name, values in target.items()}
    common = [tensor for tensor in host if _plain(tensor.name) in given]
    if not common:
        hint = "was the model compiled from this file?"
        raise InputError("no tensor of the target has the name of one on the host", hint)
    for tensor in common:
        found = agree(tensor, given[_plain(tensor.name)])
        if found.sqnr_db is not None and found.sqnr_db < limit_db:
            return Departure(tensor.index, tensor.operator, found)
    return None


def _plain(name: str) -> str:
    """Names without what C and the protocol (63 characters) take away."""
    return re.sub(r"\W+", "_", name)[:63].strip("_").lower()
