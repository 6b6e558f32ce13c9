"""Write what an image consists of, as CycloneDX 1.5, to standard output.

python sbom.py PREFIX DEBIAN: the Python distributions below the folder PREFIX, and the Debian
packages that the file DEBIAN lists (name, version and architecture, with tabs between them).
"""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote


def python_component(found: Distribution) -> dict[str, Any]:
    """Return the component of a Python distribution."""
    meta = found.metadata
    name = re.sub(r"[-_.]+", "-", meta["Name"]).lower()
    purl = f"pkg:pypi/{name}@{quote(found.version)}"
    component = {"type": "library", "bom-ref": purl, "name": name, "version": found.version}
    component["purl"] = purl
    licence = meta.get("License-Expression")
    if licence:
        return component | {"licenses": [{"expression": licence}]}
    # Some put their licence's whole text there.
    licence = (meta.get("License") or "").splitlines()
    classifiers = [
        text.split(" :: ")[-1]
        for text in meta.get_all("Classifier") or []
        if text.startswith("License :: ")
    ]
    names = licence[:1] or classifiers
    if names:
        return component | {"licenses": [{"license": {"name": text}} for text in names]}
    return component | {"licenses": [{"license": each} for each in licence_files(found)]}


def licence_files(found: Distribution) -> list[dict[str, Any]]:
    """Return the licences of a distribution that comes with nothing but their texts."""
    names = found.metadata.get_all("License-File") or []
    files = [file for file in found.files or () if file.parts[-2:-1] == ("licenses",)]
    return [
        {"name": file.name, "text": {"content": file.read_text(encoding="utf-8")}}
        for file in sorted(files)
        if file.name in names
    ]


def debian_component(line: str) -> dict[str, Any]:
    """Return the component of a Debian package."""
    name, version, architecture = line.split("\t")
    purl = f"pkg:deb/debian/{quote(name)}@{quote(version, safe='')}?arch={architecture}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
    }


def bill_of_materials(prefix: Path, debian: Path) -> dict[str, Any]:
    """Return the document; it holds no time, so that the same image has the same one."""
    [packages] = prefix.glob("lib/python3*/site-packages")
    found = [python_component(each) for each in distributions(path=[str(packages)])]
    found.sort(key=lambda component: component["name"])
    [subject] = [component for component in found if component["name"] == "astra"]
    lines = debian.read_text().splitlines()
    others = [component for component in found if component is not subject]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": subject | {"type": "application"}},
        "components": others + [debian_component(line) for line in sorted(lines)],
    }


if __name__ == "__main__":
    json.dump(bill_of_materials(*map(Path, sys.argv[1:])), sys.stdout, indent=1)
