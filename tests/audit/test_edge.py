"""The front door: compression, limits, error pages, and who listens where."""

from __future__ import annotations

import gzip
import json
import re
from typing import Any

import pytest
from testinfra.host import Host

from tests.audit.probe import Probe, missing, split_address

pytestmark = pytest.mark.group("edge")
SPEECH = "/v1/audio/speech"
PROBLEM_MEMBERS = ("type", "title", "status", "detail", "detail_zh", "hint", "hint_zh", "code")
GZIP = {"Accept-Encoding": "gzip"}


def readable_megabytes(limit_bytes: int) -> str:
    """As the pages write it: 20 MB, 2.5 MB."""
    return f"{round(limit_bytes / 1048576, 1):g} MB"


@pytest.mark.control(
    "EDGE-CONFIG",
    "transport",
    why="a wrong configuration shows at the next restart only",
    zh="错误的配置要到下次重启才会暴露",
)
def test_the_configuration_of_nginx_is_valid(host: Host) -> None:
    ran = host.run("nginx -t -q")
    assert ran.rc == 0, ran.stderr


@pytest.mark.control(
    "EDGE-GZIP",
    "transport",
    why="the page is 1.3 MB plain: 20 s on a thin line",
    zh="页面未压缩有 1.3 MB，窄带线路上要 20 秒",
)
def test_text_is_compressed_when_asked_for(door: Probe) -> None:
    plain, packed = door.ask("/"), door.ask("/", headers=GZIP)
    encoding = packed.headers.get("content-encoding")
    assert encoding == "gzip", f"asked for gzip, got {encoding or 'none'}: {packed.brief}"
    assert len(gzip.decompress(packed.body)) == len(plain.body), "unpacks to something else"
    assert len(packed.body) < len(plain.body) / 2, f"{len(packed.body)} of {len(plain.body)} bytes"


@pytest.mark.control(
    "EDGE-EVENTS",
    "transport",
    why="a compressed event stream arrives in lumps, or not at all",
    zh="压缩后的事件流会成块到达，甚至收不到",
)
def test_event_streams_are_not_compressed(door: Probe) -> None:
    answer = door.ask("/gradio_api/heartbeat/audit", headers=GZIP, head_only=True)
    kind = answer.headers.get("content-type", "")
    assert kind.startswith("text/event-stream"), answer.brief
    assert "content-encoding" not in answer.headers, answer.headers["content-encoding"]


@pytest.mark.control(
    "EDGE-LIMIT",
    "limits",
    why="a limit that bites early refuses prompts it should take",
    zh="上限过早生效会拒绝本应接受的录音",
)
def test_a_body_of_exactly_the_limit_passes(door: Probe, values: dict[str, Any]) -> None:
    limit = int(values["edge_body_limit_bytes"])
    answer = door.ask(SPEECH, method="POST", zeros=limit)
    assert answer.status == 422, f"{limit} bytes: {answer.brief}"


@pytest.mark.control(
    "EDGE-413",
    "limits",
    why="a huge upload is refused before it costs anything",
    zh="过大的上传要在产生开销之前被拒绝",
)
def test_one_byte_more_is_refused_with_a_problem_document(
    door: Probe, values: dict[str, Any]
) -> None:
    limit = int(values["edge_body_limit_bytes"])
    answer = door.ask(SPEECH, method="POST", zeros=limit + 1)
    assert answer.status == 413, f"{limit + 1} bytes: {answer.brief}"
    assert answer.headers["content-type"].startswith("application/problem+json"), answer.brief
    document = json.loads(answer.text)
    lacking = [name for name in (*PROBLEM_MEMBERS, "error") if not document.get(name)]
    assert not lacking, f"lacks {', '.join(lacking)}: {answer.text}"
    assert document["code"] == document["error"]["code"] == "body_too_large", answer.text


@pytest.mark.control(
    "EDGE-PAGE",
    "limits",
    why="people must read why their upload was refused",
    zh="用户必须能看到上传被拒绝的原因",
)
def test_one_byte_more_is_refused_with_a_page_in_both_languages(
    door: Probe, values: dict[str, Any]
) -> None:
    limit = int(values["edge_body_limit_bytes"])
    answer = door.ask("/", method="POST", zeros=limit + 1)
    assert answer.status == 413, f"{limit + 1} bytes: {answer.brief}"
    assert answer.headers["content-type"].startswith("text/html"), answer.brief
    size = readable_megabytes(limit)
    lacking = missing((f"larger than {size}", f"超过 {size}", "body_too_large"), answer.text)
    assert not lacking, f"the page lacks {lacking}: {answer.text[:500]}"


@pytest.mark.control(
    "EDGE-METRICS",
    "access",
    why="figures of the inside are nobody's business outside",
    zh="内部指标与外人无关",
)
def test_the_metrics_cannot_be_reached(door: Probe) -> None:
    metrics = ("/metrics", "/metrics/", "//metrics", "/%6detrics", "/x/../metrics")
    for path in (*metrics, "/nginx_status"):
        answer = door.ask(path)
        assert answer.status in (403, 404), f"{path} {answer.brief}"
        for figures in ("# TYPE", "Active connections"):
            assert figures not in answer.text, f"{path} {answer.brief}"


@pytest.mark.control(
    "EDGE-VERSION",
    "access",
    why="a version number tells an attacker where to begin",
    zh="版本号会告诉攻击者从哪里下手",
)
def test_the_server_hides_its_version(door: Probe) -> None:
    for path in ("/", "/metrics"):
        answer = door.ask(path)
        server = answer.headers.get("server", "")
        assert server in ("", "nginx"), f"{path}: {server}"
        assert "nginx/" not in answer.text, f"{path}: {answer.brief}"


@pytest.mark.control(
    "EDGE-LISTEN",
    "network",
    why="the door is where the inventory says, or it is not found",
    zh="入口必须在清单所写的地址，否则无人能找到",
)
def test_nginx_listens_where_it_is_told(host: Host, values: dict[str, Any]) -> None:
    open_at = {address for address, process in listeners(host) if process == "nginx"}
    told = (*values["edge_listen"], *values["edge_tls_listen"], values["edge_status_listen"])
    wanted = {split_address(str(listen)) for listen in told}
    absent = wanted - open_at
    assert not absent, f"not at {sorted(absent)}, only at {sorted(open_at)}"


@pytest.mark.group("all")
@pytest.mark.control(
    "HOST-LISTEN",
    "network",
    why="what listens to the network can be attacked from there",
    zh="对网络监听的程序就可能从网络被攻击",
)
def test_nothing_else_is_open_to_the_network(host: Host, values: dict[str, Any]) -> None:
    """Beside nginx and the addresses of web and queue: sshd, and `audit_also_listening`."""
    doors = (*values["edge_listen"], *values["edge_tls_listen"])
    told = {split_address(str(listen)) for listen in doors}
    told |= {split_address(str(values["edge_status_listen"]))}
    told |= {(str(address), int(values["redis_port"])) for address in values["redis_bind"]}
    told |= {(str(values["service_web_listen"]), int(values["service_web_port"]))}
    known = {"sshd", *values.get("audit_also_listening", [])}
    wrong = [
        f"{process or 'unknown'} at {address}:{port}"
        for (address, port), process in listeners(host)
        if not address.startswith(("127.", "[::1]"))
        and (address, port) not in told
        and process not in known
    ]
    assert not wrong, ", ".join(wrong)


def listeners(host: Host) -> list[tuple[tuple[str, int], str]]:
    """Every listening TCP socket: its address, and the process that holds it."""
    found = []
    said = host.check_output("ss --no-header --listening --tcp --numeric --processes")
    for line in said.splitlines():
        address = re.sub("%[^:]*", "", line.split()[3])  # 127.0.0.53%lo:53
        process = line.partition('users:(("')[2].partition('"')[0]
        found.append((split_address(address), process))
    return found
