"""Where the shop's mail ends up: a table in place of a mail service."""

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Field

from example_app.db import SessionLocal
from example_app.tables import ShopTable


class SentMail(ShopTable, table=True):
    """A mail that went out."""

    key: str = Field(primary_key=True)
    recipient: str
    subject: str


async def send_mail(*, key: str, recipient: str, subject: str) -> None:
    """Send a mail once, however often it is called with the same ``key``, as mail services do that take one."""
    async with SessionLocal.begin() as session:
        mail = {"key": key, "recipient": recipient, "subject": subject}
        await session.execute(insert(SentMail).values(mail).on_conflict_do_nothing())
