"""The trail: who had which voice cloned. Asked on the hosts whose web processes write it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from testinfra.host import Host

from tests.audit.probe import CONSENT, TEXT, Probe

pytestmark = pytest.mark.group("web")
FOLDER = "/var/log/cosyhost-trail"
TRAIL = f"/opt/cosyhost/current/web/bin/cosyhost trail --folder {FOLDER}"
WAIT_S = 20


@pytest.fixture(scope="session")
def spoken(host: Host, values: dict[str, Any]) -> list[dict[str, Any]]:
    """The records of one real job, from its acceptance to its end."""
    listen, port = str(values["service_web_listen"]), int(values["service_web_port"])
    web = Probe(host, listen, port)
    ready = web.ask("/readyz")  # without a worker it would wait for one
    if ready.status != 200:
        pytest.fail(f"not tried, for /readyz {ready.brief}")
    answer = web.speak()
    assert answer.status == 200, answer.brief
    job, found = answer.headers["x-cosyhost-job"], []
    for _ in range(WAIT_S):
        said = host.run(f"{TRAIL} --json --since $(date --utc +%F -d '1 minute ago')")
        # 3: a power cut spoilt a line some day, which is none of this job's.
        assert said.rc in (0, 3), said.stderr
        records = (json.loads(line) for line in said.stdout.splitlines())
        found = [record for record in records if record.get("job") == job]
        if len(found) > 1:
            break
        time.sleep(1)
    return found


@pytest.mark.control(
    "TRAIL-RECORD",
    "access",
    why="who can't say who cloned a voice can't answer for it",
    zh="说不清谁克隆了声音，就无从负责",
)
def test_a_job_is_recorded_from_its_acceptance_to_its_end(spoken: list[dict[str, Any]]) -> None:
    outcomes = [record["outcome"] for record in spoken]
    assert outcomes == ["accepted", "done"], f"recorded: {outcomes or 'nothing'}"
    missing = [name for name in ("user", "address", "voice", "text") if not spoken[0].get(name)]
    assert not missing, f"not recorded: {', '.join(missing)}"
    assert spoken[0]["consent"] == CONSENT, spoken[0]


@pytest.mark.control(
    "TRAIL-PLAIN",
    "access",
    why="what people had said is nobody's to read",
    zh="别人让它说了什么，谁也不该看到",
)
def test_no_text_is_readable_in_it(host: Host, spoken: list[dict[str, Any]]) -> None:
    assert spoken, "nothing was recorded"
    said = host.run(f"grep -lF -e %s {FOLDER}/trail-*.jsonl", TEXT)
    assert said.rc == 1, said.stdout or said.stderr


@pytest.mark.control(
    "TRAIL-CLOSED",
    "access",
    why="it says who did what, and its key what they had said",
    zh="它记着谁做了什么，密钥能查出说了什么",
)
def test_it_is_closed_to_others(host: Host) -> None:
    said = host.check_output(
        f"find {FOLDER} -printf '%y %m %u %g %P\\n' | grep -vE "
        "'^(d 750|f 640|f 600) cosyhost cosyhost ' || true; "
        f"find {FOLDER} -name .key -not -perm 600 -printf 'the key: %m\\n'"
    )
    assert not said, f"{said}\nshould be cosyhost's, folder 750, files 640, key 600"


@pytest.mark.control(
    "TRAIL-CONSENT",
    "access",
    why="what the tier promises of consent must hold",
    zh="本层级对同意的承诺必须做到",
)
def test_without_consent_nothing_is_cloned_where_it_is_required(
    host: Host, values: dict[str, Any]
) -> None:
    if values["service_consent"] != "required":
        pytest.skip(f"consent is {values['service_consent']} here, of nobody's programs required")
    listen, port = str(values["service_web_listen"]), int(values["service_web_port"])
    answer = Probe(host, listen, port).speak(consent="")
    assert answer.status == 422, answer.brief
    assert json.loads(answer.text)["code"] == "consent_missing", answer.brief
