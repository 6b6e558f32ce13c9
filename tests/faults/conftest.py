"""Fixtures of jobs that something goes wrong with."""

from __future__ import annotations

from tests.fixtures.faults import odd_scene, postgres_scene, scene

__all__ = ["odd_scene", "postgres_scene", "scene"]
