"""What can be set about the shop, by environment variables."""

import tempfile
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ShopSettings(BaseSettings):
    """The variables begin with ``SHOP_``, but for that of the database, which the shop shares with its events.

    Shares are between 0 and 1; which orders they hit is decided by the order alone.
    """

    model_config = SettingsConfigDict(env_prefix="SHOP_", use_attribute_docstrings=True)

    database_url: str = Field(default="postgresql://localhost/shop", validation_alias="EVENTS_DATABASE_URL")
    """Where the shop's tables live, ``postgresql://…``."""
    invoice_folder: Path = Path(tempfile.gettempdir()) / "example-shop-invoices"
    """Where invoices are written."""
    delivery_seconds: float = Field(default=2.0, ge=0)
    """How long the supplier takes to deliver."""
    share_flaky: float = 0.20
    """Charges that the payment provider fails once: a retry mends them."""
    share_stubborn: float = 0.01
    """Charges that it fails for longer than the handler is retried: dead letters, mended by a redrive."""
    share_declined: float = 0.02
    """Charges that it declines: no failure, the order is rejected."""


settings = ShopSettings()
