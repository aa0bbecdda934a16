"""What goes wrong and reaches the user: one line that names the thing, one hint, one exit code.

The exit codes are part of the command line's contract: 0 ok, 2 usage or bad input, 3 over a budget,
4 accuracy below its limit, 5 a tool failed, 6 a device failed.
"""

from __future__ import annotations


class EdgeAIError(Exception):
    """Base of every error that edgeai raises on purpose.

    `message` names the thing that is wrong; `hint` says what to do. Both are single lines.
    """

    exit_code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class InputError(EdgeAIError):
    """A file, an option or a project setting that cannot be used."""


class BudgetError(EdgeAIError):
    """The model does not fit its memory or latency budget."""

    exit_code = 3


class AccuracyError(EdgeAIError):
    """Accuracy dropped by more than the limit."""

    exit_code = 4


class NotSimulatedError(InputError):
    """An operator that the int8 simulation does not know."""


class ToolError(EdgeAIError):
    """A converter, a compiler or a package failed or is not installed."""

    exit_code = 5


class DeviceError(EdgeAIError):
    """A board, an emulator or the line to it failed."""

    exit_code = 6


def need(package: str, extra: str) -> ToolError:
    """The error for an optional package that is not installed."""
    return ToolError(f"{package} is not installed", f"pip install 'edgeai[{extra}]'")
