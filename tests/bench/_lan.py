"""The host that benches measure: tier lan on a testbed host, provisioned as a user would."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.audit.connection import hang_up
from tests.e2e.tier import LOCKS, Tier
from tests.testbed import Settings, Testbed, wheelhouse

SUITE = "trixie"


@contextmanager
def lan_host(keep: bool) -> Iterator[tuple[Testbed, Tier]]:
    """A testbed and its lan host, speaking; a host that was kept is brought up to date."""
    os.environ.setdefault("COSYHOST_TESTBED", "bench")
    bed = Testbed(Settings.from_env())
    bed.build(SUITE)
    wheelhouse.ensure(bed.settings, SUITE, LOCKS)
    running = {host.name: host for host in bed.hosts() if host.running}
    host = running.get("voice-lan") or bed.up("voice-lan", suite=SUITE)
    control = Path(tempfile.mkdtemp(prefix="cb", dir="/tmp"))
    try:
        tier = Tier.on("lan", bed, host, control)
        tier.provision()
        tier.url = f"http://{host.ip}"
        yield bed, tier
    finally:
        hang_up(control)
        if not keep:
            host.down()
