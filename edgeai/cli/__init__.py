"""The command line. Commands are imported when they are called, so that `edgeai --help` stays instant."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Any

import click

from edgeai import __version__
from edgeai.errors import EdgeAIError

# section -> name -> (module under edgeai.cli, one-line help), in the order of the work
SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Make a model": {
        "init": ("init", "Write an edgeai.toml for this folder."),
        "run": ("run", "The whole job, from checkpoint to verdict."),
        "synth": ("synth", "Write a synthetic instance-segmentation set."),
        "train": ("train", "Train a network, or fine-tune a checkpoint."),
        "import": ("import_", "Read a checkpoint into a safetensors file."),
        "models": ("models", "List the networks edgeai can build."),
        "export": ("export", "Export a model to ONNX with a chosen head layout."),
        "quantize": ("quantize", "Make an int8 TFLite file and audit it."),
        "st-masks": ("st_masks", "Give a concat file the masks that ST's applications draw."),
        "requantize": ("requantize", "Make the per-tensor file that an STM32MP2 really runs."),
    },
    "Know it": {
        "inspect": ("inspect", "Say what a TFLite or ONNX file really is."),
        "evaluate": ("evaluate", "Measure box and mask AP on a COCO-format set."),
        "debug": ("debug", "Name the layer where an int8 file loses accuracy."),
        "predict": ("predict", "Draw what a model finds in images, a video or a camera."),
        "footprint": ("footprint", "Say whether a model fits a board, and how fast it is."),
        "recommend": ("recommend", "Say which boards suit a model."),
        "boards": ("boards", "Show the board profiles."),
        "validate-estimators": ("validate_estimators", "Compare the estimators with published figures."),
    },
    "Put it on a board": {
        "compile": ("compile", "Compile for a board with ST Edge AI Core."),
        "validate": ("validate", "Hold a compiled model on the board against the host."),
        "read": ("read", "Say what a file of ST Edge AI Core holds."),
        "blob": ("blob", "Write a model as the bench firmware runs it."),
        "bench": ("bench", "Measure a model on a board, or on an emulated one."),
        "postprocess": ("postprocess", "Write the C post-processing of a model."),
        "doctor": ("doctor", "Say which tools are there and how to get the others."),
    },
    "Decide and show": {
        "gate": ("gate", "Fail when accuracy, memory or latency got worse."),
        "sweep": ("sweep", "Combine models, sizes, layouts and boards in one table."),
        "card": ("card", "Write a model card."),
        "report": ("report", "Write an HTML report of a run."),
        "licences": ("licences", "Say which licences apply, and where they clash."),
    },
    "Around": {
        "troubleshooting": ("troubleshooting", "Say what an error means and what helps."),
        "completion": ("completion", "Print the completion script of a shell."),
    },
}
COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}

# exit code -> section of docs/troubleshooting.md; bad input is answered by its hint
HELP_PAGE = {3: "budget", 4: "accuracy", 5: "tool", 6: "device"}


class LazyGroup(click.Group):
    """A click group that knows its commands' names and help without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"edgeai.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            raise click.UsageError(f"no command {args[0]!r}" + (f"; did you mean {near[0]!r}?" if near else ""), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        longest = max(map(len, COMMANDS))
        for title, section in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(longest), text) for name, (_, text) in section.items()])


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "--version", prog_name="edgeai")
@click.option("--debug", is_flag=True, help="Show a traceback when something fails.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """From a PyTorch checkpoint to an int8 model on an STM32 board, measured on the way.

    \b
    edgeai run best.pt                        the whole job, ends in a table
    edgeai quantize best.pt --per-channel     an int8 TFLite file, audited
    edgeai footprint model.tflite --board stm32n6
    edgeai gate --baseline fp32.json --candidate int8.json --max-drop 1.0

    Without a command: where this folder stands, and what to do next.
    """
    ctx.obj = {"debug": debug}
    if ctx.invoked_subcommand is None:
        from edgeai.cli.status import status

        click.echo(status())


def main(args: list[str] | None = None) -> None:
    """Entry point: runs a command and turns every outcome into an exit code and a few lines."""
    debug = "--debug" in (sys.argv[1:] if args is None else args) or bool(os.environ.get("EDGEAI_DEBUG"))
    signal.signal(signal.SIGTERM, _terminate)
    try:
        status: Any = cli.main(args=args, prog_name="edgeai", standalone_mode=False)
        code = status if isinstance(status, int) else 0
    except click.ClickException as error:
        error.show()
        code = 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("edgeai: interrupted; nothing half-written was left behind", err=True)
        code = 130
    except EdgeAIError as error:
        if debug:
            raise
        click.echo(f"edgeai: {error.message}", err=True)
        if error.hint:
            click.echo(f"  hint: {error.hint}", err=True)
        if (section := HELP_PAGE.get(error.exit_code)) is not None:
            click.echo(f"  more: docs/troubleshooting.md#{section}, or edgeai troubleshooting {section}", err=True)
        code = error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        if debug:
            raise
        name = f"{error.filename}: " if error.filename else ""
        click.echo(f"edgeai: {name}{error.strerror or error}", err=True)
        code = 2
    except Exception as error:
        if debug:
            raise
        click.echo(f"edgeai: internal error: {type(error).__name__}: {' '.join(str(error).split())[:200]}", err=True)
        click.echo("  hint: run again with --debug and report the traceback", err=True)
        code = 1
    sys.exit(code)


def _terminate(signum: int, frame: object) -> None:
    """SIGTERM ends a run the way Ctrl-C does, so that its temporary files go."""
    raise KeyboardInterrupt
