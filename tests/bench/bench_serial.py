"""How fast tensors go over the serial protocol to the emulated board, and where the host's time goes.

    python tests/bench/bench_serial.py MODEL.tflite

The figures of the vendor's client on the same machine, firmware of the same kind and a pseudo terminal are those of the
reference notes on emulation: 21 to 46 KB/s to the board, 287 to 389 KB/s from it, 0.34 ms a small frame, 12.3 s for an
inference with 192 KB in and 280 KB out. Other load on the computer makes all of it slower: the best of five counts.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgeai.device.emulated.m55 import EmulatedM55
from edgeai.device.stm32msg.session import Session, open_session
from edgeai.device.stm32msg.transport import Address
from edgeai.firmware.blob import write_blob

REPEATS = 5
ROUNDS = 200
VENDOR = {"frame ms": 0.34, "to the board KB/s": 46.0, "from the board KB/s": 389.0, "inference with tensors s": 12.3}


def best(action: Callable[[], object]) -> float:
    """Seconds of the fastest of several."""
    found = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        action()
        found.append(time.perf_counter() - begin)
    return min(found)


def measure(session: Session) -> dict[str, float]:
    model, client = session.models[0], session.client
    size = model.inputs[0].size
    data = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8).tobytes()
    address = model.inputs[0].addr
    rounds = best(lambda: [client.sync() for _ in range(ROUNDS)])
    write = best(lambda: client.write_memory(address, data))
    read = best(lambda: client.read_memory(address, size))
    begin = time.perf_counter()
    session.infer(model, [data])
    whole = time.perf_counter() - begin
    return {
        "frame ms": 1e3 * rounds / ROUNDS,
        "to the board KB/s": size / write / 1e3,
        "from the board KB/s": size / read / 1e3,
        "inference with tensors s": whole,
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        blob = Path(folder) / "model.blob"
        write_blob(Path(sys.argv[1]), blob)
        with EmulatedM55([blob]) as board, open_session(Address(board.port), trusted=True) as session:
            print(f"{'':26} {'here':>9} {'vendor':>9}")
            for name, value in measure(session).items():
                print(f"{name:26} {value:9.2f} {VENDOR[name]:9.2f}")
            profile = cProfile.Profile()
            profile.enable()
            session.infer(session.models[0], [bytes(session.models[0].inputs[0].size)])
            profile.disable()
    pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(10)


if __name__ == "__main__":
    main()
