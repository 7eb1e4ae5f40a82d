"""The provenance of a study as an RO-Crate: files with their hashes, one action a job, software, authors, data, papers.

RO-Crate 1.1 (Soiland-Reyes et al. 2022) with the profile Process Run Crate 0.5 of Workflow Run RO-Crate (Leo et al. 2024). Files
below the study's folder are parts of the crate; what its jobs read or wrote elsewhere is named with its hash, and is no part.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geed import __version__
from geed.data import registry
from geed.files import write_json
from geed.provenance import records
from geed.provenance.records import Record
from geed.report.content import Study
from geed.report.page import NAME as PAGE
from geed.study.config import read_yaml

if TYPE_CHECKING:
    from rocrate.model.entity import Entity
    from rocrate.rocrate import ROCrate

NAME = "ro-crate-metadata.json"
_PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_TERMS = "https://w3id.org/ro/terms/workflow-run/context"  # has sha256
_TYPES = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".pdf": "application/pdf",
    ".png": "image/png",
}


def write(study: Study, citation: Path) -> None:
    """Write the crate's metadata into the folder of the study's results; equal records give equal bytes.

    Args:
        study: what was run.
        citation: a CITATION.cff: title, licence, authors, cited papers.

    Raises:
        GeedError: a record or the citation is damaged, or the file cannot be written.
    """
    write_json(f"{study.results}/{NAME}", describe(study, read_yaml(citation)))


def describe(study: Study, citation: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata document.

    Args:
        study: what was run.
        citation: content of a CITATION.cff.
    """
    from rocrate.rocrate import ROCrate

    jobs = study.jobs(f"{study.results}/{PAGE}")
    crate = ROCrate(version="1.1")
    crate.metadata.extra_contexts.append(_TERMS)
    root = crate.root_dataset
    root["name"] = f"geed: the {study.name} study"
    root["description"] = (
        f"{len(study.claims)} claims on the invariance of neural networks ({', '.join(study.claims)}), each with a verdict "
        f"computed from measurements; {PAGE} shows them, and every file lies beside the record of the job that made it."
    )
    root["datePublished"] = max((_times(record)[1] for record in jobs.records), default="1970-01-01")
    root["conformsTo"] = _add(crate, _PROFILE, "CreativeWork", name="Process Run Crate", version="0.5")
    licence = f"https://spdx.org/licenses/{citation['license']}"
    root["license"] = _add(crate, licence, "CreativeWork", name=citation["license"])
    root["author"] = [_author(crate, author) for author in citation["authors"]]
    root["citation"] = [_paper(crate, paper) for paper in citation.get("references", [])]
    root["isBasedOn"] = [
        _data(crate, source) for source in dict.fromkeys(entry["source"] for entry in study.plan["sets"].values())
    ]
    root["mentions"] = [_action(crate, study, jobs, record) for record in jobs.records]
    return crate.metadata.generate()


def _add(crate: "ROCrate", identifier: str, kind: str, **properties: Any) -> "Entity":
    from rocrate.model.contextentity import ContextEntity

    return crate.dereference(identifier) or crate.add(ContextEntity(crate, identifier, properties={"@type": kind, **properties}))


def _action(crate: "ROCrate", study: Study, jobs: records.Study, record: Record) -> "Entity":
    """One job: what it read of the study's files, what it made, when, with which rule."""
    path = jobs.recorded(record.path)
    start, end = _times(record)
    return _add(
        crate,
        f"#job/{path}",
        "CreateAction",
        name=record.job,
        instrument=_rule(crate, record),
        startTime=start,
        endTime=end,
        actionStatus="http://schema.org/CompletedActionStatus",
        object=[_file(crate, study, name, digest) for name, digest in record.inputs.items() if name in jobs.producer],
        result=[_file(crate, study, name, digest) for name, digest in record.outputs.items()],
        subjectOf=_file(crate, study, path, None, about=f"The record of {record.job}: parameters, code, packages, machine, cost"),
    )


def _rule(crate: "ROCrate", record: Record) -> "Entity":
    """The software that a job is a run of: a rule of this workflow at a commit, with the packages that it had."""
    commit = record.commit or "outside a checkout"
    state = "+changes" if record.dirty else ""
    packages = [
        _add(crate, f"pkg:pypi/{name}@{version.split('+')[0]}", "SoftwareApplication", name=name, version=version)
        for name, version in record.content["packages"].items()
    ]
    return _add(
        crate,
        f"#rule/{record.rule}@{commit}{state}",
        "SoftwareApplication",
        name=f"geed, rule {record.rule}",
        softwareVersion=f"{__version__} ({commit}{state})",
        softwareRequirements=packages,
    )


def _file(crate: "ROCrate", study: Study, path: str, digest: str | None, about: str | None = None) -> "Entity":
    """A file of the crate, or, where it lies outside, a work with its path and hash."""
    said = {key: value for key, value in {"sha256": digest, "description": about}.items() if value}
    if not Path(path).is_relative_to(study.results):
        return _add(crate, f"#outside/{path}", "CreativeWork", name=path, **said)
    inside = Path(path).relative_to(study.results).as_posix()
    if found := crate.dereference(inside):
        return found
    said |= {"name": inside, "encodingFormat": _TYPES.get(Path(path).suffix, "application/octet-stream")}
    return crate.add_file(dest_path=inside, properties=said)


def _times(record: Record) -> tuple[str, str]:
    start = datetime.fromisoformat(record.content["cost"]["started"])
    return start.isoformat(), (start + timedelta(seconds=round(record.content["cost"]["wall_seconds"]))).isoformat()


def _author(crate: "ROCrate", author: Mapping[str, str]) -> "Entity":
    name = author.get("name") or f"{author['given-names']} {author['family-names']}"
    kind = "Organization" if "name" in author else "Person"
    return _add(crate, author.get("orcid") or f"#author/{name.replace(' ', '-')}", kind, name=name)


def _paper(crate: "ROCrate", paper: Mapping[str, Any]) -> "Entity":
    forms = {"doi": "https://doi.org/{}", "url": "{}", "other": "{}"}
    first = next(iter(paper.get("identifiers", [])), {"type": "other", "value": f"#paper/{paper['title']}"})
    value = str(first["value"])
    arxiv = value.removeprefix("arXiv:")
    address = forms[first["type"]].format(value) if arxiv == value else f"https://arxiv.org/abs/{arxiv}"
    authors = [_author(crate, author) for author in paper["authors"]]
    return _add(crate, address, "ScholarlyArticle", name=paper["title"], datePublished=str(paper["year"]), author=authors)


def _data(crate: "ROCrate", source: str) -> "Entity":
    """A published data set that the study starts from, with its terms of use."""
    info = registry.info(source)
    return _add(crate, f"#data/{source}", "CreativeWork", name=info.title, description=info.source, usageInfo=info.licence)
