"""Logs: in one place, within their age and size, and without secrets."""

from __future__ import annotations

from typing import Any

import pytest
from testinfra.host import Host

JOURNAL = "/var/log/journal/*.cosyhost"
FOLDER = "/var/log/cosyhost"
ELSEWHERE = """
for unit in $(systemctl list-units --plain --no-legend --type=service --state=running \
  'cosyhost-*' redis-server@cosyhost.service | cut -d' ' -f1); do
  pid=$(systemctl show --property=MainPID --value "$unit")
  grep -q /journal.cosyhost "/proc/$pid/mountinfo" || echo "$unit"
done
"""
# Its lines, however many, searched for by grep as they come: none of them leaves the host.
SECRETS = """
cat /etc/cosyhost/credentials/* 2>/dev/null | awk 'length > 7' >/run/cosyhost-audit.$$
trap 'rm -f /run/cosyhost-audit.$$' EXIT
chmod 600 /run/cosyhost-audit.$$
[ -s /run/cosyhost-audit.$$ ] || exit 0
journalctl --namespace='*' --since=-1day --output=export --no-pager |
  grep -qaF -f /run/cosyhost-audit.$$ && echo the journal
find /var/log -xdev -type f -not -path '/var/log/journal/*' -newermt '1 day ago' \
  -exec grep -laF -f /run/cosyhost-audit.$$ {} +
"""


@pytest.mark.control(
    "LOG-NAMESPACE",
    "limits",
    why="what logs elsewhere is kept without our limits",
    zh="记到别处的日志不受我们的限制",
)
def test_every_unit_logs_in_our_journal(host: Host) -> None:
    said = host.check_output("sh -c %s", ELSEWHERE)
    assert not said, f"not in the journal cosyhost: {', '.join(said.split())}; restart them"


@pytest.mark.control(
    "LOG-LIMITS",
    "limits",
    why="a journal without limits fills the disk, and is for ever",
    zh="没有限制的日志会写满磁盘，并永远留存",
)
def test_the_journal_keeps_its_limits(host: Host, values: dict[str, Any]) -> None:
    days, most = int(values["base_log_days"]), int(values["base_log_max_bytes"])
    said = host.check_output("cat /etc/systemd/journald@cosyhost.conf")
    told = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    wanted = {"SystemMaxUse": str(most), "MaxRetentionSec": f"{days}day", "Storage": "persistent"}
    wrong = [f"{name}={told.get(name)}, meant is {value}" for name, value in wanted.items()
             if told.get(name) != value]  # fmt: skip
    assert not wrong, "; ".join(wrong)
    _within(host, JOURNAL, days, most)


@pytest.mark.group("edge")
@pytest.mark.control(
    "LOG-ROTATE",
    "limits",
    why="addresses of visitors are not kept longer than is said",
    zh="访客地址的保存时间不超过所承诺的",
)
def test_the_log_files_keep_their_limits(host: Host, values: dict[str, Any]) -> None:
    timer = host.run("systemctl is-active cosyhost-logrotate.timer").stdout.strip()
    assert timer == "active", f"cosyhost-logrotate.timer is {timer}"
    last = host.check_output("systemctl show --value --property=Result cosyhost-logrotate.service")
    assert last == "success", f"the last rotation: {last}"
    ran = host.run("logrotate --debug /etc/cosyhost/logrotate.conf")
    assert ran.rc == 0, ran.stderr
    _within(host, FOLDER, int(values["base_log_days"]), int(values["base_log_max_bytes"]))
    readable = host.check_output(f"find {FOLDER} -type f -perm /o+r")
    assert not readable, f"for everybody to read: {readable}"
    opened = host.check_output("ls -l /proc/$(cat /run/nginx.pid)/fd | sed -n 's/.* -> //p'")
    assert f"{FOLDER}/nginx-access.log" in opened.splitlines(), opened


@pytest.mark.control(
    "LOG-SECRETS",
    "access",
    why="who reads a log must not find a key in it",
    zh="读日志的人不应从中找到密钥",
)
def test_no_credential_is_in_a_log(host: Host) -> None:
    said = host.run("sh -c %s", SECRETS).stdout.split("\n")
    assert not any(said), f"a credential of /etc/cosyhost/credentials is in: {', '.join(said)}"


def _within(host: Host, folder: str, days: int, most: int) -> None:
    """A day's grace: files are counted from their last line."""
    said = host.check_output(
        f"du --summarize --block-size=1 {folder} | cut -f1; "
        f"find {folder} -type f -mtime +{days + 1} -printf '%p %t\\n' | head -n 5"
    )
    size, *old = said.splitlines()
    assert int(size) <= most * 1.05, f"{folder} has {size} bytes, limit {most}"
    assert not old, f"older than {days} days: {'; '.join(old)}"
