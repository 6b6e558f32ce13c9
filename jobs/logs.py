"""What the commands say on the way: to the terminal or a batch system's log, and to a file.

The lines go through the logger of `sdsstools`, so that a log file looks like those of the other
programs of the survey, and a terminal shows the same colours.
"""

from __future__ import annotations

import copy
import logging
import sys
from pathlib import Path
from typing import Any, TextIO

from astra.errors import UsageError
from jobs.text import wants_colour

log = logging.getLogger("astra")


def set_up(verbosity: int = 0, log_file: Path | None = None, *, bars: bool = False) -> None:
    """Send the lines of this package to standard error, and if wanted to a file.

    Parameters
    ----------
    verbosity : int
        -1: warnings and errors; 0: what a log wants; 1: also what finding a fault wants.
    log_file : Path or None
        Appended to; it gets everything from 0 upwards even where the terminal shows bars.
    bars : bool
        Whether bars show the progress, so that only warnings and errors are to be told.

    Raises
    ------
    UsageError
        If the file cannot be written to.
    """
    levels = {-1: logging.WARNING, 0: logging.INFO, 1: logging.DEBUG}
    level = levels[max(-1, min(verbosity, 1))]
    sdss = _sdss_logger(logging.WARNING if bars and verbosity < 1 else level)
    if log_file is not None:
        _check(log_file)
        file_level = min(level, logging.INFO)
        sdss.start_file_logger(str(log_file), log_level=file_level, rotating=False)
    log.handlers[:] = [_Forward(sdss)]
    log.setLevel(min(level, logging.INFO) if log_file else level)
    log.propagate = False


def _sdss_logger(level: int) -> Any:
    from sdsstools.logger import SDSSLogger, StreamFormatter

    sdss = SDSSLogger("astra")
    sdss.init(log_level=level, capture_exceptions=False, capture_warnings=False)
    # Its own handler keeps the stream of this moment, and its formatter colours whatever it gets.
    sdss.removeHandler(sdss.sh)
    sdss.sh = _StandardError()
    sdss.sh.setLevel(level)
    if wants_colour(sys.stderr.isatty()):
        sdss.sh.setFormatter(StreamFormatter())
    else:
        sdss.sh.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    sdss.addHandler(sdss.sh)
    return sdss


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to standard error as it is at the moment: bars put something else in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


class _Forward(logging.Handler):
    """Hands records on with their arguments filled in, which `sdsstools` takes for text."""

    def __init__(self, sdss: Any) -> None:
        super().__init__()
        self.sdss = sdss

    def emit(self, record: logging.LogRecord) -> None:
        filled = copy.copy(record)
        filled.msg, filled.args = record.getMessage(), None
        self.sdss.handle(filled)


def _check(path: Path) -> None:
    try:
        with path.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise UsageError(
            f"the log cannot be written to {path}: {error.strerror}; name a file elsewhere with "
            "--log-file"
        ) from error
