"""The stage of delivery."""

from tests.delivery.conftest import stage

__all__ = ["stage"]
