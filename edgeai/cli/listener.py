"""Shows the stages on the terminal: a bar while one runs, one line when it is done."""

from __future__ import annotations

from edgeai.cache import StageOutput
from edgeai.cli.progress import Progress

TITLES = {
    "import": "import checkpoint",
    "export": "export to ONNX",
    "convert": "convert to float TFLite",
    "qdq": "write QDQ ONNX",
    "calibrate": "calibrate",
    "quantize": "quantize",
    "requantize": "requantize as the board does",
    "evaluate": "evaluate",
}


class TerminalListener:
    """The `Listener` of the command line."""

    def __init__(self) -> None:
        self._progress: Progress | None = None

    def start(self, stage: str) -> None:
        self._progress = Progress(TITLES.get(stage, stage))

    def tick(self, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress.report(done, total)

    def end(self, stage: str, output: StageOutput, seconds: float) -> None:
        if self._progress is not None:
            self._progress.close("unchanged, re-used" if output.reused else "done")
            self._progress = None

    def fail(self) -> None:
        if self._progress is not None:
            self._progress.close("stopped")
            self._progress = None
