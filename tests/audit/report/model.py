"""What a report is made of: controls, rows, and the commands that prove them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

CONTROLS = {
    "network": ("Network: who listens where, and what the line gives", "网络：监听地址与线路"),
    "transport": ("Transport: how bytes travel", "传输：数据如何到达"),
    "access": ("Access: who can read, write and enter", "访问：谁能读、写和进入"),
    "limits": ("Limits: what is refused, and how", "限制：拒绝什么，如何拒绝"),
    "service": ("Service: whether it runs and speaks", "服务：是否运行并发声"),
    "storage": ("Storage: where data lies and how long", "存储：数据的位置与期限"),
    "monitoring": ("Monitoring: whether anybody would be told", "监控：出事时是否有人知道"),
    "versions": ("Versions: what is installed is what was released", "版本：所装即所发布"),
}
# In JSON; beside each its word in the table of the terminal.
RESULTS = {"pass": "ok", "fail": "FAIL", "error": "ERROR", "waived": "waived", "skip": "skipped"}
BAD = ("fail", "error")


@dataclass
class Exchange:
    """One command that a check ran on its host, and what came back."""

    command: str
    rc: int
    stdout: str = ""
    stderr: str = ""
    times: int = 1


@dataclass
class Row:
    """One check on one host."""

    id: str
    control: str
    check: str
    host: str
    why: str
    why_zh: str
    result: str = "pass"
    found: str = ""
    seconds: float = 0.0
    waiver: dict[str, str] | None = None
    evidence: list[Exchange] = field(default_factory=list)

    @property
    def bad(self) -> bool:
        """Whether it makes the audit fail."""
        return self.result in BAD


Document = dict[str, Any]
