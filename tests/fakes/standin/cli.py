"""The commands."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from standin import faults, texts
from standin.network import DoesNotFit, default_pools, place, read_pools

NBG = b"VPMN" + bytes([0x20, 0, 1, 0, 0x15, 0, 0, 0])


def main(arguments: list[str]) -> int:
    person = texts.Personality(os.environ.get("EDGEAI_STANDIN_VERSION", "4.0.1"))
    if log := os.environ.get("EDGEAI_STANDIN_LOG"):
        with Path(log).open("a") as stream:
            stream.write(shlex.join(arguments) + "\n")
    print(person.line, flush=True)
    if "--version" in arguments:
        print(f"  ISPU 2.0.1-RC2\n  MLC 1.2.4-RC2\n  STM32CubeAI 12.0.1-RC2\n {texts.MARK}")
        return 0
    from standin.options import COMMANDS, parse

    options = parse(arguments if arguments[:1] and arguments[0] in COMMANDS else ["analyze", *arguments])
    print(texts.MARK)
    if not options.quiet:
        print("PASS:  92%|█████████▏| 91/99 [00:11<00:00, 12.34it/s]", end="\r")
    faults.before()
    model = Path(options.model)
    if not model.is_file():
        faults.fail(f"E010(InvalidModelError): {model} is not a file")
    paths = (options.output, options.workspace, options.model, options.st_neural_art or "")
    if options.st_neural_art is not None and not all(str(path).isascii() for path in paths):
        faults.fail("E103(CliRuntimeError): Error calling the Neural Art compiler - ['wstring_convert::from_bytes']")
    if options.command == "validate":
        from standin.validate import validate

        return validate(person, options, model, shlex.join(arguments))
    if options.target.startswith("stm32mp2"):
        return _graph(options, model)
    return _compile(person, options, model, shlex.join(arguments))


def _graph(options: object, model: Path) -> int:
    out = Path(options.output)  # type: ignore[attr-defined]
    out.mkdir(parents=True, exist_ok=True)
    if faults.NAME == "missing-files":
        return 0
    head = b"oops" if faults.NAME == "bad-nb" else NBG
    note = b" synthetic: written by a stand-in, not a runnable graph "
    (out / f"{model.stem}.nb").write_bytes(head + note + model.read_bytes())
    return 0


def _compile(person: texts.Personality, options: object, model: Path, arguments: str) -> int:
    get = options.__dict__.get
    npu = get("st_neural_art") is not None
    pools, atonn = _pools(options, npu)
    person.controller = npu and (get("enable_epoch_controller") or "--enable-epoch-controller" in atonn)
    faults.crash()
    try:
        net = place(model, pools)
        if faults.NAME == "does-not-fit":
            raise DoesNotFit(3_211_264)
    except DoesNotFit as error:
        return _unplaced(error.left, npu)
    from standin import files

    target = get("target") + ("npu" if npu else "")
    body = [*texts.compilation(person, net, atonn)] if npu else []
    tail = texts.section_table(person, net, target, npu)
    summary = texts.summary(person, net, options, npu)
    head = [person.line, texts.MARK, "Created date          : 2026-01-01 00:00:00",
            f"Parameters            : {arguments}", ""]  # fmt: skip
    report = [*head, *([] if npu else summary), "", *texts.layers(net), "", *body, *tail]
    info = files.c_info(person, net, arguments, npu, "generic" if npu else get("target"))
    if npu:
        print(f" >>>> EXECUTING NEURAL ART COMPILER\n   atonn {atonn}\n <<<< DONE EXECUTING NEURAL ART COMPILER")
    if faults.NAME == "float-fallback":
        print("WARNING: Conv2D_3 is not quantized")
    listed = files.write(person, net, options, info, report, npu)
    print("\n".join(["", *summary, "", *body, *tail, "", f" Generated files ({len(listed)})", " " + "-" * 60]))
    print("\n".join(f" {path}" for path in listed))
    print(f"\nCreating txt report file {Path(get('output')) / get('name')}_{get('command')}_report.txt")
    print(person.elapsed(get("command")))
    return 0


def _pools(options: object, npu: bool) -> tuple[list, str]:  # type: ignore[type-arg]
    import json

    get = options.__dict__.get
    if not npu:
        given = get("memory_pool")
        if not given:
            return default_pools(), ""
        return [*read_pools(Path(given)), default_pools()[1]], ""
    name, _, file = get("st_neural_art").partition("@")
    profiles = json.loads(Path(file).read_text())["Profiles"]
    if name not in profiles:
        faults.fail(f"E102(CliArgumentError): profile {name} is not defined in {file}")
    pool_file = Path(file).parent / profiles[name]["memory_pool"]
    return read_pools(pool_file), f"--load-mpool {pool_file} {profiles[name]['options']}"


def _unplaced(left: int, npu: bool) -> int:
    if npu:
        print("Warning: Oauto did not find valid compile options: aborting")
        print(f"total bytes left unallocated={left}")
        faults.fail("E103(CliRuntimeError): Error calling the Neural Art compiler - ['']")
    print(f"Minimal sizes needed are: {{'unlimited memory': {left}}}")
    faults.fail("E700(UnfeasibleAllocation): Allocation Pass failed on schedule. Not enough memory on device")
    return 255


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
