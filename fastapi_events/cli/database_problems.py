"""Database errors on the command line are told as at an instance's start."""

from fastapi_events.plugin.database_problems import Address, DatabaseProblem, address_of, database_problems

__all__ = ["Address", "DatabaseProblem", "address_of", "database_problems"]
