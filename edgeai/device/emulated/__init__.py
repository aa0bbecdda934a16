"""Boards that are processes of this computer: a Cortex-M55 and an STM32MP2's Linux, in QEMU."""
