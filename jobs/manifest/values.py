"""Values that know their lines, built from the events of a YAML parser.

Only what a manifest needs is read: mappings, lists, text, whole numbers, true and false, and null.
Tags are refused, whatever they name.  A number with a decimal point stays text, as it is written:
no key of a manifest takes one, and a version such as 0.10 must not become 0.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, cast

import yaml

from jobs.manifest.mistakes import Mistake, Place

# Values, each alias counted as all that it stands for, so that a few lines cannot become billions.
MOST_VALUES = 4_000_000
# A manifest needs five levels.
MOST_LEVELS = 50

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


class LinedMapping(dict[str, Any]):
    """A mapping that knows its line and the line of each key (from 1)."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}


class LinedList(list[Any]):
    """A list that knows its line and the line of each item (from 1)."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: list[int] = []


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not been read yet."""

    value: LinedMapping | LinedList
    anchor: str | None
    values_before: int
    key: str | None = None


@dataclass(slots=True)
class Builder:
    """Builds the value from the parser's events, without recursion."""

    mistakes: list[Mistake] = field(default_factory=list)
    root: Any = None
    documents: int = 0
    values: int = 0
    stack: list[_Open] = field(default_factory=list)
    # name -> the value and how many values it holds; None while it is still being read
    anchors: dict[str, tuple[Any, int] | None] = field(default_factory=dict)

    def take(self, event: Any) -> bool:
        """Take one event; False when reading on makes no sense."""
        line = event.start_mark.line + 1
        match event:
            case yaml.DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    text = "a second document (---) begins here; a manifest is one: remove the line"
                    self.mistakes.append(Mistake(line, (), text))
                    return False
            case yaml.AliasEvent():
                self._alias(event.anchor, line)
            case yaml.ScalarEvent():
                self._scalar(event, line)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                return self._open(event, line)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close()
        return self._small_enough(line)

    def _small_enough(self, line: int) -> bool:
        if self.values <= MOST_VALUES:
            return True
        text = (
            f"more than {MOST_VALUES} values, counting what aliases (*name) repeat; "
            'put what the products share under "defaults", and name files by globs'
        )
        self.mistakes.append(Mistake(line, (), text))
        return False

    def _place(self) -> Place:
        parts: list[str | int] = []
        for opened in self.stack:
            if isinstance(opened.value, LinedList):
                parts.append(len(opened.value))
            elif opened.key is not None:
                parts.append(opened.key)
        return tuple(parts)

    def _wrong(self, line: int, text: str) -> None:
        self.mistakes.append(Mistake(line, self._place(), text))

    def _expects_key(self) -> bool:
        return bool(self.stack) and (
            isinstance(self.stack[-1].value, LinedMapping) and self.stack[-1].key is None
        )

    def _add(self, value: Any, line: int) -> None:
        if not self.stack:
            self.root = value
            return
        opened = self.stack[-1]
        if isinstance(opened.value, LinedList):
            opened.value.append(value)
            opened.value.lines.append(line)
        elif opened.key is not None:
            opened.value.setdefault(opened.key, value)
            opened.key = None

    def _key(self, text: str, line: int) -> None:
        mapping = cast("LinedMapping", self.stack[-1].value)
        self.stack[-1].key = text
        if text == "<<":
            self._wrong(line, 'merge keys (<<) are not read; put shared keys under "defaults"')
        elif text in mapping.lines:
            first = mapping.lines[text]
            self._wrong(line, f"this key is given twice (first on line {first}); keep one")
        mapping.lines.setdefault(text, line)

    def _refuse_tag(self, event: Any, line: int) -> None:
        if event.tag is None or event.tag == "!":
            return
        tag = event.tag.replace("tag:yaml.org,2002:", "!!")
        self._wrong(
            line,
            f"the tag {tag} is refused, as all are: a manifest holds plain values only; "
            "remove the tag (put text in quotes)",
        )

    def _scalar(self, event: Any, line: int) -> None:
        self.values += 1
        self._refuse_tag(event, line)
        if self._expects_key():
            self._key(event.value, line)
            return
        # implicit[0] is true for a value without quotes, block marks or tag
        value = _plain(event.value) if event.implicit[0] else event.value
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, 1)
        self._add(value, line)

    def _alias(self, name: Any, line: int) -> None:
        if self._expects_key():
            self._wrong(line, f"the alias *{name} stands for a key; write the key out")
            self.stack[-1].key = f"*{name}"
            return
        if name not in self.anchors:
            mend = "quote text that begins with *"
            self._wrong(line, f'no "&{name}" stands before the alias *{name}; {mend}')
        elif self.anchors[name] is None:
            text = f"the alias *{name} stands inside the value that it names; write it out"
            self._wrong(line, text)
        value, count = self.anchors.get(name) or (None, 1)
        self.values += count
        self._add(value, line)

    def _open(self, event: Any, line: int) -> bool:
        self.values += 1
        if self._expects_key():
            text = "a list or mapping stands where a key should; quote text that begins with [ or {"
            self._wrong(line, text)
            return False
        if len(self.stack) >= MOST_LEVELS:
            self._wrong(line, f"more than {MOST_LEVELS} levels deep; a manifest needs five")
            return False
        self._refuse_tag(event, line)
        kind = LinedMapping if isinstance(event, yaml.MappingStartEvent) else LinedList
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        self.stack.append(_Open(kind(line), event.anchor, self.values - 1))
        return self._small_enough(line)

    def _close(self) -> None:
        opened = self.stack.pop()
        if opened.anchor is not None:
            self.anchors[opened.anchor] = (opened.value, self.values - opened.values_before)
        self._add(opened.value, opened.value.line)


def _plain(text: str) -> str | int | bool | None:
    """Return the value of a scalar without quotes."""
    if text in _WORDS:
        return _WORDS[text]
    return int(text) if _INTEGER.fullmatch(text) else text
