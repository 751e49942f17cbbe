"""The line between this controller and the front door, measured as a user's would be."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cosyhost import netcheck
from cosyhost.errors import NETCHECK_TOO_OFTEN, Problem

pytestmark = pytest.mark.group("edge")
PATIENCE_S = 30


@pytest.mark.control(
    "LINK-UPLINK",
    "network",
    why="over a thin line every upload and every answer waits",
    zh="线路太窄，每次上传和应答都要等待",
)
def test_the_line_is_what_the_tier_asks(
    values: dict[str, Any], tell: Callable[[str, str], None]
) -> None:
    """From here, so a thin line of this controller fails it too; see `edge_netcheck_url`."""
    url = str(values["edge_netcheck_url"])
    if not url:
        pytest.skip("edge_netcheck_url is empty: this tier's line is not measured from here")
    try:
        checked = _patiently(url, values["edge_netcheck_ca"])
    except Problem as problem:
        pytest.fail(f"{problem.kind.code}: {problem.sentence('en')} {problem.sentence('zh')}")
    asked = (checked.terms.min_up_mbit, checked.terms.min_down_mbit)
    told = (values["service_link_up_mbit"], values["service_link_down_mbit"])
    assert asked == told, f"the service asks for {asked}, the inventory for {told}: run site.yml"
    said = [line for lang in ("en", "zh") for line in netcheck.sentences(checked, lang)]
    tell(f"cosyhost netcheck {url}", "\n".join(said))
    assert checked.holds is not False, "\n".join(said)


def _patiently(url: str, ca: str) -> netcheck.Checked:
    """A door that was asked too often, by an audit just before this one, is given time."""
    trusted = Path(ca) if ca else None
    try:
        return netcheck.check(url, trusted)
    except Problem as problem:
        if problem.kind is not NETCHECK_TOO_OFTEN:
            raise
        time.sleep(PATIENCE_S)
        return netcheck.check(url, trusted)
