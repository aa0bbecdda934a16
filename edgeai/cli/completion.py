"""`edgeai completion`: the script that completes commands and options in a shell."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")


@click.command(short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print what a shell needs to complete edgeai's commands and options.

    \b
    edgeai completion bash >> ~/.bash_completion
    edgeai completion fish > ~/.config/fish/completions/edgeai.fish
    """
    from click.shell_completion import get_completion_class

    from edgeai.cli import cli

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"{shell} is not known")
    click.echo(kind(cli, {}, "edgeai", "_EDGEAI_COMPLETE").source())
