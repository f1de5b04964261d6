"""``python -m fastapi_events.cli``."""

from fastapi_events.cli import main

main()
