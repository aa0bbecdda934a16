"""What the tool prints when it fails, as our errors with a hint; and what it prints while it silently does less."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgeai.errors import BudgetError, DeviceError, EdgeAIError, InputError, ToolError
from edgeai.stedgeai.text import clean

WARNING_LIMIT = 20


@dataclass(frozen=True, slots=True)
class Failure:
    """One known failure: the exception it becomes, our words for it, what to do, and the line it was seen in."""

    kind: type[EdgeAIError]
    message: str
    hint: str
    line: str

    def error(self, where: str, log: str = "") -> EdgeAIError:
        """The exception that reaches the user; `where` names the run, `log` the file with its output."""
        hint = "; ".join(part for part in (self.hint, f"its output is in {log}" if log else "") if part)
        return self.kind(f"{where}: {self.message}", hint)


@dataclass(frozen=True, slots=True)
class _Known:
    pattern: str
    kind: type[EdgeAIError]
    message: str
    hint: str


# In the order of what explains most: the first that is found is the cause, later ones are consequences.
_KNOWN = (
    _Known(r"Minimal sizes needed are: \{[^}]*?(\d+)\}", BudgetError, "does not fit: it needs {0:,} bytes",
           "a smaller --imgsz, or a board with more memory"),
    _Known(r"total bytes left unallocated=(\d+)", BudgetError, "does not fit: {0:,} bytes found no place",
           "a smaller --imgsz, or a memory pool with external RAM"),
    _Known(r"E700\(UnfeasibleAllocation\)|Not enough memory on device", BudgetError, "does not fit the memory",
           "a smaller --imgsz, or a board with more memory"),
    _Known(r"Oauto did not find valid compile options", BudgetError, "does not fit: no compiler options were found",
           "a smaller --imgsz, or another memory pool"),
    _Known(r"No space left on device|\[Errno 28\]|ENOSPC", ToolError, "the disk is full", "free some space"),
    _Known(r"wstring_convert::from_bytes", ToolError, "a path holds letters the compiler cannot read",
           "move the model and the installation to an ASCII path"),
    _Known(r"Internal compiler error \(signo=(\d+)\)", ToolError, "the compiler crashed (signal {0})",
           "try another profile, or a newer version of ST Edge AI Core"),
    _Known(r"Error during NBG compilation, model is not supported|Fatal model generation error: \d+|"
           r"vnn_VerifyGraph:\d+\]CHECK STATUS", ToolError, "the NPU's graph compiler refuses the network",
           "quantise per-tensor, with static shapes of at most 6 dimensions"),
    _Known(r"([A-Z_0-9]{1,60}): FLOAT32, ASYM UINT8 not supported", ToolError, "{0} with mixed types is not supported",
           "quantise the whole network"),
    _Known(r"NOT IMPLEMENTED: (.{1,120}?)(?:\. Please check|$)", ToolError, "not supported by the compiler: {0}",
           "remove or replace that operator; layout raw avoids most of them"),
    _Known(r"E010\(InvalidModelError\):\s*(.{0,120})", InputError, "the compiler rejects the file: {0}",
           "`edgeai inspect` says what the file is"),
    _Known(r"E605\(ParserNetworkError\):?\s*(.{0,120})", InputError, "the compiler cannot read the file: {0}",
           "export it again"),
    _Known(r"ir_version (\d+) is higher than the checker", InputError, "ONNX IR version {0} is too new for the tool",
           "export again with a lower IR version"),
    _Known(r"INTERNAL ERROR: (.{1,120}?)(?:\. Please check|$)", ToolError,
           "internal error of the compiler: {0}", "export again, or use the .tflite file"),
    _Known(r"TOOL ERROR: (.{1,120}?)(?:\. Please check|$)", ToolError,
           "error inside the tool: {0}", "a newer version may have it repaired"),
    _Known(r"unknown target '?([\w-]+)'?|argument --target: invalid choice: '([\w-]+)'", ToolError,
           "this installation does not know the target {0}",
           "install its component; stm32mp25 needs stm32mpu, on Linux only"),
    _Known(r"E102\(CliArgumentError\):\s*(.{0,160})", ToolError, "the tool refuses the options: {0}",
           "compare its version with the ones in docs/stedgeai.md"),
    _Known(r"LOAD ERROR: STM32 - read timeout|read timeout [\d.]+ms/\d{4,}ms", DeviceError, "the firmware hangs",
           "reset the board, load again, and run without the epoch controller"),
    _Known(r"could not open port '([^']+)'", DeviceError, "the port {0} cannot be opened",
           "close what uses it; on Linux be a member of the group dialout"),
    _Known(r"No SERIAL COM port detected", DeviceError, "no board is connected", "plug it in, or pass --port"),
    _Known(r"Invalid firmware - (\S+)|Unable to bind the ST.AI runtime", DeviceError,
           "no validation firmware answers", "load it, and check port and baud rate"),
    _Known(r"No weights are available \((\d+) bytes expected\)", DeviceError,
           "the weights ({0:,} bytes) are not in flash", "run without --no-load"),
    _Known(r"E801\(HwIOError\):\s*(.{0,120})|E802\S*:?\s*(.{0,120})|E803\S*:?\s*(.{0,120})|E810\S*:?\s*(.{0,120})",
           DeviceError, "no contact with the board: {0}", "reset it, and check port and baud rate"),
    _Known(r"Possible mismatch in ll_aton library used", ToolError, "runtime and compiler versions do not match",
           "take the runtime of the same ST Edge AI Core"),
    _Known(r"Loading memories failed|Start operation did not achieve successfully", DeviceError,
           "the loader did not start the program", "set the boot switches to development, and reset the board"),
    _Known(r"ST-LINK error \((\w+)\)|(No STM32 target found)|(Unable to get core ID)", DeviceError,
           "the debug probe has no contact ({0})", "replug the board; after a boot from flash connect with mode=UR"),
    _Known(r"E103\(CliRuntimeError\):\s*(.{0,160})", ToolError, "the compiler failed: {0}", ""),
    _Known(r"\bE\d{3}\((\w+)\):\s*(.{0,120})", ToolError, "the tool failed: {0}", ""),
)  # fmt: skip

# exit status 0, but the network runs in float: a failure that must not pass
_SILENT = (
    _Known(r"Ignore Quantization JSON file", ToolError, "the compiler ignored the quantization and fell back to float",
           "quantise every tensor to int8, without bool or uint8 ones"),
    _Known(r"quantized unsigned integer format is not supported", ToolError,
           "unsigned quantised tensors are not supported: the network would run in float", "quantise to int8"),
)  # fmt: skip
_WARNING = re.compile(r"\bWARNING:[ \t]*(.+)|^[ \t]*Warning:[ \t]*(.+)", re.MULTILINE)


def find_failures(text: str) -> tuple[Failure, ...]:
    """The known failures in the tool's output, the one that explains most first."""
    cleaned = "\n".join(clean(text))
    return tuple(failure for known in _KNOWN if (failure := _find(known, cleaned)))


def find_silent(text: str) -> Failure | None:
    """A failure behind exit status 0."""
    cleaned = "\n".join(clean(text))
    return next((failure for known in _SILENT if (failure := _find(known, cleaned))), None)


def _find(known: _Known, text: str) -> Failure | None:
    found = re.search(known.pattern, text, re.MULTILINE)
    if found is None:
        return None
    start, end = text.rfind("\n", 0, found.start()) + 1, text.find("\n", found.end())
    line = text[start : end if end >= 0 else None]
    value = next((group for group in found.groups() if group), "")
    number = int(value) if value.isdigit() else value
    message = known.message.format(number) if known.message.count("{") else known.message
    return Failure(known.kind, message.rstrip(": ").replace("()", "").strip(), known.hint, line.strip()[:200])


def find_warnings(text: str) -> tuple[str, ...]:
    """What the tool warned of, each once; the many `X is not quantized` as one line with their number."""
    seen: dict[str, None] = {}
    floats = 0
    for found in _WARNING.finditer("\n".join(clean(text))):
        message = (found[1] or found[2]).strip()
        if message.endswith("is not quantized"):
            floats += 1
        else:
            seen.setdefault(message[:200])
    counted = [f"{floats} operators are not quantized and run in float"] if floats else []
    return tuple([*counted, *seen][:WARNING_LIMIT])
