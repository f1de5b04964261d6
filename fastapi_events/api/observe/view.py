"""What every reading returns is made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class View(BaseModel):
    """Base of everything that a reading returns."""

    model_config = ConfigDict(frozen=True)
