"""Bills of materials in CycloneDX 1.6, one for each environment: `make sbom`.

The same tree gives the same bytes: the time is SOURCE_DATE_EPOCH or is left out, and the serial
number follows from the contents.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

import tomllib
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from tests.supply import ROOT, SupplyError, licences, locks, parts

# Where what the properties mean is said: docs/supply-chain.md.
_OURS = "cosyhost"


def bills() -> dict[str, Callable[[], Iterator[Component]]]:
    """What gives the components of each bill, by its name."""
    found: dict[str, Callable[[], Iterator[Component]]] = {
        name: _environment(name, path) for name, path in locks.locks().items()
    }
    found["debian"] = _debian
    return found


def text(name: str) -> str:
    """A bill as JSON."""
    components = list(bills()[name]())
    bom = Bom(components=components)
    bom.metadata.component = whole = Component(
        name="cosyhost",
        type=ComponentType.APPLICATION,
        version=_version(),
        bom_ref="cosyhost",
        properties=[Property(name=f"{_OURS}:environment", value=name)],
    )
    bom.register_dependency(whole, components)
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    try:
        bom.metadata.timestamp = datetime.fromtimestamp(int(epoch or 0), timezone.utc)
    except ValueError as error:
        raise SupplyError(f"SOURCE_DATE_EPOCH is {epoch!r}, not seconds since 1970") from error
    bom.serial_number = UUID(int=0)
    bom.serial_number = uuid5(NAMESPACE_URL, JsonV1Dot6(bom).output_as_string())
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    if not epoch:  # the library always writes a time; none is better than a false one
        del document["metadata"]["timestamp"]
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _version() -> str:
    project = tomllib.loads((ROOT / "service/pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])


def _environment(name: str, path: Path) -> Callable[[], Iterator[Component]]:
    def components() -> Iterator[Component]:
        yield from map(_python, locks.on_hosts(path))
        if name == "web":
            yield from map(_npm, parts.packed())
        if name == "control":
            yield _npm(parts.bundler())
        if name.startswith("engine-cosyvoice"):
            yield from map(_commit, parts.upstream())
        if name.startswith("engine-"):
            yield _model()

    return components


def _python(pin: locks.Pin) -> Component:
    local = "+" in pin.version
    index = "download.pytorch.org/whl/cpu" if local else "pypi.org/simple"
    said = {"marker": pin.marker} if pin.marker else {}
    for what, licence in licences.inside(pin.name):
        said[f"inside:{what}"] = licence.licence
    return _component(
        pin.name,
        pin.version,
        licences.python(pin),
        PackageURL("pypi", name=pin.name, version=pin.version),
        # Hashes of the files that may be installed, each for other systems: not of the component.
        references=[
            ExternalReference(
                type=ExternalReferenceType.DISTRIBUTION,
                url=XsUri(f"https://{index}/{pin.name}/"),
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=one) for one in pin.hashes],
            )
        ],
        properties=said,
    )


def _npm(one: parts.Npm) -> Component:
    return _component(
        one.name,
        one.version,
        licences.judged("npm", one.name),
        PackageURL("npm", name=one.name, version=one.version),
        hashes=[HashType(alg=HashAlgorithm.SHA_512, content=one.sha512)],
    )


def _commit(one: parts.Commit) -> Component:
    owner = one.url.rstrip("/").split("/")[-2]
    return _component(
        one.name,
        one.commit,
        licences.judged("upstream", one.name),
        PackageURL("github", namespace=owner, name=one.name, version=one.commit),
        references=[ExternalReference(type=ExternalReferenceType.VCS, url=XsUri(one.url))],
    )


def _model() -> Component:
    manifest = parts.model()
    hub = manifest["huggingface"]
    owner, _, name = hub["repository"].partition("/")
    files = [
        Component(
            name=place,
            type=ComponentType.FILE,
            bom_ref=f"{manifest['name']}/{place}",
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=file["sha256"])],
        )
        for place, file in manifest["files"].items()
    ]
    return _component(
        manifest["name"],
        hub["revision"],
        licences.judged("upstream", manifest["name"]),
        PackageURL("huggingface", namespace=owner, name=name, version=hub["revision"]),
        type=ComponentType.MACHINE_LEARNING_MODEL,
        components=files,
    )


def _debian() -> Iterator[Component]:
    for name in parts.debian():
        grafana = name == parts.GRAFANA
        said = {"from": "the repository that grafana_source names"} if grafana else {}
        version = parts.grafana_version() if grafana else None
        yield _component(
            name,
            version,
            licences.judged("debian", name),
            PackageURL("deb", "grafana" if grafana else "debian", name, version),
            properties=said or {"version": "the host's: apt proves it with Debian's signature"},
        )


def _component(
    name: str,
    version: str | None,
    licence: licences.Licence,
    purl: PackageURL,
    *,
    type: ComponentType = ComponentType.LIBRARY,
    hashes: Iterable[HashType] = (),
    references: Iterable[ExternalReference] = (),
    components: Iterable[Component] = (),
    properties: dict[str, str] | None = None,
) -> Component:
    said = {"licence-seen": licence.seen, **(properties or {})}
    return Component(
        name=name,
        version=version,
        type=type,
        bom_ref=purl.to_string(),
        purl=purl,
        licenses=[LicenseFactory().make_from_string(licence.licence)],
        hashes=hashes,
        external_references=references,
        components=components,
        properties=[Property(name=f"{_OURS}:{key}", value=said[key]) for key in said],
    )


def write(folder: Path) -> list[Path]:
    """All bills into `folder`, and nothing else of their kind left there."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.cdx.json"):
        old.unlink()
    written = []
    for name in bills():
        path = folder / f"{name}.cdx.json"
        path.write_text(text(name), encoding="utf-8")
        written.append(path)
    return written


def main() -> int:
    try:
        for path in write(ROOT / "build/sbom"):
            print(path.relative_to(ROOT))
    except SupplyError as error:
        print(f"sbom: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
