"""The manifest: which FITS products a job takes in, and how.

>>> manifest = load_manifest(Path("manifest.yml"))
>>> classes = check_names(manifest, Path("manifest.yml"))
>>> files = resolve_all(manifest, Path("manifest.yml"))

Each of the three tells every mistake that it can find at once, in one `ManifestError`, a line a
mistake: ``manifest.yml:14: products[1].colums: unknown key; did you mean "columns"? ...``.
"""

from __future__ import annotations

from jobs.manifest.checks import NO_RESULT
from jobs.manifest.loading import load_manifest
from jobs.manifest.mistakes import Mistake, as_error
from jobs.manifest.model import Manifest, Product
from jobs.manifest.names import check_names, result_model
from jobs.manifest.paths import resolve, resolve_all
from jobs.manifest.schema import json_schema

__all__ = [
    "NO_RESULT",
    "Manifest",
    "Mistake",
    "Product",
    "as_error",
    "check_names",
    "json_schema",
    "load_manifest",
    "resolve",
    "resolve_all",
    "result_model",
]
