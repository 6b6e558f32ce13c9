"""The wide workload: a pipeline of one's own with 213 columns, and a FITS file of its results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from astra.fields import BitField, FloatField, IntegerField, TextField
from astra.models.pipeline import PipelineOutputMixin
from jobs.headers import PRIMARY, header, table_cards

FLOATS = 200
NULLS = 0.15
ROWS = 50_000


class Wide(PipelineOutputMixin):
    """213 columns; with the primary key, the unique key and the source three indexes."""

    telescope = TextField(default="")
    n_visits = IntegerField(null=True)
    result_flags = BitField()


for _number in range(FLOATS):
    Wide._meta.add_field(f"x{_number:03d}", FloatField(null=True))


def dtype() -> np.dtype[np.void]:
    """A row of the FITS file."""
    keys = [("task_pk", ">i8"), ("source_pk", ">i8"), ("spectrum_pk", ">i8"), ("v_astra", ">i4")]
    times = [("t_elapsed", ">f4"), ("t_overhead", ">f4"), ("tag", "S8")]
    own = [("telescope", "S8"), ("n_visits", ">i4"), ("result_flags", ">i8")]
    return np.dtype([*keys, *times, *own, *((f"x{n:03d}", ">f4") for n in range(FLOATS))])


def rows(count: int, first: int = 0, seed: int = 1) -> npt.NDArray[np.void]:
    """Return results of the spectra that follow `first`, 15% of the floats NaN."""
    random = np.random.default_rng((seed, first))
    table = np.zeros(count, dtype=dtype())
    number = np.arange(first + 1, first + count + 1)
    table["task_pk"] = number
    table["spectrum_pk"] = number
    table["source_pk"] = (number - 1) // 2 + 1
    table["v_astra"] = 8001
    table["t_elapsed"] = random.gamma(2.0, 3.0, count)
    table["t_overhead"] = 0.5
    table["telescope"] = random.choice(np.array([b"apo25m", b"lco25m"]), count)
    table["n_visits"] = random.integers(1, 40, count)
    table["result_flags"] = random.integers(0, 2**20, count)
    for n in range(FLOATS):
        values = random.normal(5000.0, 300.0, count)
        values[random.random(count) < NULLS] = np.nan
        table[f"x{n:03d}"] = values
    return table


_FORMS = {"i8": "K", "i4": "J", "f4": "E"}
_PIECE = 10_000


def write(path: Path, count: int = ROWS, *, first: int = 0, repeat: bool = False) -> Path:
    """Write a FITS file of so many rows, in flat memory.

    Parameters
    ----------
    first : int
        The spectra are those that follow this one.
    repeat : bool
        Repeat the same numbers with other keys, which is quick, and without sources.
    """
    shape = dtype()
    cards = table_cards(shape.itemsize, count, len(shape.names or ()))
    for n, name in enumerate(shape.names or (), start=1):
        kind = shape[name]
        form = f"{kind.itemsize}A" if kind.kind == "S" else _FORMS[kind.str[1:]]
        cards |= {f"TTYPE{n}": name, f"TFORM{n}": form}
    with path.open("wb") as out:
        out.write(header(PRIMARY))
        out.write(header(cards))
        piece = rows(min(_PIECE, count), first)
        for start in range(first, first + count, _PIECE):
            size = min(_PIECE, first + count - start)
            if not repeat:
                piece = rows(size, start)
            else:
                piece["task_pk"] = piece["spectrum_pk"] = np.arange(len(piece)) + start + 1
                piece["source_pk"] = -1
            out.write(piece[:size].tobytes())
        out.write(bytes(-count * shape.itemsize % 2880))
    return path
