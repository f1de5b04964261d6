"""A TCP proxy in front of PostgreSQL that can be told to swallow everything: a half-open connection."""

import asyncio
import contextlib
from typing import Self
from urllib.parse import parse_qs, urlsplit


class Proxy:
    """Forwards until ``blackhole`` is set; from then on neither side hears of the other."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        folder = parse_qs(parts.query).get("host", [""])[0]
        self._socket = f"{folder}/.s.PGSQL.{parts.port or 5432}" if folder.startswith("/") else None
        self._address = (parts.hostname or "127.0.0.1", parts.port or 5432)
        self._user, self._path = parts.username or "postgres", parts.path
        self._password = f":{parts.password}" if parts.password else ""
        self.blackhole = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self.connections = 0

    @property
    def url(self) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return f"postgresql://{self._user}{self._password}@127.0.0.1:{port}{self._path}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._socket:
            inner_reader, inner_writer = await asyncio.open_unix_connection(self._socket)
        else:
            inner_reader, inner_writer = await asyncio.open_connection(*self._address)
        self._writers += [writer, inner_writer]
        await asyncio.gather(self._pump(reader, inner_writer), self._pump(inner_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        silent = self.blackhole
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                if silent.is_set():
                    continue
                writer.write(data)
                await writer.drain()
        if not silent.is_set():
            writer.close()
