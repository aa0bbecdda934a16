"""A stand-in for ST's `n6_loader.py`: reads the configuration, checks the files, prints its log."""

import argparse
import json
import os
import sys
import time
from pathlib import Path


def say(text: str) -> None:
    print(f"{time.strftime('%m/%d/%Y %I:%M:%S %p')}  __main__ -- {text}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config-file", "--n6-loader-config", required=True)
    config = json.loads(Path(parser.parse_args().config_file).read_text())
    fault = os.environ.get("EDGEAI_STANDIN_FAULT", "")
    say("Preparing compiler GCC")
    say("Setting a breakpoint in main.c at line 137 (before the infinite loop)")
    network = Path(config["network.c"])
    if not network.is_file():
        say(f"{network} not found")
        return 1
    say(f"Copying network.c to project: -> {config['project_path']}")
    say("Resetting the board...")
    if fault == "loader-failed":
        print("Error: Unable to get core ID")
        say("Loading memories failed")
        return 0
    for raw in sorted(network.parent.glob("*.raw")):
        say(f"Flashing memory {raw.name.split('.')[1]} -- {raw.stat().st_size / 1000:.3f} kB")
    say(f"Building project (conf= {config['project_build_conf']})")
    say("Loading internal memories & Running the program")
    if fault != "loader-silent":
        say("Start operation achieved successfully")
    return 0


sys.exit(main())
