"""The operators' ground: see ``tests/dashboard/ground.py``."""

from tests.dashboard.ground import bare, connection, shop

__all__ = ["bare", "connection", "shop"]
