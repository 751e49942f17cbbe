"""The command line: `python -m tests.testbed VERB ...`."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from . import network, records, wan, wheelhouse
from .errors import TestbedError, UsageError
from .records import SUITES, HostSpec
from .settings import Settings
from .shell import require_root, say
from .testbed import Testbed

EPILOG = """\
Environment: COSYHOST_TESTBED names the testbed (default main; others have hosts, bridge and
subnet of their own); COSYHOST_TESTBED_DIR, _MACHINES, _SUBNET, _MIRROR override single settings.
"""


def parser() -> argparse.ArgumentParser:
    """All verbs and their arguments."""
    top = argparse.ArgumentParser(
        prog="python -m tests.testbed",
        description="Real systemd hosts on one machine (systemd-nspawn). Run it as root.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")

    one = verb("build", "make base images; skip those that are up to date")
    one.add_argument("suites", nargs="+", choices=SUITES, metavar="SUITE")
    one.add_argument("--force", action="store_true", help="make them again in any case")

    one = verb("up", "boot new hosts; one that has the name already is replaced")
    one.add_argument(
        "hosts", nargs="+", metavar="NAME[:SUITE[+LAYER][:IP]]",
        help="the suite is bookworm when left out, the address the lowest free one",
    )  # fmt: skip

    one = verb("down", "remove hosts and clients with their disks (default: all)")
    one.add_argument("names", nargs="*", metavar="NAME")

    verb("list", "show hosts and clients")

    one = verb("ssh", "log in over SSH, or run a command so")
    one.add_argument("name", metavar="NAME")
    one.add_argument("command", nargs=argparse.REMAINDER, metavar="CMD")

    one = verb("exec", "run a command inside a host without network or login")
    one.add_argument("name", metavar="NAME")
    one.add_argument("command", nargs=argparse.REMAINDER, metavar="CMD")

    one = verb("reboot", "reboot a host in order and wait for it")
    one.add_argument("name", metavar="NAME")

    one = verb("kill", "cut a host's power; its disk stays")
    one.add_argument("name", metavar="NAME")

    one = verb("start", "switch a host on again, with the disk it had")
    one.add_argument("name", metavar="NAME")

    one = verb("snap", "keep a host's disk as a layer for new hosts; the host goes down")
    one.add_argument("name", metavar="NAME")
    one.add_argument("layer", metavar="LAYER")

    one = verb("client", "make a bare network namespace on the bridge")
    one.add_argument("name", metavar="NAME")
    one.add_argument("ip", metavar="IP")

    one = verb("shape", "limit a link in both directions")
    one.add_argument("name", metavar="NAME")
    one.add_argument("rate", metavar="RATE|off", help="like 5mbit, 800kbit or 1gbit")

    one = verb("wan", "a client behind a thin line, until Ctrl-C")
    one.add_argument("name", metavar="NAME")
    one.add_argument("address", metavar="IP/PREFIX")
    wan.add_options(one)

    one = verb("wheelhouse", "download a suite's wheels, for hosts to install without an index")
    one.add_argument("suite", choices=SUITES, metavar="SUITE")
    one.add_argument("locks", nargs="+", metavar="LOCKFILE", type=Path)

    verb("inventory", "print the Ansible inventory")

    one = verb("clean", "remove everything of this testbed, crash leftovers too")
    one.add_argument("--images", action="store_true", help="also base images and caches")
    return top


def run(options: argparse.Namespace) -> int:
    """Do what was asked for."""
    if options.verb == "wheelhouse":
        require_root()
        folder = wheelhouse.ensure(Settings.from_env(), options.suite, options.locks)
        print(folder)
        return 0
    testbed = Testbed()
    match options.verb:
        case "build":
            for suite in options.suites:
                print(f"{suite} {testbed.build(suite, options.force)}")
        case "up":
            for host in testbed.up_many([HostSpec.parse(text) for text in options.hosts]):
                print(f"{host.name} {host.ip} {host.suite}")
        case "down":
            for name in testbed.down(options.names or None):
                print(f"{name} is gone")
        case "list":
            _list(testbed)
        case "ssh":
            command = testbed.host(options.name).ssh_command(*options.command)
            os.execvp(command[0], command)
        case "exec":
            return testbed.host(options.name).call(*(options.command or ["/bin/bash", "-l"]))
        case "reboot":
            testbed.host(options.name).reboot()
        case "kill":
            testbed.host(options.name).kill()
        case "start":
            testbed.host(options.name).power_on()
        case "snap":
            testbed.host(options.name).snap(options.layer)
        case "client":
            client = testbed.client(options.name, options.ip)
            print(f"{client.name} {client.ip}: ip netns exec {client.netns} CMD")
        case "shape":
            _shape(testbed, options.name, options.rate)
        case "wan":
            return _wan(testbed, options)
        case "inventory":
            sys.stdout.write(testbed.inventory_yaml())
        case "clean":
            testbed.clean(options.images)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; foreseeable trouble is one line on stderr."""
    try:
        return run(parser().parse_args(arguments))
    except TestbedError as error:
        say(str(error).replace("\n", " "))
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a full disk, a folder that cannot be written
        say(f"{error.filename or 'the system'}: {error.strerror}")
        return 1


def _list(testbed: Testbed) -> None:
    for host in testbed.hosts():
        system = host.suite + (f"+{host.layer}" if host.layer else "")
        print(f"{host.name:<12} {host.ip:<15} {system:<24} {host.state}")
    for name, ip in sorted(records.client_addresses(testbed.settings).items()):
        print(f"{name:<12} {ip:<15} {'client':<24} {testbed.settings.netns(name)}")


def _shape(testbed: Testbed, name: str, rate: str) -> None:
    if name not in records.client_addresses(testbed.settings):
        testbed.host(name)
    network.shape(testbed.settings, name, None if rate == "off" else rate)


def _wan(testbed: Testbed, options: argparse.Namespace) -> int:
    line = wan.line_of(options)
    ip, slash, prefix = options.address.partition("/")
    if slash and prefix != str(testbed.settings.subnet.prefixlen):
        raise UsageError(f"{options.address}: the bridge's subnet is {testbed.settings.subnet}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with testbed.wan_client(
        options.name, ip,
        up_mbit=line.up_mbit, down_mbit=line.down_mbit, delay_ms=line.delay_ms,
        jitter_ms=line.jitter_ms, loss_pct=line.loss_pct, queue_ms=line.queue_ms,
        reported_speed_mbit=options.speed,
    ) as client:  # fmt: skip
        print(f"ready: ip netns exec {client.netns} CMD", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main())
