"""The doctor: finds the usual misconfigurations and says the mend of each. It changes nothing."""

from fastapi_events.cli.doctor.examining import examine
from fastapi_events.cli.doctor.finding import Finding

__all__ = ["Finding", "examine"]
