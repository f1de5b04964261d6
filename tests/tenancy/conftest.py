"""These tests run on the stage of delivery, and on the operators' ground."""

from tests.dashboard.ground import bare, connection
from tests.delivery.conftest import stage

__all__ = ["bare", "connection", "stage"]
