"""The configuration: astra.yml and one environment variable, checked once.

`sdsstools.get_config` finds the file: the one that ``ASTRA_CONFIG_PATH`` names, else
``~/.config/sdss/astra/astra.yml`` and the other places where SDSS programs look; it goes over the
package's own ``etc/astra.yml``.
"""

from __future__ import annotations

import difflib
import logging
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from astra.errors import ConfigError

log = logging.getLogger("astra")

PACKAGE_CONFIG = Path(__file__).parent / "etc" / "astra.yml"

HINT = (
    "write ~/.config/sdss/astra/astra.yml (or the file that ASTRA_CONFIG_PATH names) with\n"
    "  database:\n"
    "    dbname: sdss5db      # and host, user, port, schema: PostgreSQL\n"
    "or with `path: astra.db` in place of dbname, or set ASTRA_DATABASE_PATH=astra.db: SQLite"
)

# What libpq takes beside `dbname` is libpq's to say; these are offered when a key is misspelt.
_COMMON_KEYS = (
    *("dbname", "path", "schema", "user", "host", "hostaddr", "password", "passfile", "port"),
    *("service", "sslmode", "sslrootcert", "connect_timeout", "application_name", "options"),
    *("keepalives_idle", "target_session_attrs"),
)


@dataclass(frozen=True)
class DatabaseConfig:
    """Where the tables are.

    Attributes
    ----------
    path : str or None
        A SQLite file, or ``":memory:"``; None for PostgreSQL.
    dbname : str or None
        A PostgreSQL database (``""`` where a service or the environment names it).
    schema : str or None
        The PostgreSQL schema; None leaves it to the search path.
    parameters : dict
        Further libpq parameters.  They can hold a password, so they are in no repr.
    configured : bool
        False if nothing was configured, and the database is in memory for want of better.
    """

    path: str | None = None
    dbname: str | None = None
    schema: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict, repr=False)
    configured: bool = True


def read_config() -> dict[str, Any]:
    """Return the merged configuration, as the files have it.

    Raises
    ------
    ConfigError
        If a file is not YAML, or is not a mapping.
    """
    import yaml
    from sdsstools import get_config

    try:
        config = get_config("astra", config_file=PACKAGE_CONFIG)
        _warn_of_readers(config)
        return dict(config)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{os.environ.get('ASTRA_CONFIG_PATH')}: no such file, but ASTRA_CONFIG_PATH names it"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, TypeError, AttributeError) as error:
        where = os.environ.get("ASTRA_CONFIG_PATH", "~/.config/sdss/astra/astra.yml")
        raise ConfigError(f"{where}: not a configuration in YAML: {error}\n{HINT}") from error


def _warn_of_readers(config: Any) -> None:
    """Warn if others can read the password that a configuration file holds."""
    path = getattr(config, "_CONFIG_FILE", None)
    entry = config.get("database")
    if path is None or not isinstance(entry, Mapping) or "password" not in entry:
        return
    if Path(path).stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        log.warning(
            "%s holds a password and can be read by others: chmod 600 %s, or better, keep the "
            "password in ~/.pgpass",
            path,
            path,
        )


def database_config(config: Mapping[str, Any] | None) -> DatabaseConfig:
    """Decide which database is meant.

    The order is: the environment variable ``ASTRA_DATABASE_PATH``; ``TESTING: true``; the
    ``database`` entry; nothing, which is SQLite in memory.

    Parameters
    ----------
    config : mapping or None
        What `read_config` returns, or the like.

    Raises
    ------
    ConfigError
        If the ``database`` entry has a key that nothing knows, or contradicts itself.
    """
    config = config or {}
    if path := os.environ.get("ASTRA_DATABASE_PATH"):
        return DatabaseConfig(path=str(Path(path).expanduser()))
    if config.get("TESTING"):
        return DatabaseConfig(path=":memory:")
    entry = config.get("database") or {}
    if not isinstance(entry, Mapping):
        raise ConfigError(f"astra.yml: `database` must be a mapping, not {entry!r}\n{HINT}")
    if not entry:
        return DatabaseConfig(path=":memory:", configured=False)
    return _from_entry(dict(entry))


def _from_entry(entry: dict[str, Any]) -> DatabaseConfig:
    schema = entry.pop("schema", None)
    if "path" in entry:
        path = entry.pop("path")
        if entry or schema is not None:
            others = ", ".join([*entry, *(["schema"] if schema is not None else [])])
            raise ConfigError(
                f"astra.yml: `database` has `path`, which is SQLite, beside {others}, which is "
                "for PostgreSQL: leave one of them out"
            )
        return DatabaseConfig(path=str(Path(str(path)).expanduser()))
    _check_keys(entry)
    if not entry.get("dbname") and not entry.get("service"):
        raise ConfigError(f"astra.yml: `database` names neither `dbname` nor `path`\n{HINT}")
    if schema is not None and "%" in str(schema):
        # The driver takes it for a place of a parameter, also inside a quoted name.
        raise ConfigError(f"astra.yml: the schema's name {schema!r} has a %: choose one without")
    return DatabaseConfig(
        dbname=str(entry.pop("dbname", "")),
        schema=None if schema is None else str(schema),
        parameters=entry,
    )


def _check_keys(entry: dict[str, Any]) -> None:
    from astra.backends.postgres import is_connection_parameter

    for key in entry:
        if not is_connection_parameter(str(key)):
            near = difflib.get_close_matches(str(key), _COMMON_KEYS, n=1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            raise ConfigError(
                f'astra.yml: unknown key "{key}" under `database`{hint} '
                "(path, dbname, schema, or a libpq parameter such as host)"
            )
