"""Tests of jobs use the stage of delivery's."""

from tests.delivery.conftest import stage

__all__ = ["stage"]
