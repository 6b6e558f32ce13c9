"""A YAML file as plain values that know their lines; nothing in it is ever executed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from jobs.manifest.mistakes import Mistake, as_error
from jobs.manifest.values import Builder

if TYPE_CHECKING:
    from pathlib import Path

# A manifest that names 200,000 files one by one takes about 12 MiB; globs take none of this.
MOST_BYTES = 16 * 2**20
# libyaml is ten times as fast, and not in every build of PyYAML.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> tuple[Any, list[Mistake]]:
    """Return the value of a YAML file and the mistakes that do not hinder reading on.

    Parameters
    ----------
    path : Path
        The file, in UTF-8.

    Returns
    -------
    value : LinedMapping, LinedList, str, int, bool or None
        Mappings and lists are shared, not copied, where an alias repeats them.
    mistakes : list of Mistake
        Tags, keys given twice, aliases of nothing.

    Raises
    ------
    ManifestError
        If there is no such file, it cannot be read, is not UTF-8, not YAML, or too large.
    """
    text = _text(path)
    builder = Builder()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if not builder.take(event):
                raise as_error(builder.mistakes, path)
    except yaml.YAMLError as error:
        raise as_error([*builder.mistakes, _not_yaml(error, text)], path) from error
    return builder.root, builder.mistakes


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        text = "no such file; give the path of a manifest (YAML)"
        raise as_error([Mistake(None, (), text)], path) from error
    except IsADirectoryError as error:
        text = f"is a folder; give the manifest in it, as in {path / 'manifest.yml'}"
        raise as_error([Mistake(None, (), text)], path) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        text = f"cannot be read: {reason}; check the path and its permissions"
        raise as_error([Mistake(None, (), text)], path) from error
    if len(content) > MOST_BYTES:
        text = f"is larger than {MOST_BYTES // 2**20} MiB; name files by globs, not one by one"
        raise as_error([Mistake(None, (), text)], path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = f"byte 0x{content[error.start]:02x} at offset {error.start}"
        text = f"not UTF-8 ({byte}); save the manifest as UTF-8 text"
        raise as_error([Mistake(line, (), text)], path) from error


def _not_yaml(error: yaml.YAMLError, text: str) -> Mistake:
    """Return what the parser says, with its line and the likeliest mend."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        character = f"U+{error.character:04X}" if isinstance(error.character, int) else "one"
        said = f"a control character ({character}) in the text"
        return Mistake(line, (), f"not YAML: {said}; remove it")
    if not isinstance(error, yaml.MarkedYAMLError):
        return Mistake(None, (), f"not YAML: {error}")
    mark = error.problem_mark or error.context_mark
    lines = text.splitlines()
    number = mark.line if mark is not None else 0
    # A text that ends too early is told after its last line; what was begun says more.
    if error.context_mark is not None and number >= len(lines):
        number = error.context_mark.line
    written = lines[number] if number < len(lines) else ""
    said = " ".join(part for part in (error.context, error.problem) if part)
    return Mistake(number + 1, (), f"not YAML: {said}; {_mend(said, written)}")


def _mend(said: str, written: str) -> str:
    if "alias" in said:
        return 'put a value that begins with * in quotes, as in path: "*.fits"'
    if "\t" in written[: len(written) - len(written.lstrip())]:
        return "indent with spaces: YAML takes no tabs"
    if "cannot start any token" in said:
        return "put a value that begins with @, %, ` or a tab in quotes"
    if "mapping values are not allowed" in said:
        return 'check the indentation, and put a value that holds ": " in quotes'
    if "quoted scalar" in said or "flow" in said:
        return "close the quote or bracket"
    return "check the indentation and the quotes of this line and the one before"
