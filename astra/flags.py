"""Bit fields whose flags have names and say what they mean, and flags that follow from others."""

from __future__ import annotations

import functools
import operator
from typing import Any

import peewee
from peewee import SQL, ColumnBase, ModelDescriptor

from astra.utils import version_string_to_integer

Rule = tuple[tuple[str, ...], ...]
"""Alternatives, each the flags that must all be set; ``nonzero:x`` says that field x is not 0."""


class Flag(ModelDescriptor, ColumnBase):
    """One or more bits of a `BitField`, under a name of their own.

    On an instance it is a bool that can be set; on the model it is an SQL condition, with
    ``.set()`` and ``.clear()`` for updates of the whole bit field.

    Attributes
    ----------
    name : str
        The attribute of the model that it is.
    help_text : str or None
        What it means that the flag is set.
    """

    def __init__(
        self, field: peewee.Field, value: int, help_text: str | None = None, name: str = ""
    ) -> None:
        self._field = field
        self._value = value
        self.name = name
        self.help_text = self.__doc__ = help_text
        super().__init__()

    def __set_name__(self, owner: Any, name: str) -> None:
        self.name = name

    def clear(self) -> peewee.Expression:
        """Return the value of the bit field without this flag."""
        return self._field.bin_and(~self._value)

    def set(self) -> peewee.Expression:
        """Return the value of the bit field with this flag."""
        return self._field.bin_or(self._value)

    def __get__(self, instance: Any, instance_type: Any = None) -> Any:
        if instance is not None:
            return ((getattr(instance, self._field.name) or 0) & self._value) != 0
        # A subclass or an alias of the model has a column of its own.
        field = getattr(instance_type, self._field.name)
        return Flag(field, self._value, self.help_text, self.name)

    def __set__(self, instance: Any, is_set: Any) -> None:
        if is_set not in (True, False):
            raise ValueError(f"a flag is True or False, not {is_set!r}")
        value = getattr(instance, self._field.name) or 0
        value = value | self._value if is_set else value & ~self._value
        setattr(instance, self._field.name, value)

    def __sql__(self, ctx: Any) -> Any:
        return ctx.sql(self._field.bin_and(self._value) != 0)


class BitField(peewee.BitField):
    """Up to 63 flags in one 64-bit integer, 0 where nothing is set.

    Examples
    --------
    >>> class Rocket(PipelineOutputMixin):
    ...     result_flags = BitField()
    ...     flag_no_fuel = result_flags.flag(help_text="The tank was empty")
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # The default is the table's too: a bit field that is added to a table with rows needs it.
        kwargs.setdefault("constraints", [SQL("DEFAULT 0")])
        super().__init__(*args, **kwargs)

    def flag(self, value: int | None = None, help_text: str | None = None) -> Flag:
        """Return a flag to be kept under its name in the body of the model.

        Parameters
        ----------
        value : int, optional
            The value of the bit (2**n); the next one after the flag before by default.
        help_text : str, optional
            What it means that the flag is set.
        """
        bit: int = super().flag(value)._value  # type: ignore[no-untyped-call]
        return Flag(self, bit, help_text)

    def flags(self, namespace: dict[str, Any], **meanings: tuple[int, str]) -> None:
        """Put many flags into the body of a model: ``field.flags(locals(), name=(bit, text))``.

        A class body is the one place where `locals` can be written to, so a family of flags
        can be made from a table instead of being typed out.
        """
        for name, (bit, help_text) in meanings.items():
            namespace[name] = self.flag(2**bit, help_text=help_text)


def _holds(owner: Any, condition: str) -> Any:
    """Return one condition of a rule as a bool of an instance or an expression of a model."""
    kind, _, name = condition.rpartition(":")
    if kind == "nonzero":
        value = getattr(owner, name)
        return value != 0 if isinstance(value, ColumnBase) else bool(value)
    return getattr(owner, name)


class Condition(ColumnBase):
    """A derived flag of a model, to be used in queries.

    Attributes
    ----------
    name : str
        The attribute of the model that it is.
    help_text : str or None
        What it means that the flag is set.
    """

    def __init__(self, expression: ColumnBase, name: str, help_text: str | None) -> None:
        self._expression = expression
        self.name = name
        self.help_text = help_text
        super().__init__()

    def __sql__(self, ctx: Any) -> Any:
        return ctx.sql(self._expression)


class DerivedFlag(ModelDescriptor):
    """A flag that is no bit of its own: it is set where one of its alternatives holds.

    It works on instances and in queries.  Files carry it as a column, which is not stored but
    checked: the model's ``derived_flags[name]`` has the rule in a form that can be read, and
    ``derived_flags_by_version[version][name]`` the rule of an older major.minor version, where
    that was another.

    Parameters
    ----------
    *alternatives : str or tuple of str
        The name of a flag, or several that must all be set; ``"nonzero:result_flags"`` holds
        where any bit of that field is set.
    help_text : str, optional
        What it means that the flag is set.
    by_version : dict, optional
        Alternatives that older results were made with, by major.minor version.  On a model with
        a `v_astra`, each row goes by the rule of its own version.
    """

    def __init__(
        self,
        *alternatives: str | tuple[str, ...],
        help_text: str | None = None,
        by_version: dict[str, tuple[str | tuple[str, ...], ...]] | None = None,
    ) -> None:
        self.rule = _normalise(alternatives)
        self.by_version = {key: _normalise(rule) for key, rule in (by_version or {}).items()}
        self.help_text = self.__doc__ = help_text

    def __set_name__(self, owner: Any, name: str) -> None:
        self.name = name
        owner.derived_flags = {**getattr(owner, "derived_flags", {}), name: self.rule}
        older = dict(getattr(owner, "derived_flags_by_version", {}))
        for version, rule in self.by_version.items():
            older[version] = {**older.get(version, {}), name: rule}
        owner.derived_flags_by_version = older

    def __get__(self, instance: Any, instance_type: Any = None) -> Any:
        owner = instance_type if instance is None else instance
        version: Any = getattr(owner, "v_astra_major_minor", None)
        if instance is not None:
            return _follows(owner, self._by_number.get(version, self.rule))
        holds = _follows(owner, self.rule)
        for number, rule in self._by_number.items() if version is not None else ():
            holds = ((version == number) & _follows(owner, rule)) | ((version != number) & holds)
        return Condition(holds, self.name, self.help_text)

    @functools.cached_property
    def _by_number(self) -> dict[int, Rule]:
        numbers = (version_string_to_integer(f"{version}.0") for version in self.by_version)
        rules = self.by_version.values()
        return {number // 1000: rule for number, rule in zip(numbers, rules, strict=True)}


def _follows(owner: Any, rule: Rule) -> Any:
    """Return what a rule says, as a bool of an instance or an expression of a model."""
    alternatives = [
        functools.reduce(operator.and_, [_holds(owner, condition) for condition in needed])
        for needed in rule
    ]
    return functools.reduce(operator.or_, alternatives)


def _normalise(alternatives: tuple[str | tuple[str, ...], ...]) -> Rule:
    return tuple((item,) if isinstance(item, str) else tuple(item) for item in alternatives)
