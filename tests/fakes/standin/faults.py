"""Scripted failures: EDGEAI_STANDIN_FAULT=name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

NAME = os.environ.get("EDGEAI_STANDIN_FAULT", "")
FAULTS = (
    "does-not-fit", "slow", "hang", "hang-deaf", "crash", "garbage", "flood", "disk-full", "truncated-json",
    "missing-files", "float-fallback", "killed", "orphan", "unsupported", "internal", "wrong-target", "no-report",
    "loader-failed", "loader-silent", "bad-nb", "unsupported-silent",
)  # fmt: skip
if NAME and NAME not in FAULTS:
    raise SystemExit(f"stand-in: unknown fault {NAME!r}")


def before() -> None:  # noqa: PLR0912
    """Faults that strike after the first lines of output."""
    if NAME == "slow":
        for i in range(4):
            print(f" working {i}", flush=True)
            time.sleep(0.2)
    elif NAME in ("hang", "hang-deaf"):
        if NAME == "hang-deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])  # the compiler below the tool
        time.sleep(600)
    elif NAME == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif NAME == "orphan":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    elif NAME == "flood":
        block = ("x" * 99 + "\n") * 10_000
        for _ in range(105):
            sys.stdout.write(block)
        sys.stdout.flush()
        fail("E103(CliRuntimeError): Error calling the Neural Art compiler - ['flood']")
    elif NAME == "garbage":
        sys.stdout.flush()
        os.write(1, bytes(range(256)) * 64 + b"\nTotal number of epochs: banana of which\n\tnpuRAM5 [0xZZ - 0x]: \n")
        raise SystemExit(0)
    elif NAME == "unsupported":
        fail("NOT IMPLEMENTED: Unkonwn layer format for layer Input_72")
    elif NAME == "unsupported-silent":  # the error is printed, the exit status says otherwise
        print("NOT IMPLEMENTED: Unkonwn layer format for layer Input_72", flush=True)
        raise SystemExit(0)
    elif NAME == "internal":
        fail("INTERNAL ERROR: Exported ONNX could be malformed since ONNX shape inference fails")
    elif NAME == "disk-full":
        fail("TOOL ERROR: [Errno 28] No space left on device: 'network.c'")
    elif NAME == "float-fallback":
        print('INVALID_ARGUMENT:(tensors[3].value.format.type): invalid value "BOOL" for type')
        print("Ignore Quantization JSON file")
    elif NAME == "wrong-target":
        fail("E102(CliArgumentError): argument --target: invalid choice: 'stm32mp25'")


def crash() -> None:
    """Half-way: the compiler below the tool dies of a signal."""
    if NAME == "crash":
        print(" >>>> EXECUTING NEURAL ART COMPILER")
        print("Internal compiler error (signo=11)")
        fail("E103(CliRuntimeError): Error calling the Neural Art compiler - ['']")


def fail(text: str) -> None:
    print(f"\n{text}\n \nstedgeai exit with status: 255", flush=True)
    raise SystemExit(255)
