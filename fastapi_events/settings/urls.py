"""Database addresses: one spelling for all drivers, and a form that is safe to print."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_PASSWORD = re.compile(r"(?<=://)([^:@/]*):.*@")
_PASSWORD_PARAMETER = re.compile(r"([?&](?:ssl)?password=)[^&#]*", re.IGNORECASE)


def plain_url(url: str) -> str:
    """``url`` as ``postgresql://…``; SQLAlchemy's driver part and the short scheme ``postgres`` are dropped.

    Raises ``ValueError`` for another scheme; its message never holds the address, which may carry a password.
    """
    scheme, separator, rest = url.partition("://")
    dialect = scheme.partition("+")[0].lower()
    if not separator or dialect not in {"postgresql", "postgres"}:
        raise ValueError("it must be a URL that begins with postgresql:// (or postgresql+driver://)")
    plain = f"postgresql://{rest}"
    try:
        _ = urlsplit(plain).port
    except ValueError:
        raise ValueError("its host or port cannot be read; percent-encode special characters of the password") from None
    return plain


def redacted(url: str) -> str:
    """``url`` with every password in it replaced by ``***``: for logs, errors and pages."""
    return _PASSWORD_PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1:***@", url))
