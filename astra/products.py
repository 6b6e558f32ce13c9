"""Where the files are: a path that was registered, or else the place the reduction gives it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from peewee import FieldAccessor, TextField

from astra.errors import ProductError


class _PathAccessor(FieldAccessor):
    """Gives the registered path, else the template; only the former is ever stored."""

    def __get__(self, instance: Any, instance_type: type | None = None) -> Any:
        if instance is None:
            return self.field
        return instance.__data__.get(self.name) or instance.path_template()


class PathField(TextField):
    """The file that a row was registered with, NULL if its place follows from its columns.

    On an instance of a model that has `HasFile`, it is the path to be used: the registered one,
    or else that place, with ``$VARIABLES`` to be expanded, or None where there is no telling.
    """

    accessor_class = _PathAccessor


class HasFile:
    """What rows can do that have a file of their own, by their field ``path``."""

    def path_template(self) -> str | None:
        """Return the place that the columns tell, with ``$VARIABLES``; None where they do not."""
        return None

    @property
    def absolute_path(self) -> str:
        """The file: ``path`` with its environment variables expanded.

        Raises
        ------
        ProductError
            If there is no path, or a variable is not set.
        """
        path: str | None = self.path  # type: ignore[attr-defined]
        who = f"{type(self).__name__} {self._pk}"  # type: ignore[attr-defined]
        if not path:
            raise ProductError(
                f"{who}: no file is registered for it, and its columns do not tell which it is; "
                "set .path to the file"
            )
        expanded = str(Path(os.path.expandvars(path)).expanduser())
        unset = re.search(r"\$\{?\w+\}?", expanded)
        if unset is not None:
            raise ProductError(
                f"{who}: {unset[0]} is not set, so there is no telling where {path} is; "
                "export it, or set .path to the file"
            )
        return expanded


def sdss_id_groups(sdss_id: int) -> str:
    """Return the two folders that files of one star lie in: ``49/97`` for 70344997."""
    digits = f"{sdss_id:0>4d}"
    return f"{digits[-4:-2]}/{digits[-2:]}"


def star_path(kind: str, v_astra: str | None, sdss_id: int | None) -> str | None:
    """Return the path of mwmStar or mwmVisit files, or None without a version or a star.

    Parameters
    ----------
    kind : str
        ``Star`` or ``Visit``.
    """
    if not v_astra or sdss_id is None or sdss_id < 0:
        return None
    folder = f"$MWM_ASTRA/{v_astra}/spectra/{kind.lower()}/{sdss_id_groups(sdss_id)}"
    return f"{folder}/mwm{kind}-{v_astra}-{sdss_id}.fits"
