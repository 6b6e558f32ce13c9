"""How fast it is beside other ways to do the same: ``python -m tests.benchmarks --help``."""
