"""Run by the tests as a process of its own: uses the embedded server as the lines on its standard input say."""

import sys
from pathlib import Path

from fastapi_events.embedded import EmbeddedServer

server = EmbeddedServer()
for line in sys.stdin:
    command, _, argument = line.rstrip("\n").partition(" ")
    if command == "start":
        print(server.start(Path(argument)), flush=True)
    elif command == "stop":
        server.stop()
        print("stopped", flush=True)
