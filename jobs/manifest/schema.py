"""The JSON Schema of a manifest, for editors.

``jobs/manifest.schema.json`` holds it.  After a change of the models, write that anew:
``python -c "from jobs.manifest import schema; print(schema.as_text(), end='')"``.
"""

from __future__ import annotations

import json
from typing import Any

from jobs.manifest.model import Manifest

_EXAMPLE = {
    "version": 1,
    "defaults": {"tag": "dr20"},
    "products": [
        {"path": "$MWM_ASTRA/0.8.1/summary/astraAllStarSlam-0.8.1.fits.gz"},
        {
            "path": "results/**/astraVisitCorv-*.fits",
            "result": "Corv",
            "spectrum": "BossVisitSpectrum",
            "hdus": [1],
            "columns": {"teff": "TEFF_RAW"},
            "ignore": ["snr_median"],
        },
    ],
}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a manifest, which editors complete and check by.

    ``jobs/manifest.schema.json`` holds it; point an editor there with the manifest's first line,
    ``# yaml-language-server: $schema=...``.
    """
    schema = Manifest.model_json_schema()
    for definition in (schema, *schema["$defs"].values()):
        for entry in definition["properties"].values():
            entry.pop("title", None)
            # Older releases of pydantic wrap a reference, and tell a constant as a choice, too.
            for part in entry.pop("allOf", ()):
                entry.update(part)
            if "const" in entry:
                entry.pop("enum", None)
            if entry.get("default", ...) is None:  # "told from the file" is no value to write
                del entry["default"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Manifest of astra ingest",
        "examples": [_EXAMPLE],
    }


def as_text() -> str:
    """Return the schema as ``jobs/manifest.schema.json`` holds it."""
    return json.dumps(json_schema(), indent=2) + "\n"
