"""The commands that make a result again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from edgeai.artifacts import Provenance, QuantizedModel, RunRecord
from edgeai.evaluate.flaws import skipped
from edgeai.report.dossier import Dossier

OPEN = ("PHOTOS", "IMAGES", "ANNOTATIONS")


def reproduce(dossier: Dossier, boards: Sequence[str]) -> tuple[str, ...]:
    """Commands from the record of a run; of bare files what leads to their figures. They run as printed where the run
    was made. A record of before runs kept their command names no places: PHOTOS, IMAGES and ANNOTATIONS stand for them.
    """
    if dossier.record is not None:
        return (option(dossier.record.provenance, "command") or _run(dossier.record),)
    names = [shlex.quote(str(path)) for path in dossier.models]
    where = [f" --board {shlex.quote(board)}" for board in boards]
    return (
        *(f"edgeai inspect {name}" for name in names),
        *(f"edgeai footprint {name}{board}" for name in names for board in where),
    )


def _run(record: RunRecord) -> str:
    made = record.quantized[0]
    parts = ["edgeai run", shlex.quote(record.model.name), *_recipe(record.quantized, made)]
    parts += ["--calibration PHOTOS", f"--limit {len(made.calibration.images)}", f"--seed {made.calibration.seed}"]
    parts += ["--images IMAGES", "--annotations ANNOTATIONS"]
    parts += ["--skip-bad"] if skipped(record.results[0].data) else []
    parts += ["--allow-overlap"] if option(record.provenance, "overlap") else []
    parts += [f"--board {shlex.quote(name)}" for name in option(record.provenance, "boards").split(",") if name]
    limits = {check.limit for verdict in record.verdicts for check in verdict.checks}
    parts += [f"--max-drop {limit:g}" for limit in sorted(limits)[:1]]
    ours = {entry.file.sha256 for entry in record.quantized} | {record.results[0].model.sha256}
    parts += [f"--compare {shlex.quote(r.model.name)}" for r in record.results if r.model.sha256 not in ours]
    return " ".join(parts)


def _recipe(all_made: Sequence[QuantizedModel], made: QuantizedModel) -> list[str]:
    contract = made.contract
    size = [f"--imgsz {contract.imgsz}"]
    kinds = [f"--{name.replace('_', '-')} {option(made.provenance, name)}" for name in ("input_type", "output_type")]
    kinds = [kind for kind in kinds if not kind.endswith(" int8") and not kind.endswith(" ")]
    if len(all_made) > 1 and _one_for_each(all_made):
        return [*size, *kinds, f"--layout {contract.layout}"]
    if len(all_made) > 1:
        return [*size, *kinds, "--all"]
    return [*size, *kinds, f"--layout {contract.layout}", f"--{made.audit.granularity}"]


def _one_for_each(all_made: Sequence[QuantizedModel]) -> bool:
    """Whether the files are those that suit each of the boards: one layout, another granularity each."""
    layouts = {made.contract.layout for made in all_made}
    return len(layouts) == 1 and len({made.audit.granularity for made in all_made}) == len(all_made)


def option(origin: Provenance, name: str) -> str:
    """An option of a provenance; "" where it has none of that name."""
    return next((fact.value for fact in origin.options if fact.name == name), "")
