"""What a Linux board says about itself: machine, clocks, drivers, versions. Whatever it does not say is left out."""

from __future__ import annotations

from edgeai.artifacts import BenchDevice, Fact
from edgeai.device.linux.remote import Remote

FACTS = (
    ("kernel", "uname -r"),
    ("X-LINUX-AI", "x-linux-ai -v 2>/dev/null"),
    ("governor", "cat /sys/devices/system/cpu/cpufreq/policy0/scaling_governor 2>/dev/null"),
    ("GPU/NPU driver", "head -n 1 /sys/kernel/debug/gc/version 2>/dev/null"),
    ("GPU/NPU clocks", "cat /sys/kernel/debug/gc/clk 2>/dev/null"),
    ("GPU/NPU load", "cat /sys/kernel/debug/gc/load 2>/dev/null"),
)
MACHINE = "tr '\\0' ' ' </proc/device-tree/model 2>/dev/null || tr '\\0' ' ' </proc/device-tree/compatible"
CPU_KHZ = "cat /sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq 2>/dev/null"


def board_facts(remote: Remote) -> BenchDevice:
    """The board in its own words. Raises DeviceError where the line fails."""
    machine = _one_line(remote, MACHINE)
    khz = _one_line(remote, CPU_KHZ)
    found = [Fact(name, value) for name, command in FACTS if (value := _one_line(remote, command))]
    return BenchDevice(
        name=machine or "unknown",
        cpu_hz=int(khz) * 1000 if khz.isdigit() else None,
        bus_hz=None,
        accelerator_hz=None,
        runtime="",
        facts=tuple(found),
    )


def _one_line(remote: Remote, command: str) -> str:
    done = remote.run(command)
    text = "; ".join(line.strip() for line in done.output.splitlines() if line.strip())
    return "".join(c for c in text if c.isprintable())[:200] if done.status == 0 else ""
