"""What each key of a manifest expects, and the checks that pydantic's own types cannot make.

A check passes what it does not understand: the type of the key refuses that.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic_core import PydanticCustomError

from astra.errors import UsageError
from astra.utils import version_integer_to_string, version_string_to_integer

NO_RESULT = "none"
"""The value of `Product.result` that stands for "fill no result table"."""

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_CLASS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_DOTTED = re.compile(r"([A-Za-z_]\w*\.)+[A-Za-z_]\w*", re.ASCII)

EXPECTED = {
    "version": "the number 1",
    "defaults": 'keys of a product, as in "defaults: {tag: dr20}"',
    "root": "a folder, as in $MWM_ASTRA/0.8.1",
    "products": 'a list of one product or more, each begun by "- path: FILE"',
    "path": "a file or glob, as in results/**/*.fits",
    "result": "the name of a result model, package.module:Class, or none",
    "spectrum": "the name of a spectrum model, package.module:Class, or a list of these",
    "hdus": "a list of HDU numbers (from 1) and EXTNAMEs, as in [1, BOSS]",
    "columns": "a mapping of field to FITS column, as in {teff: TEFF_RAW}",
    "ignore": "a list of FITS columns, as in [snr_median]",
    "new_columns": "error or ignore",
    "sources": "create, update or require",
    "spectra": "create, update or require",
    "v_astra": "a version as major.minor.patch, as in 0.8.1, or packed, as in 8001",
    "max_rejects": "a whole number, 0 or more",
    "tag": "text, as in dr20",
    "verify": "true or false",
}
"""What each key takes, as the messages say it."""


def wrong(text: str) -> PydanticCustomError:
    """Return an error whose message is told to the user as it is."""
    return PydanticCustomError("manifest", "{text}", {"text": text})


def check_reference(value: Any) -> Any:
    """Check the form of a model's name; whether there is one is `check_names`'s to say."""
    if not isinstance(value, str) or _NAME.fullmatch(value) or _CLASS.fullmatch(value):
        return value
    if _DOTTED.fullmatch(value):
        module, _, name = value.rpartition(".")
        raise wrong(f'"{value}" is no name of a model; write a class as "{module}:{name}"')
    raise wrong(
        f'"{value}" is no name of a model; '
        'write a name such as Corv, or a class as "package.module:Class"'
    )


def check_result(value: Any) -> Any:
    """Return `NO_RESULT` for null and none in whatever case, and check any other name's form."""
    if value is None or (isinstance(value, str) and value.lower() == NO_RESULT):
        return NO_RESULT
    return check_reference(value)


def check_spectrum(value: Any) -> Any:
    """Return one name as the list of it."""
    return [value] if isinstance(value, str) else value


def check_hdu(value: Any) -> Any:
    """Check that a number can be that of a table HDU."""
    if isinstance(value, int) and not isinstance(value, bool) and value < 1:
        what = "the primary HDU, which holds no table" if value == 0 else "no HDU"
        raise wrong(f"found {value}, {what}; number the HDUs from 1, as in [1]")
    return value


def check_version(value: Any) -> Any:
    """Return a version as its packed integer."""
    if isinstance(value, bool):
        return value
    try:
        if isinstance(value, str):
            return version_string_to_integer(value)
        if isinstance(value, int):
            version_integer_to_string(value)
    except UsageError as error:
        hint = ""
        if isinstance(value, str) and re.fullmatch(r"\d+\.\d+", value.strip(), re.ASCII):
            hint = f"; give all three parts, as in {value.strip()}.0"
        raise wrong(f"{error}{hint}") from error
    return value


def check_field(value: Any) -> Any:
    """Check that a key of `columns` can be the name of a model's field."""
    if isinstance(value, str) and not _NAME.fullmatch(value):
        mend = "write field: FITS column, as in {teff: TEFF_RAW}"
        raise wrong(f'"{value}" cannot be the name of a field; {mend}')
    return value


def check_path(value: str) -> str:
    """Check what no file can be called; whether there is such a file is `resolve`'s to say."""
    if not value.strip():
        raise wrong(f"is blank; expected {EXPECTED['path']}")
    # A name with a lone surrogate or a NUL is none that an operating system can hold.
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise wrong("holds a character that no file name has (NUL or a surrogate); remove it")
    return value


def check_tag(value: Any) -> Any:
    """Return a whole number as text: a tag such as 20 needs no quotes."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
