"""Inventory: what is on the shelves, and for whom it is reserved."""
