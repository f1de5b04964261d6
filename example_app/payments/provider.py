"""A payment provider to practise on: it fails, declines and deduplicates as real ones do, but in this process."""

from collections.abc import Callable
from hashlib import sha256
from typing import Literal

from example_app.db import SessionLocal
from example_app.payments.tables import Charge
from example_app.settings import ShopSettings, settings

Temper = Literal["reliable", "flaky", "stubborn", "declining"]

_FAILING_CALLS: dict[Temper, int] = {"reliable": 0, "flaky": 1, "stubborn": 3, "declining": 0}


class CardDeclined(Exception):
    """The customer's bank says no: asking again is of no use."""


class ProviderUnavailable(Exception):
    """The provider cannot be reached: asking again later may help."""


class Provider:
    """Charges cards; ``temper`` says how it treats the charge with a given idempotency key."""

    def __init__(self, temper: Callable[[str], Temper]) -> None:
        self.temper = temper

    async def charge(self, *, key: str, cents: int) -> None:
        """Take ``cents`` once, however often it is called with the same ``key``.

        Raises ``CardDeclined`` or ``ProviderUnavailable``. The books are kept in a transaction of their own: what
        the provider has seen does not vanish because a caller rolls back.
        """
        temper = self.temper(key)
        if temper == "declining":
            raise CardDeclined("the bank declined the card")
        async with SessionLocal.begin() as books:
            charge = await books.get(Charge, key, with_for_update=True) or Charge(key=key, cents=cents)
            charge.calls += 1
            charge.captured = charge.calls > _FAILING_CALLS[temper]
            books.add(charge)
        if not charge.captured:
            raise ProviderUnavailable(f"503 from the payment provider (call {charge.calls} for this charge)")


def drawn_from(settings: ShopSettings) -> Callable[[str], Temper]:
    """A temper for each key, in the given shares; the same key is always treated alike."""
    shares: dict[Temper, float] = {
        "declining": settings.share_declined,
        "stubborn": settings.share_stubborn,
        "flaky": settings.share_flaky,
    }

    def temper(key: str) -> Temper:
        draw = int.from_bytes(sha256(key.encode()).digest()[:4]) / 2**32
        for name, share in shares.items():
            if draw < share:
                return name
            draw -= share
        return "reliable"

    return temper


provider = Provider(drawn_from(settings))


async def get_provider() -> Provider:
    """The provider, as a dependency of handlers."""
    return provider
