"""The texts of each version, laid out as the tool lays them out."""

from __future__ import annotations

from dataclasses import dataclass

from standin.network import Network, Pool

VERSIONS = {
    "2.1.0": ("20194", "329b0e98d", "1.1.0-31"),
    "2.2.0": ("20266", "2adc00962", "1.1.1-14"),
    "3.0.0": ("20426", "123672867", "1.1.3-8"),
    "4.0.0": ("20500", "359356bb0", "1.1.3-262"),
    "4.0.1": ("20581", "7ed50de05", "1.1.3-275"),
}
MARK = " stand-in: synthetic results of a test program, not of ST Edge AI Core"


@dataclass
class Personality:
    version: str
    controller: bool = False

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(int(p) for p in self.version.split("."))

    @property
    def full(self) -> str:
        build, commit, _ = VERSIONS[self.version]
        return f"{self.version}-{build} {commit}"

    @property
    def line(self) -> str:
        return f"ST Edge AI Core v{self.full}"

    @property
    def compiler(self) -> str:
        return VERSIONS[self.version][2]

    def elapsed(self, command: str) -> str:
        name = command.upper() if self.numbers >= (4, 0, 0) else command
        return f"elapsed time ({name}): 0.123s"


def amount(count: int) -> str:
    if count < 1024:
        return f"{count:>10} {'B':>2}"
    if count < 1 << 20:
        return f"{count / 1024:>10.3f} kB"
    return f"{count / (1 << 20):>10.3f} MB"


def kib(count: int) -> str:
    if count < 1024:
        return f"{count} B"
    return f"{count / 1024:.2f} KiB" if count < 1 << 21 else f"{count / (1 << 20):.2f} MiB"


def summary(person: Personality, net: Network, o: object, npu: bool) -> list[str]:
    inputs, outputs = net.io
    get = o.__dict__.get
    fmt = "ss/sa per channel" if net.per_channel else "ss/sa per tensor"
    rule = "-" * 100
    lines = [f" Exec/report summary ({get('command')})", f" {rule}"]
    pairs = [
        ("model file", str(net.path)), ("type", "tflite"), ("c_name", get("name")), ("compression", get("compression")),
        ("options", "allocate-inputs, allocate-outputs"), ("optimization", get("optimization")),
        ("target/series", get("target") + ("npu" if npu else "")), ("workspace dir", get("workspace")),
        ("output dir", get("output")), ("model_fmt", fmt), ("model_name", net.path.stem),
    ]  # fmt: skip
    lines += [f" {key:<18} :   {value}   " for key, value in pairs] + [f" {rule}"]
    for side, tensors in (("input", inputs), ("output", outputs)):
        for i, t in enumerate(tensors, 1):
            shape = "x".join(map(str, t.shape))
            linear = f", QLinear({t.scale:.9f},{t.zero_point},{t.dtype})" if t.quantized else ""
            lines.append(f" {f'{side} {i}/{len(tensors)}':<18} :   '{t.name}', {t.dtype}({shape}), {t.nbytes} Bytes"
                         f"{linear}, activations   ")  # fmt: skip
    a, w = net.activations, net.weights
    used = sum(1 for p in net.pools if p.activations)
    lines += [
        f" {'macc':<18} :   {net.macs:,}   ",
        f" {'weights (ro)':<18} :   {w:,} B ({kib(w)}) (1 segment)   ",
        f" {'activations (rw)':<18} :   {a:,} B ({kib(a)}) ({used} segment{'s' if used > 1 else ''}) *   ",
        f" {'ram (total)':<18} :   {a:,} B ({kib(a)}) = {a:,} + 0 + 0   ",
        f" {rule}", " (*) 'input'/'output' buffers are allocated in the activations buffer",
    ]  # fmt: skip
    return lines


def layers(net: Network) -> list[str]:
    rows, t = [], net.graph.tensors
    for op in net.graph.ops:
        out = t[op.outputs[0]]
        names = ("b", "h", "w", "c") if len(out.shape) == 4 else ("b", "c") if len(out.shape) == 2 else ("b", "h", "c")
        shape = "[" + ",".join(f"{n}:{d}" for n, d in zip(names, out.shape, strict=False)) + "]"
        consts = [t[i] for i in op.inputs if i >= 0 and t[i].is_constant]
        param = f"{sum(c.elements for c in consts):,}/{sum(c.nbytes for c in consts):,}" if consts else ""
        macs = net.graph.macs(op)
        rows.append([str(op.index), f"op_{op.index} ({op.kind})", shape, param, f"{macs:,}" if macs else "", ""])
    head = ["m_id", "layer (original)", "oshape", "param/size", "macc", "connected to"]
    widths = [max(len(r[i]) for r in [head, *rows]) + 2 for i in range(6)]
    rule = " ".join("-" * w for w in widths) + " "

    def cells(row: list[str]) -> str:
        return " ".join(c.rjust(w) if i > 3 else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))

    out = [f"Model name - {net.path.stem}", rule, cells(head), rule]
    for row in rows:
        out += [cells(row), rule]
    return [*out, f"model: macc={net.macs:,} weights={net.weights:,} activations=-- io=--"]


def compilation(person: Personality, net: Network, arguments: str) -> list[str]:
    rule, double = "-" * 84, "=" * 84
    lines = ["Compilation details", rule, f"Compiler version: {person.compiler}",
             f"Compiler arguments:  {arguments}",
             double, "", "Memory usage information  (input/output buffers are included in activations)",
             rule]  # fmt: skip
    lines += [_pool_row(pool) for pool in net.pools]
    total = net.weights + net.activations
    lines += [
        "---",
        f"Total:                                        {amount(total)}                                  -- weights: "
        f"{amount(net.weights)}                  activations: {amount(net.activations)}                   ",
        double, "", "", "Used memory ranges", rule,
    ]  # fmt: skip
    for p in (p for p in net.pools if p.used):
        end = p.address + -(-p.used // 16) * 16
        whole = f"[0x{p.address:08X} - 0x{p.address + (p.size or 0):08X}]"
        lines.append(f"\t{p.name:<10} {whole}: 0x{p.address:08X}-0x{end:08X}")
    return [*lines, double, "", "Epochs details", rule, *epochs(person, net), double]


def _pool_row(p: Pool) -> str:
    size = p.size or 0

    def share(n: int) -> str:
        return f"({100 * n / size if size else 0:6.2f} % used)"

    return (
        f"\t{p.name:<10} [0x{p.address:08X} - 0x{p.address + size:08X}]: {amount(p.used)} / {amount(size)}"
        f"  {share(p.used)} -- weights: {amount(p.weights)} {share(p.weights)}"
        f"  activations: {amount(p.activations)} {share(p.activations)}"
    )


def epochs(person: Personality, net: Network) -> list[str]:
    total, software = len(net.graph.ops), dict(net.software)
    if person.numbers < (3, 0, 0):
        rows = [
            f"epoch {i:<7} -SW-   ({software[i]:^18})" if i in software else f"epoch {i:<7}  HW    "
            for i in range(1, total + 1)
        ]
        return [f"Total number of epochs: {total} of which {len(software)} implemented in software", "---",
                "epoch ID   HW/SW/EC Operation (SW only)", *rows]  # fmt: skip
    if person.controller:
        return _controlled(total, software)
    width = max([7, *map(len, software.values())])
    edge = f"+{'-' * 12}+------+{'-' * (width + 2)}+"
    rows = [f"| epoch_{i:<4} |  {'SW' if i in software else 'HW'}  | {software.get(i, ''):^{width}} |"
            for i in range(1, total + 1)]  # fmt: skip
    return [
        f"Total number of epochs                               {total}",
        f">> pure software (SW) epochs                         {len(software)}",
        ">> hybrid epochs (using both software and hardware)  0",
        f">> pure hardware (HW or EC) epochs                   {total - len(software)}  "
        "(implemented in 0 epoch controller blobs/meta epochs)",
        "---", edge, f"| epoch ID   | Type | {'Details':^{width}} |", edge, *rows, edge,
    ]  # fmt: skip


def _controlled(total: int, software: dict[int, str]) -> list[str]:
    """Hardware epochs in ranges that the controller runs by itself."""
    width = max([7, *map(len, software.values())])
    edge = f"+{'-' * 20}+------+{'-' * (width + 2)}+"
    rows, start, blobs = [], 1, 0
    for i in [*sorted(software), total + 1]:
        if i > start:
            blobs += 1
            rows.append(f"| epochs {start:>4} -> {i - 1:<4} |  EC  | {'':^{width}} |")
        if i in software:
            rows.append(f"| epoch_{i:<12} |  SW  | {software[i]:^{width}} |")
        start = i + 1
    return [
        f"Total number of epochs                               {total}",
        f">> pure software (SW) epochs                         {len(software)}",
        ">> hybrid epochs (using both software and hardware)  0",
        f">> pure hardware (HW or EC) epochs                   {total - len(software)}  "
        f"(implemented in {blobs} epoch controller blobs/meta epochs)",
        edge, f"| epoch ID           | Type | {'Details':^{width}} |", edge, *rows, edge,
    ]  # fmt: skip


def section_table(person: Personality, net: Network, target: str, npu: bool) -> list[str]:
    kinds = len({op.kind for op in net.graph.ops})
    code = [("network.o", 100 + 12 * len(net.graph.ops), 64 * len(net.graph.ops), 0, 0)]
    code.append(("ll atonn runtime", 6000, 6400, 0, 29) if npu else ("NetworkRuntime_GCC.a", 1500 * kinds, 16, 0, 0))
    total = ("RT total**", *(sum(row[i] for row in code) for i in range(1, 5)))
    data = [("weights", 0, net.weights, 0, 0), ("activations", 0, 0, 0, net.activations)]
    if person.numbers >= (4, 0, 0) and not npu:
        data.append(("states", 0, 0, 0, 0))
    data.append(("io", 0, 0, 0, 0))
    whole = ("TOTAL", *(total[i] + sum(row[i] for row in data) for i in range(1, 5)))
    rule = " " + "-" * 31 + " --------- --------- --------- --------- "

    def row(r: tuple[str, int, int, int, int]) -> str:
        return f" {r[0]:<31} " + " ".join(f"{n:>9,}" for n in r[1:]) + " "

    return [f' Requested memory size by section - "{target}" target', rule,
            f" {'module':<31} {'text':>9} {'rodata':>9} {'data':>9} {'bss':>9} ", rule, *map(row, code), rule,
            row(total), rule, *map(row, data), rule, row(whole), rule, " *  toolchain objects (libm/libgcc*)",
            " ** RT AI runtime objects (kernels+infrastructure)"]  # fmt: skip
