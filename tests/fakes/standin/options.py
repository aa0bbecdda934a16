"""The command line of ST Edge AI Core 4.0.1."""

from __future__ import annotations

import argparse
from typing import NoReturn

from standin.faults import fail

TARGETS = (
    "stm32n6 stm32h7 stm32h5 stm32f7 stm32f4 stm32f3 stm32f0 stm32l5 stm32l4 stm32l4p stm32l0 stm32u5 stm32u3 stm32g4 "
    "stm32g0 stm32wb stm32wl stm32c5 stm32c0 stm32v8 stm32mp157c stm32mp25 stm32mp257 stm32"
).split()
COMMANDS = ("analyze", "generate", "validate", "supported-ops")


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        fail(f"E102(CliArgumentError): {message}")
        raise AssertionError


def parse(arguments: list[str]) -> argparse.Namespace:
    p = Parser(prog="stedgeai", add_help=True, allow_abbrev=False)
    p.add_argument("command", choices=COMMANDS)
    p.add_argument("-m", "--model", required=True)
    p.add_argument("-t", "--type", choices=("keras", "onnx", "tflite"))
    p.add_argument("--target", choices=TARGETS, default="stm32")
    p.add_argument("-n", "--name", default="network")
    p.add_argument("-w", "--workspace", default="st_ai_ws")
    p.add_argument("-o", "--output", default="st_ai_output")
    p.add_argument("-c", "--compression", choices=("none", "lossless", "low", "medium", "high"), default="lossless")
    p.add_argument("-O", "--optimization", choices=("time", "ram", "balanced"), default="balanced")
    p.add_argument("--memory-pool", "--memory_pool")
    for flag in ("--split-weights", "--no-inputs-allocation", "--no-outputs-allocation", "--no-onnx-optimizer",
                 "--binary", "--dll", "--io-only", "--save-csv", "--classifier", "--no-check", "--no-exec-model",
                 "--no-report", "--no-workspace", "--quiet", "--allocate-inputs", "--allocate-outputs", "--full"):
        p.add_argument(flag, action="store_true")  # fmt: skip
    for name in ("--input-data-type", "--output-data-type", "--inputs-ch-position", "--outputs-ch-position",
                 "--custom"):  # fmt: skip
        p.add_argument(name)
    p.add_argument("--c-api", choices=("st-ai", "legacy"), default="st-ai")
    p.add_argument("--st-neural-art", nargs="?", const="", default=None)
    p.add_argument("--enable-epoch-controller", "--eec", action="store_true")
    p.add_argument("--address")
    p.add_argument("--copy-weights-at")
    p.add_argument("-r", "--relocatable", nargs="?", const="")
    p.add_argument("-l", "--lib")
    p.add_argument("-b", "--batch-size", type=int, default=10)
    p.add_argument("--mode", choices=("host", "target", "host-io-only", "target-io-only"), default="host")
    p.add_argument("-d", "--desc", default="")
    p.add_argument("--val-json")
    p.add_argument("-vi", "--valinput", nargs="+", default=[])
    p.add_argument("-vo", "--valoutput", nargs="+", default=[])
    p.add_argument("--range", nargs="+", type=float, default=[0, 1])
    p.add_argument("--seed", type=int, default=42)
    p.add_argument("-v", "--verbosity", type=int, choices=range(4), default=1)
    return p.parse_args(arguments)
