"""``python -m jobs`` is the `astra` command."""

from __future__ import annotations

from jobs.cli import main

if __name__ == "__main__":
    main(prog_name="astra")
