"""What tests of an application use: see ``docs/how-to/testing.md``."""

from __future__ import annotations
