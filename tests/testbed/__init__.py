"""Real systemd hosts on one machine, for tests that must not be fooled."""

from .client import Client, WanClient
from .errors import CommandError, TestbedError, UsageError
from .host import Host
from .records import HostSpec
from .settings import Settings
from .testbed import Testbed

__all__ = [
    "Client",
    "CommandError",
    "Host",
    "HostSpec",
    "Settings",
    "Testbed",
    "TestbedError",
    "UsageError",
    "WanClient",
]
