"""Every error that is the user's to mend, with the exit status that the command gives it.

A message names where (file, HDU, column, row or line), what was found, what was expected, and
the mend.  Anything that is raised and is not an `AstraError` is a bug.
"""

from __future__ import annotations


class AstraError(Exception):
    """Base of all errors of this package.

    Attributes
    ----------
    exit_status : int
        What the `astra` command exits with: 2 wrong use; 3 manifest, input or schema wrong and
        nothing written; 4 some rows or files failed; 75 try again later.
    """

    exit_status = 3


class UsageError(AstraError):
    """The command or a function was called in a way that cannot be right."""

    exit_status = 2


class ConfigError(AstraError):
    """The configuration (astra.yml or an environment variable) is wrong."""


class ManifestError(AstraError):
    """The manifest is wrong; the message lists every mistake, one a line."""


class ProductError(AstraError):
    """A FITS file is missing, damaged, or not what the manifest says."""


class SchemaError(AstraError):
    """The database is there, but not its schema, its tables or the rights that are needed."""


class RowsFailed(AstraError):
    """Rows or files were set aside; the report names them."""

    exit_status = 4


class DatabaseUnavailable(AstraError):
    """The server is away or stayed busy for longer than the retries last: submit again."""

    exit_status = 75
