"""Make the synthetic set of this project: `python calibration/generate.py OUT`, the same as `edgeai synth OUT`."""

from edgeai.cli.synth import command

if __name__ == "__main__":
    command()
