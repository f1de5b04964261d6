"""Every twin lacks the guard that it is to lack: one that does not start would seem to be caught."""

from typing import get_args

import pytest

pytest.importorskip("psycopg")

from tests.chaos.options import Twin
from tests.chaos.twins import check


@pytest.mark.parametrize("twin", [twin for twin in get_args(Twin) if twin != "none"])
def test_a_twin_can_be_planted(twin: Twin) -> None:
    check(twin)
