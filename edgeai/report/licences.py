"""The licences of weights, data and tools, and what they mean together. Information, never legal advice."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeai import __version__
from edgeai.artifacts import (
    CompiledModel,
    Contract,
    Fact,
    FileRef,
    LicenceFinding,
    LicenceItem,
    LicenceReport,
    Provenance,
    QuantizedModel,
)
from edgeai.errors import EdgeAIError
from edgeai.files import file_ref
from edgeai.report.dossier import Dossier
from edgeai.report.stated import stated_licence

DISCLAIMER = (
    "This is information about licences found in files and package metadata, not legal advice. "
    "Where something is to be sold, published or offered as a service, ask somebody whose profession it is."
)
ULTRALYTICS_FAMILIES = ("yolov8", "yolov5", "yolo11", "yolov11", "yolo26")
COPYLEFT = ("AGPL", "GPL")
NON_OPEN = ("SLA0044", "SLA0048", "SLA0078")
UNKNOWN = "unknown"
ST_RUNTIME = "ST's run-time library, generated network code and middleware"

_TRAP_CORE = (
    "Whoever passes on a program that contains or is combined with them must offer the source "
    "of the whole under the same licence; the AGPL asks this also where the program is only used over a network. "
    "The software that ST Edge AI Core generates and links (run-time library, middleware, much of ST's example code) "
    "is under SLA0044 and its sisters SLA0048 and SLA0078. These allow use on ST's chips only and forbid any use that "
    "would put the software under an open-source licence. The two demands exclude each other in a firmware that "
    "leaves your hands; ST's own model zoo warns of this combination."
)
_WAYS = (
    "train from random weights with `edgeai train` (its code is Apache-2.0 and contains no AGPL code)",
    "get the weights under another licence from their owner (for YOLOv5, YOLOv8 and YOLO11: Ultralytics)",
    "pass nothing on: trying the combination on your own desk distributes nothing",
)


@dataclass(frozen=True, slots=True)
class _Weights:
    """`reason` is what the licence follows from, where nothing states it."""

    name: str
    family: str
    licence: str
    known_from: str
    reason: str = ""


def review(dossier: Dossier, stated: str = "") -> LicenceReport:
    """The licences of a run or of model files; `stated` is what the user says about the weights, and wins."""
    weights = [_stated(entry, stated) for entry in _weights(dossier)]
    items = [LicenceItem("weights", entry.name, entry.licence, entry.known_from) for entry in weights]
    items += [*_data(dossier), *_tools(dossier)]
    return LicenceReport(
        items=tuple(dict.fromkeys(items)),
        findings=tuple(_findings(weights, dossier)),
        disclaimer=DISCLAIMER,
        provenance=Provenance(
            stage="licences",
            inputs=_inputs(dossier),
            options=(Fact("stated", stated),) if stated else (),
            versions=(Fact("edgeai", __version__),),
            licence=weights[0].licence if weights else UNKNOWN,
        ),
    )


def plain_licence(text: str) -> str:
    """The SPDX-like name at the start of what a checkpoint says: `AGPL-3.0 License (https://...)` is `AGPL-3.0`."""
    words = text.split()
    if not words or text.strip().lower() in ("unknown", "none", "other"):
        return UNKNOWN
    name = " ".join(text.partition("(")[0].split())
    return name.removesuffix(" License").removesuffix(" license") or words[0]


def weights_licence(report: LicenceReport) -> str:
    """The licence of the first weights of a report."""
    return next((item.licence for item in report.items if item.subject == "weights"), UNKNOWN)


# --- what is there ------------------------------------------------------------------------------


def _weights(dossier: Dossier) -> list[_Weights]:
    record = dossier.record
    if record is not None:
        licence = plain_licence(record.provenance.licence)
        source = f"the metadata of {record.model.name}" if licence != UNKNOWN else "nothing says"
        spec = record.quantized[0].contract.spec if record.quantized else None
        reason = spec.licence_source if spec is not None else ""
        found = [_Weights(record.model.name, spec.family if spec else "", licence, reason or source, reason)]
        ours = {entry.file.sha256 for entry in record.quantized} | {record.results[0].model.sha256}
        others = [r for r in record.results if r.model.sha256 not in ours]
        return [*found, *(_Weights(r.model.name, _family(r.model.name), *_of_provenance(r.provenance)) for r in others)]
    return [_of_file(path) for path in dossier.models]


def _of_provenance(origin: Provenance) -> tuple[str, str]:
    licence = plain_licence(origin.licence)
    return licence, "its metadata" if licence != UNKNOWN else "nothing says"


def _of_file(path: Path) -> _Weights:
    """The contract in a file knows best; a file without, or whose contract knows none, may state one elsewhere."""
    contract = contract_of(path)
    family = (contract.spec.family if contract else "") or _family(path.name)
    reason = contract.spec.licence_source if contract else ""
    licence = plain_licence(contract.spec.licence) if contract else UNKNOWN
    if licence != UNKNOWN:
        return _Weights(path.name, family, licence, reason or "metadata in the file", reason)
    said = stated_licence(path)
    licence = plain_licence(said.licence)
    return _Weights(path.name, family, licence, said.known_from if licence != UNKNOWN else "nothing in the file says")


def contract_of(path: Path) -> Contract | None:
    """What the outputs of a model file mean: what it carries, else what its tensors imply; None where nothing."""
    from edgeai.recognise.know import know_file

    try:
        return know_file(path, computing=False).contract
    except EdgeAIError:
        return None


def _family(name: str) -> str:
    return next((family for family in ULTRALYTICS_FAMILIES if family in name.lower()), "")


def _stated(entry: _Weights, stated: str) -> _Weights:
    return _Weights(entry.name, entry.family, plain_licence(stated), "stated by the user") if stated else entry


def _data(dossier: Dossier) -> list[LicenceItem]:
    """Images that were used. Their licences are nowhere in the files, so the source is named and the rest left open."""
    found = []
    for made in dossier.of(QuantizedModel):
        name = f"{made.calibration.name} ({len(made.calibration.images)} images)"
        found.append(LicenceItem("calibration images", name, UNKNOWN, "images carry no licence: ask who took them"))
    for result in dossier.record.results if dossier.record else ():
        name = f"{result.protocol.dataset} ({result.protocol.num_images} images)"
        found.append(LicenceItem("evaluation images", name, UNKNOWN, "images carry no licence: ask who took them"))
    return found


def _tools(dossier: Dossier) -> list[LicenceItem]:
    carried = [getattr(entry, "provenance", None) for entry in dossier.found]
    origins = [origin for origin in carried if isinstance(origin, Provenance)]
    names = dict.fromkeys(fact.name for origin in origins for fact in origin.versions)
    found = [LicenceItem("tool", f"edgeai {__version__}", "Apache-2.0", "its LICENSE")]
    found += [item for name in names if name != "edgeai" and (item := _package(name)) is not None]
    for compiled in dossier.of(CompiledModel):
        tool = f"{compiled.toolchain} {compiled.version}"
        if compiled.toolchain == "ST Edge AI Core":
            found.append(LicenceItem("tool", tool, "SLA0044", "ST's licence page of the tool"))
        else:
            found.append(LicenceItem("tool", tool, "Apache-2.0", "a stand-in of edgeai's tests"))
    return found


def _package(name: str) -> LicenceItem | None:
    """A Python package by its metadata; None where it is not installed here (or is no package: a table, a kernel)."""
    try:
        metadata = importlib.metadata.metadata(name).json
    except importlib.metadata.PackageNotFoundError:
        return None
    classifiers = [str(c) for c in metadata.get("classifier", []) if str(c).startswith("License ::")]
    stated = str(metadata.get("license_expression") or "")
    licence = stated or (classifiers[0].rpartition(" :: ")[2] if classifiers else "")
    licence = licence or str(metadata.get("license") or UNKNOWN).strip().splitlines()[0][:60]
    return LicenceItem("tool", name, licence, "its package metadata")


def _inputs(dossier: Dossier) -> tuple[FileRef, ...]:
    return (dossier.record.model,) if dossier.record else tuple(file_ref(path) for path in dossier.models)


# --- what follows -------------------------------------------------------------------------------


def _findings(weights: Sequence[_Weights], dossier: Dossier) -> list[LicenceFinding]:
    found: list[LicenceFinding] = []
    for entry in weights:
        explained = any(_TRAP_CORE in finding.text for finding in found)
        finding = _about(entry, explained)
        found += [finding] if finding is not None else []
    if not any(_TRAP_CORE in finding.text for finding in found):
        found.append(_st_note())
    if dossier.record is not None:
        found.append(_data_note())
    return found


def is_copyleft(licence: str) -> bool:
    return any(part.startswith(COPYLEFT) for part in licence.upper().replace("(", " ").split())


def _about(entry: _Weights, explained: bool) -> LicenceFinding | None:
    """What the licence of one set of weights means; the trap is told once."""
    trap, ways = ("", ()) if explained else (f" {_TRAP_CORE}", _WAYS)
    if is_copyleft(entry.licence):
        why = f" ({entry.reason})" if entry.reason else ""
        text = f"The weights of {entry.name} are under {entry.licence}{why}.{trap}"
        return LicenceFinding("conflict", f"{entry.licence} weights and ST's SLA0044 software", text, ways)
    if entry.licence != UNKNOWN:
        return None
    if entry.family.startswith(ULTRALYTICS_FAMILIES):
        text = (
            f"{entry.name} does not say under which licence its weights are. Networks of its family are nearly always "
            "trained with Ultralytics' AGPL-3.0 code from Ultralytics' AGPL-3.0 weights, and are then AGPL-3.0 "
            f"themselves.{trap}"
        )
        return LicenceFinding("check", "Licence of the weights unknown, probably AGPL-3.0", text, ways)
    text = f"{entry.name} does not say under which licence its weights are. Without one nobody may pass them on."
    ask = ("ask whoever trained them, and pass the answer with --licence",)
    return LicenceFinding("check", "Licence of the weights unknown", text, ask)


def _st_note() -> LicenceFinding:
    text = (
        f"{ST_RUNTIME} are under SLA0044: for ST's chips only, and not to be put under an open-source licence. "
        "Do not add AGPL or GPL code or weights to a firmware that contains them."
    )
    return LicenceFinding("note", "Firmware with ST's software", text)


def _data_note() -> LicenceFinding:
    text = (
        "Photos keep the rights of who took them and of who is on them. COCO's annotations are CC BY 4.0; its photos "
        "are under their Flickr licences, some of them non-commercial. An HTML report contains pictures of the "
        "evaluation set: look at them before you publish it."
    )
    return LicenceFinding("note", "Images", text)


def licence_id(licence: str) -> str:
    """The identifier that model hubs use in a card's front matter."""
    known: dict[str, str] = {"agpl-3.0": "agpl-3.0", "apache-2.0": "apache-2.0", "gpl-3.0": "gpl-3.0"}
    known |= {"mit": "mit", "bsd-3-clause": "bsd-3-clause", UNKNOWN: "unknown"}
    name = licence.lower().removesuffix("-only").removesuffix("-or-later")
    return known.get(name, "other")


def summary(findings: Iterable[LicenceFinding]) -> str:
    """One line: the gravest finding."""
    order = ("conflict", "check", "note")
    return next((f.title for kind in order for f in findings if f.severity == kind), "")
