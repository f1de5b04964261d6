"""Running jobs: pools that claim runs, the attempts at them, and what becomes of those."""
