"""The process behind one running host: `python -m tests.testbed.supervise NAME`.

It starts nspawn again when the guest reboots, which nspawn without a machine manager reports as
exit 133; hands the guest its v1 controllers; and writes down how far the boot has come.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import traceback

from . import pip
from .cgroups import Cgroups, entering
from .guest import inside
from .records import BootStatus, HostRecord, load, store_status
from .settings import Settings
from .shell import call

REBOOT = 133


def main(name: str) -> int:
    """Run a host until it powers off."""
    settings = Settings.from_env()
    record = load(settings, name)
    if record is None:
        return 1
    groups = Cgroups.detect(settings.tag)
    boot = 0
    returncode = REBOOT
    while returncode == REBOOT:
        boot += 1
        store_status(settings, name, BootStatus(boot, "booting"))
        returncode = _boot(settings, groups, record, boot)
    store_status(settings, name, BootStatus(boot, "ended", returncode))
    return 0


def _boot(settings: Settings, groups: Cgroups, record: HostRecord, boot: int) -> int:
    """Run nspawn once, from power-on to power-off."""
    # An abstract name: a path could be longer than sockets allow.
    address = f"{settings.tag}/{record.name}"
    folder = settings.host_dir(record.name)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notices,
        selectors.DefaultSelector() as selector,
        (folder / "console.log").open("ab") as console,
    ):
        notices.bind(f"\0{address}")
        process = subprocess.Popen(
            entering(groups.fresh_machine(record.name), *nspawn(settings, groups, record)),
            env=_environment(groups, address), stdin=subprocess.DEVNULL, stdout=console,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        ended = os.pidfd_open(process.pid)
        selector.register(ended, selectors.EVENT_READ)
        selector.register(notices, selectors.EVENT_READ)
        ready = False
        try:
            while process.poll() is None:
                for key, _ in selector.select():
                    if key.fileobj is not notices:
                        continue
                    said = notices.recv(4096).decode(errors="replace").splitlines()
                    if "READY=1" in said and not ready:
                        ready = True
                        _delegate(groups, record.name)
                        store_status(settings, record.name, BootStatus(boot, "ready"))
        finally:
            os.close(ended)
    return process.returncode


def nspawn(settings: Settings, groups: Cgroups, record: HostRecord) -> list[str]:
    """The command that is a host's power switch."""
    wheels = pip.wheelhouse(settings, record.suite)
    wheels.mkdir(parents=True, exist_ok=True)
    return [
        "systemd-nspawn", "--quiet", "--boot", "--notify-ready=yes", "--console=pipe",
        f"--directory={settings.host_dir(record.name) / 'root'}",
        f"--machine={settings.name}-{record.name}", f"--hostname={record.name}",
        f"--network-namespace-path=/run/netns/{settings.netns(record.name)}",
        f"--bind-ro={wheels}:{pip.WHEELHOUSE}",
        # There may be no systemd here to register with: we bring the groups ourselves.
        "--register=no", "--keep-unit",
        "--resolv-conf=off", "--timezone=off", "--link-journal=no",
        "--capability=CAP_NET_ADMIN,CAP_BPF,CAP_PERFMON", "--system-call-filter=bpf",
    ]  # fmt: skip


def _environment(groups: Cgroups, address: str) -> dict[str, str]:
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "NOTIFY_SOCKET": f"@{address}",
        "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
    }
    # Said only on pure v2: "0" would not mean hybrid, it would mean pure v1.
    return env if groups.hybrid else {**env, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}


def _delegate(groups: Cgroups, name: str) -> None:
    """Let the guest's systemd set limits: nspawn mounts the v1 controllers read-only."""
    leader = groups.leader(name)
    if not groups.delegated or leader is None:
        return
    script = 'for c do mount -o remount,rw,bind "/sys/fs/cgroup/$c"; done'
    target = ("nsenter", "--target", str(leader), "--mount")
    call(*target, "/bin/sh", "-c", script, "sh", *groups.delegated)
    procs = groups.leaf(name, "run")
    call(*entering([procs], *inside(leader, "systemctl", "daemon-reexec")))


if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        sys.exit(main(sys.argv[1]))
    except Exception:  # nobody waits for this process: what it has to say must be found in its log
        traceback.print_exc()
        sys.exit(1)
