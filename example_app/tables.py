"""What all tables of the shop have in common."""

from sqlalchemy import MetaData
from sqlmodel import SQLModel


class ShopTable(SQLModel):
    """Base of the shop's tables, which live in a PostgreSQL schema of their own."""

    metadata = MetaData(schema="shop")
