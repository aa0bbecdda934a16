"""`validate`: the reference on the host, and the device at the other end of the line, by stm32msg."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from standin import faults, texts
from standin.network import default_pools, place


def validate(person: texts.Personality, options: Any, model: Path, arguments: str) -> int:
    net = place(model, default_pools())
    inputs = _inputs(options, net)
    started = time.perf_counter()
    reference = _reference(model, inputs)
    host_ms = (time.perf_counter() - started) * 1000 / len(inputs)
    print(f"Setting validation data...\n loading file(s) {options.valinput}\n"
          f"   I[1]: {inputs.shape}/{inputs.dtype}\nRunning the TFlite model...")  # fmt: skip
    mode = options.mode.split("-")[0].upper()
    print(f"Running the ST.AI c-model (AI RUNNER)...(name={options.name}, mode={mode})\n", flush=True)
    if options.mode == "host":
        if options.target == "stm32n6":
            faults.fail("E102(CliArgumentError): Validation on host is not supported for devices based on Arm "
                        "Cortex M55/M85 core.")  # fmt: skip
        device, desc, runs = "AMD64", "DLL Driver v2.0 - Direct Python binding", None
        outputs, times, layers = reference, [host_ms] * len(inputs), []
    else:
        device, desc, runs = _on_device(person, options, inputs)
        outputs = [np.concatenate([run.outputs[i] for run in runs]) for i in range(len(runs[0].outputs))]
        times, layers = [run.ms for run in runs], runs[0].layers
    text = _profile(person, options, times, layers, device, desc)
    metrics = [_metric(o, t, r) for o, t, r in zip(net.io[1], outputs, reference, strict=True)]
    text += _table(person, metrics, [t.name for t in net.io[1]])
    _write(person, options, text, arguments, reference, outputs, metrics)
    print("\n".join(text))
    print(f"Creating txt report file {options.output}/{options.name}_validate_report.txt\n{person.elapsed('validate')}")
    return 0


def _inputs(options: Any, net: Any) -> Any:
    if options.valinput:
        return np.load(options.valinput[0], allow_pickle=False)
    t = net.io[0][0]
    generator = np.random.default_rng(options.seed)
    return generator.integers(-128, 128, (options.batch_size, *t.shape[1:])).astype(t.dtype)


def _reference(model: Path, inputs: Any) -> list[Any]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    made = Interpreter(str(model), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    made.allocate_tensors()
    out: list[list[Any]] = [[] for _ in made.get_output_details()]
    for sample in inputs:
        made.set_tensor(made.get_input_details()[0]["index"], sample[None])
        made.invoke()
        for values, detail in zip(out, made.get_output_details(), strict=True):
            values.append(made.get_tensor(detail["index"]).copy())
    return [np.concatenate(values) for values in out]


class Run:
    def __init__(self, record: Any) -> None:
        from edgeai.device.stm32msg.messages import tensor_dtype, tensor_shape

        self.outputs = [
            np.frombuffer(t.data.datas, tensor_dtype(t.desc.format)).reshape(tensor_shape(t.desc))
            for t in record.outputs
        ]
        self.layers = [(layer.op.id, layer.op.duration, layer.op.cycles) for layer in record.layers]
        self.ms = sum(ms for _, ms, _ in self.layers) or record.whole.duration


def _on_device(person: texts.Personality, options: Any, inputs: Any) -> tuple[str, str, list[Run]]:
    from edgeai.device.stm32msg.client import Client
    from edgeai.device.stm32msg.dialogue import Waits
    from edgeai.device.stm32msg.messages import RunMode
    from edgeai.device.stm32msg.packet import Link
    from edgeai.device.stm32msg.transport import open_transport, parse_address
    from edgeai.errors import EdgeAIError

    place_ = options.desc.removeprefix("serial:")
    try:
        address = parse_address(options.desc)
        with open_transport(address, address.baud or 115200) as transport:
            client = Client(Link(transport), Waits())
            client.sync(2.0)
            info = client.system_info()
            model = client.models()[0]
            mode = RunMode.IO_ONLY if options.io_only else RunMode.IO_ONLY | RunMode.PER_LAYER
            runs = [Run(client.run(model, [x.tobytes()], mode, i == 0)) for i, x in enumerate(inputs)]
    except EdgeAIError as error:
        print(f"E200(ValidationError): TARGET: Unable to bind the ST.AI runtime with \"{options.name}\" c-model: []")
        faults.fail(f"E801(HwIOError): Invalid firmware - {place_} ({error.message})")
    device = f"stm32 family - {info.devid:#x} - STM32 @{info.sclock // 10**6}/{info.hclock // 10**6}MHz"
    driver = "v2.1 (msg v3.2)" if person.numbers >= (4, 0, 0) else "v2.0 (msg v3.1)"
    return device, f"Proto-buffer driver {driver} (Serial driver v1.0 - {place_})", runs


def _profile(
    person: texts.Personality, options: Any, times: list[float], layers: list[Any], device: str, desc: str
) -> list[str]:
    new = person.numbers >= (4, 0, 0)
    wide = 31 if new else 15
    mean, low, high = float(np.mean(times)), min(times), max(times)
    rule = "  " + "-" * 76
    lines = [
        f"  Summary '{options.name}' - ['{options.name}']", rule, f"  protocol                    :   {desc}   ",
        f"  device.desc                 :   {device}   ", rule, "",
        f'  ST.AI Profiling results v2.0 - "{options.name}"',
        rule, f"  {'nb sample(s)':<{wide}}:   {len(times)}",
        f"  {'duration':<{wide}}:   {mean:.3f} ms by sample ({low:.3f}/{high:.3f}/{float(np.std(times)):.3f})",
    ]  # fmt: skip
    if layers and layers[0][2]:
        totals = np.sum([c for _, _, c in layers], axis=0)
        lines.append(f"  {'CPU cycles':<{wide}}:   [{' '.join(f'{int(c):,}' for c in totals)}]")
    if new:
        lines.append(f"  {'network initialize time (ms)':<{wide}}:   0.001")
    lines.append(rule)
    if layers:
        total = sum(ms for _, ms, _ in layers) or 1.0
        rows, cumul = [], 0.0
        for i, (number, ms, cycles) in enumerate(layers):
            cumul += ms
            share = [f"{100 * x / total:.{2 if new else 1}f}%" for x in (ms, cumul)]
            shown = f"[ {'  '.join(f'{int(c):,}' for c in cycles)} ]" if cycles else ""
            start = f"   {i:<7} -      epoch      {ms:>12.3f}   {share[0]:>7}   {share[1]:>7}"
            rows.append(f"{start}  {shown}   EpochBlock_{number}")
        lines += ["", "   Inference time per node", "   " + "-" * 100,
                  "   c_id    m_id   type           dur (ms)         %     cumul  CPU cycles                      name",
                  "   " + "-" * 100, *rows, "   " + "-" * 100, f"   total {total:>28.3f}"]  # fmt: skip
    return lines


def _metric(tensor: Any, ours: Any, reference: Any) -> dict[str, Any]:
    def real(x: Any) -> Any:
        x = x.astype(np.float64).ravel()
        return (x - tensor.zero_point) * tensor.scale if tensor.scale else x

    a, b = real(reference), real(ours)
    d = b - a
    energy = float((a * a).sum()) or 1.0
    noise = float((d * d).sum())
    norm = float(np.sqrt(energy * float((b * b).sum()))) or 1.0
    spread = float(((a - a.mean()) ** 2).sum()) or 1.0
    return {
        "acc": "n.a.", "rmse": float(np.sqrt((d * d).mean())), "mae": float(np.abs(d).mean()),
        "l2r": float(np.sqrt(noise / energy)), "mean": float(d.mean()), "std": float(d.std()),
        "snr": 10 * float(np.log10(energy / noise)) if noise else float("inf"), "nse": 1 - noise / spread,
        "cos": float((a * b).sum()) / norm,
    }  # fmt: skip


def _table(person: texts.Personality, metrics: list[dict[str, Any]], names: list[str]) -> list[str]:
    columns = [c for c in ("acc", "rmse", "mae", "l2r", "mean", "std", "snr", "nse", "cos")
               if c != "snr" or person.numbers >= (4, 0, 0)]  # fmt: skip

    def cell(column: str, value: Any) -> str:
        if isinstance(value, str) or value == float("inf"):
            return str(value)
        return f"{value:.9f}" if column in ("rmse", "mae", "l2r") else f"{value:.6f}"

    rows = [[f"X-cross #{i}", *(cell(c, m[c]) for c in columns), f"'{n}'"]
            for i, (m, n) in enumerate(zip(metrics, names, strict=True), 1)]  # fmt: skip
    head = ["Output", *columns, "tensor"]
    widths = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]
    shown = ["   ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) for r in [head, *rows]]
    rule = "-" * len(shown[0])
    return ["", "Evaluation report (summary)", rule, shown[0], rule, *shown[1:], rule, ""]


def _write(
    person: texts.Personality, options: Any, text: list[str], arguments: str, reference: list[Any], outputs: list[Any],
    metrics: list[dict[str, Any]],
) -> None:  # fmt: skip
    out = Path(options.output)
    out.mkdir(parents=True, exist_ok=True)
    head = [person.line, texts.MARK, f"Parameters            : {arguments}", "Setting validation data..."]
    mode = options.mode.split("-")[0].upper()
    runner = f"Running the ST.AI c-model (AI RUNNER)...(name={options.name}, mode={mode})"
    (out / f"{options.name}_validate_report.txt").write_text("\n".join([*head, runner, *text]) + "\n")
    arrays = {f"m_outputs_{i}": a for i, a in enumerate(reference, 1)}
    arrays |= {f"c_outputs_{i}": a for i, a in enumerate(outputs, 1)}
    np.savez(out / f"{options.name}_val_io.npz", **arrays)
    described = [
        {"desc": f"X-cross #{i}", **{k: v for k, v in m.items() if k != "snr"}} for i, m in enumerate(metrics, 1)
    ]
    body = {
        "json_schema_version": "2.0",
        "environment": {"tools": [{"name": "ST.EdgeAI.Core", "version": person.full}, {"name": "stand-in"}]},
        "validation": {"val_error": metrics[0]["l2r"], "val_error_desc": "X-cross", "val_metrics": described},
    }
    (out / f"{options.name}_c_info.json").write_text(json.dumps(body, indent=2))
