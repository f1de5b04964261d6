"""What programs send to the JSON API."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Body(BaseModel):
    """A request's body. What it does not know it refuses: a misspelt condition would act on more than was meant."""

    model_config = ConfigDict(extra="forbid")
