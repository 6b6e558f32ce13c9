"""The batch job: a manifest of FITS products in, rows of the database out.

`jobs` knows manifests and files; what a table is and how rows get into it is `astra`'s.  The
command is `astra` (or ``python -m jobs``).
"""
