"""The model names of a manifest: what class each stands for."""

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from astra.errors import UsageError
from jobs.manifest.checks import NO_RESULT
from jobs.manifest.mistakes import Mistake, as_error, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from jobs.manifest.model import Manifest


class _Kind(NamedTuple):
    """What a key's names may stand for."""

    what: str
    base: type[Any]
    models: tuple[type[Any], ...]


class _NameProblem(Exception):
    """A name that stands for no model of the right kind."""


def check_names(manifest: Manifest, manifest_path: Path) -> dict[str, type[Any]]:
    """Return the class behind every model name of the manifest.

    A plain name is one of `astra.models`.  A ``package.module:Class`` is imported as Python would,
    and where there is no such module, from the manifest's folder or else the current one, which
    then stays on ``sys.path``.

    Parameters
    ----------
    manifest : Manifest
        As `load_manifest` returns it.
    manifest_path : Path
        Where it was read from.

    Returns
    -------
    dict of str to type
        By the name as the manifest spells it (`Product.result`, each of `Product.spectrum`).

    Raises
    ------
    ManifestError
        With every unknown name, module that cannot be imported, and class that is no
        `PipelineOutputMixin` (for a result) or `SpectrumMixin` (for a spectrum).
    """
    kinds = _kinds()
    folders = list(dict.fromkeys(map(str, (manifest_path.parent.absolute(), Path.cwd()))))
    outcomes: dict[tuple[str, str], type[Any] | _NameProblem] = {}
    mistakes: list[Mistake] = []
    for product in manifest.products:
        results = () if product.result in (None, NO_RESULT) else (product.result,)
        for key, names in (("result", results), ("spectrum", product.spectrum or ())):
            for name in names:
                if (key, name) not in outcomes:
                    outcomes[key, name] = _find(name, kinds[key], folders)
                outcome = outcomes[key, name]
                if isinstance(outcome, _NameProblem):
                    mistakes.append(product.mistake(key, str(outcome)))
    if mistakes:
        raise as_error(mistakes, manifest_path)
    return {name: outcome for (_, name), outcome in outcomes.items() if isinstance(outcome, type)}


def result_model(name: str) -> type[Any]:
    """Return the result table of a name that stands in no manifest.

    Raises
    ------
    UsageError
        If there is none.
    """
    outcome = _find(name, _kinds()["result"], [str(Path.cwd())])
    if isinstance(outcome, _NameProblem):
        raise UsageError(str(outcome))
    return outcome


def _kinds() -> dict[str, _Kind]:
    # The models take a while to import, and a manifest is often wrong before it names any.
    from astra import models
    from astra.models.pipeline import PipelineOutputMixin
    from astra.models.spectrum import SpectrumMixin

    return {
        "result": _Kind("result model", PipelineOutputMixin, models.result_models),
        "spectrum": _Kind("spectrum model", SpectrumMixin, models.spectrum_models),
    }


def _find(name: str, kind: _Kind, folders: list[str]) -> type[Any] | _NameProblem:
    try:
        if ":" in name:
            return _import_class(name, kind, folders)
        return _known_model(name, kind)
    except _NameProblem as problem:
        return problem


def _known_model(name: str, kind: _Kind) -> type[Any]:
    """Return the model of this package that has the name, in whatever case."""
    from astra import models

    model = models.find(name)
    if model in kind.models:
        return model
    if model is not None:
        raise _NameProblem(f"{model.__name__} is no {kind.what} {_choice(kind)}")
    near = did_you_mean(name, [model.__name__ for model in kind.models])
    raise _NameProblem(f'no {kind.what} is called "{name}"{near} {_choice(kind)}')


def _choice(kind: _Kind) -> str:
    names = ", ".join(sorted(model.__name__ for model in kind.models))
    return f"(there are {names}; a model of your own is written package.module:Class)"


def _import_class(name: str, kind: _Kind, folders: list[str]) -> type[Any]:
    """Return the class of a ``package.module:Class``."""
    module_name, _, class_name = name.partition(":")
    module = _import_module(module_name, folders)
    classes = {key for key, value in vars(module).items() if isinstance(value, type)}
    cls = vars(module).get(class_name)
    if not isinstance(cls, type):
        where = getattr(module, "__file__", None) or module_name
        raise _NameProblem(
            f'{where} has no class "{class_name}"{did_you_mean(class_name, classes)}'
            f" (it has {', '.join(sorted(classes)) or 'none'})"
        )
    if not issubclass(cls, kind.base):
        raise _NameProblem(
            f"{name} is no {kind.what}: derive the class from {kind.base.__module__}."
            f"{kind.base.__name__}"
        )
    return cls


def _import_module(name: str, folders: list[str]) -> ModuleType:
    """Return a module from where Python finds it, else from one of the folders."""
    for folder in (None, *folders):
        try:
            with _on_path(folder):
                return importlib.import_module(name)
        except ModuleNotFoundError as error:
            # Only when the module itself is missing may it be elsewhere; else its own import fails.
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise _NameProblem(
                    f"the module {name} needs the module {error.name}, which is not installed"
                ) from error
        except Exception as error:  # a module of the user's may raise anything
            raise _NameProblem(
                f"the module {name} cannot be imported: {type(error).__name__}: {error}; "
                f'mend it until "import {name}" works in Python'
            ) from error
    raise _NameProblem(
        f"there is no module {name}: it is not installed, nor in {' or '.join(folders)}; "
        "install it, or put its folder into PYTHONPATH"
    )


@contextmanager
def _on_path(folder: str | None) -> Iterator[None]:
    """Search a folder last; it stays searched when the block ends well."""
    if folder is None or folder in sys.path:
        yield
        return
    sys.path.append(folder)
    importlib.invalidate_caches()
    try:
        yield
    except BaseException:
        sys.path.remove(folder)
        raise
