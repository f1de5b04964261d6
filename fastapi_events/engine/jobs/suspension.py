"""Leaving a job in the middle of an attempt: it is run again from the top when it may go on."""

from __future__ import annotations


class Leaving(BaseException):
    """Goes up through a job's code; no handler of ``Exception`` holds it up."""


class Suspended(Leaving):
    """The run waits for so many seconds, and holds nothing meanwhile."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"the run waits for {seconds:g} s")


class RunLost(Leaving):
    """Another worker has the run: nothing that is done here counts."""
