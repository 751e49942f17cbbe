"""All that the exporter tells, as one text; what fails in one part costs no other."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from cosyhost.exporter import backup, gpu, network, retention, storage
from cosyhost.exporter.exposition import Family, gauge, labels, rendered
from cosyhost.host.gpu import Nvml
from cosyhost.host_config import HostConfig

_log = logging.getLogger("cosyhost.exporter")


class Collectors:
    """The parts, each asked anew at each scrape; scrapes may come from several threads."""

    def __init__(self, settings: HostConfig) -> None:
        outputs = settings.outputs
        scanner = storage.Scanner(Path(outputs.folder)) if outputs.folder else None
        self._parts: dict[str, Callable[[], Iterable[Family]]] = {
            "network": partial(network.collect, settings.network),
            "gpu": partial(gpu.collect, settings.gpus, Nvml()),
            "storage": partial(storage.collect, outputs, scanner),
            "retention": partial(retention.collect, settings.retention),
            "backup": partial(backup.collect, settings.backup),
        }
        self._failing: dict[str, str] = {}
        self._lock = threading.Lock()

    def text(self) -> str:
        """The metrics of this moment; a part that failed is told of in the journal, once."""
        up = gauge("cosyhost_exporter_collector_up", "Whether this part of the exporter works.")
        families: list[Family] = []
        with self._lock:
            for name, collect in self._parts.items():
                try:
                    families += list(collect())
                    self._failing.pop(name, None)
                except Exception as error:
                    if self._failing.get(name) != str(error):
                        _log.exception("no metrics: %s", error, extra={"part": name})
                        self._failing[name] = str(error)
                up.add(labels(collector=name), name not in self._failing)
        return rendered([*families, up])
