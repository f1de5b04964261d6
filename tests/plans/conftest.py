"""These tests run on the stage of delivery, and on databases that are filled once."""

from tests.delivery.conftest import stage
from tests.plans.filling import filled

__all__ = ["filled", "stage"]
