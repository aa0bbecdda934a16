"""Names of the devices that answer."""

from __future__ import annotations

# Device ids as the firmware reports them: the DBGMCU identity of the family, 0x155 for Arm's SSE-300 models
DEVICES = {
    0x486: "STM32N6", 0x450: "STM32H74x/75x", 0x483: "STM32H72x/73x", 0x480: "STM32H7Ax/7Bx", 0x485: "STM32H7R/S",
    0x484: "STM32H5", 0x474: "STM32H503", 0x482: "STM32U575/585", 0x470: "STM32L4R/S", 0x471: "STM32L4P/Q",
    0x415: "STM32L4x6", 0x472: "STM32L5", 0x449: "STM32F74x/75x", 0x451: "STM32F76x/77x", 0x452: "STM32F72x/73x",
    0x434: "STM32F469/479", 0x423: "STM32F401xB/C", 0x433: "STM32F401xD/E", 0x431: "STM32F411", 0x441: "STM32F412",
    0x421: "STM32F446", 0x463: "STM32F413", 0x469: "STM32G47x/48x", 0x479: "STM32G491",
    0x495: "STM32WB", 0x497: "STM32WL", 0x500: "STM32MP1", 0x155: "Arm Corstone SSE-300 (emulated)",
}  # fmt: skip
EMULATED_ID = 0x155


def device_name(devid: int) -> str:
    return DEVICES.get(devid, f"device {devid:#x}")
