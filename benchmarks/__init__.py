"""Measurements of fastapi_events beside its peers: ``python -m benchmarks --help``."""
