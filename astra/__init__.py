"""Astra results in a database: the ORM, and the way rows get into it.

>>> from astra.models import Corv, Source
>>> hot = Corv.select().where(Corv.teff > 10_000)

The models are in `astra.models`, the custom fields in `astra.fields`; batch ingestion of FITS
products is the `astra` command (the package `jobs`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from astra.errors import AstraError

if TYPE_CHECKING:
    from astra.instances import bulk_insert_or_replace_pipeline_results

__version__ = "0.9.0"

__all__ = ["AstraError", "__version__", "bulk_insert_or_replace_pipeline_results"]


def __getattr__(name: str) -> Any:
    # Importing peewee and NumPy takes longer than all the rest: only who upserts pays for it.
    if name == "bulk_insert_or_replace_pipeline_results":
        from astra.instances import bulk_insert_or_replace_pipeline_results

        return bulk_insert_or_replace_pipeline_results
    raise AttributeError(f"module 'astra' has no attribute {name!r}")
