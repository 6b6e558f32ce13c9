"""The ledger: which files are in, how far, by whom; in the same schema as the rows it speaks of.

A chunk's rows and its entries are written in one transaction, so the ledger is never ahead of the
tables, nor behind them.
"""

from __future__ import annotations

from astra.fields import (
    BigAutoField,
    BigIntegerField,
    DateTimeField,
    DoubleField,
    IntegerField,
    TextField,
)
from astra.models.base import BaseModel
from astra.utils import utcnow


class IngestRun(BaseModel):
    """One task of one run: a job of its own, or a task of a job array."""

    pk = BigAutoField(help_text="Key of this row")
    run = TextField(help_text="Name of the run, the same for all tasks of an array")
    shard_index = IntegerField(default=0, help_text="Share of the units that the task takes")
    shard_count = IntegerField(default=1, help_text="Shares that the units are dealt to")
    manifest = TextField(default="", help_text="Path of the manifest")
    host = TextField(default="", help_text="Machine that the task ran on")
    job = TextField(null=True, help_text="Slurm's number of the job")
    started = DateTimeField(default=utcnow, help_text="When the task began, UTC")
    finished = DateTimeField(null=True, help_text="When it ended, UTC")
    status = TextField(default="running", help_text="running, done, rejects, stopped or failed")

    class Meta:
        indexes = ((("run", "shard_index"), True),)


class RowCounts(BaseModel):
    """What became of rows; those that were read are the sum."""

    inserted = BigIntegerField(default=0, help_text="Rows that were new")
    updated = BigIntegerField(default=0, help_text="Rows that were there and were overwritten")
    unchanged = BigIntegerField(default=0, help_text="Rows that were there and were left alone")
    duplicates = BigIntegerField(
        default=0, help_text="Rows whose key a later row of the same transaction has too"
    )
    rejected = BigIntegerField(default=0, help_text="Rows that were set aside")


class IngestedTable(RowCounts):
    """One HDU of one file, or of one part of it: what it was, and how many of its rows are in."""

    pk = BigAutoField(help_text="Key of this row")
    path = TextField(help_text="The file")
    hdu = IntegerField(help_text="Number of the HDU, 0 for a file without rows to take")
    target = TextField(default="", help_text="Table whose rows are counted")
    part = IntegerField(default=0, help_text="Part of a large file, from 0; each has an entry")
    parts = IntegerField(default=1, help_text="Parts that the file is taken in")
    size = BigIntegerField(help_text="Bytes of the file when it was read")
    mtime_ns = BigIntegerField(help_text="Time of the file's last change then, ns since 1970")
    datasum = TextField(null=True, help_text="DATASUM card of the HDU")
    settings = TextField(default="", help_text="Digest of the manifest's entry for the file")
    hdus = IntegerField(default=1, help_text="HDUs of the file that are taken in")
    v_astra = TextField(default="", help_text="V_ASTRA card of the file")
    tag = TextField(default="", help_text="Tag that the manifest gave the results")
    hdu_rows = BigIntegerField(default=0, help_text="Rows of the HDU")
    rows = BigIntegerField(default=0, help_text="Rows of the part")
    done = BigIntegerField(default=0, help_text="Rows of it, from its first, that are dealt with")
    status = TextField(default="half", help_text="half, done or failed")
    error = TextField(null=True, help_text="Why the file failed")
    rejects = TextField(null=True, help_text="FITS file with the rows that were set aside")
    run = TextField(help_text="Name of the last run that worked on it")
    task = IntegerField(default=0, help_text="Share of that run")
    started = DateTimeField(default=utcnow, help_text="When its first row was written, UTC")
    modified = DateTimeField(default=utcnow, help_text="When this row was changed last, UTC")
    seconds = DoubleField(default=0.0, help_text="Time that writing its rows took")

    class Meta:
        indexes = ((("path", "hdu", "target", "part"), True),)


class IngestedChunk(RowCounts):
    """One transaction: when it was committed, by which task, and how long it took."""

    pk = BigAutoField(help_text="Key of this row")
    run = TextField(index=True, help_text="Name of the run")
    task = IntegerField(default=0, help_text="Share of the run")
    target = TextField(default="", help_text="Table whose rows are counted")
    path = TextField(help_text="The file, or the last of several")
    files = IntegerField(default=1, help_text="Files that its rows came from")
    created = DateTimeField(default=utcnow, help_text="When it was written, UTC")
    seconds = DoubleField(default=0.0, help_text="Time that writing it took")
