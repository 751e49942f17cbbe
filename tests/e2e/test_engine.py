"""Kind cosyvoice on a host: installed, speaking, upgraded, taken back, removed.

Upstream is the STAND-IN of tests/standin_cosyvoice, see standin.py; the code that installs is real.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from roles.model.files import model
from tests.e2e import voice
from tests.e2e.standin import Upstream, bring
from tests.e2e.test_preflight import refusal
from tests.e2e.tier import BUILD, ROOT, Run, Tier, changes, mark
from tests.testbed import Host, Testbed
from tests.testbed.pip import WHEELHOUSE

LIMIT_S = 60


@dataclass(frozen=True)
class Site:
    """A tier on one host with kind cosyvoice, and what site.yml is told."""

    tier: Tier
    upstream: Upstream
    values: dict[str, object]

    def arguments(self, **values: object) -> list[str]:
        """Extra variables for ansible-playbook."""
        return ["-e", json.dumps(self.values | values)]

    def play(self, *arguments: str, **values: object) -> Run:
        """site.yml with the values."""
        return self.tier.play("site", *arguments, *self.arguments(**values))

    def files(self, folder: str) -> list[str]:
        """The names in a folder of the host that don't begin with a dot."""
        return self.tier.host.run("ls", folder).stdout.split()


@pytest.fixture(scope="module")
def site(
    bed: Testbed,
    control: Path,
    tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
) -> Iterator[Site]:
    """A bare host with the stand-in's repositories and model on its disk."""
    same = pytestconfig.getoption("--same-hosts")
    host = bed.host("ae-engine") if same else bed.up("ae-engine", suite="bookworm")
    upstream, given = bring(host, tmp_path_factory.mktemp("engine"))
    inventory = BUILD / "engine.yml"
    BUILD.mkdir(parents=True, exist_ok=True)
    own = bed.inventory_yaml(names=[host.name]).replace("ae-engine:", "voice-demo:")
    inventory.write_text(own, encoding="utf-8")
    tier = Tier("engine", host, [ROOT / "inventories/demo", inventory], control)
    tier.url = f"http://{host.ip}"
    values: dict[str, object] = {
        "service_build": str(BUILD / "engine/wheel"),
        "service_jobs_per_gpu": 1,
        "engine_pip_args": ["--find-links", WHEELHOUSE],
    }
    yield Site(tier, upstream, given | values)
    if not pytestconfig.getoption("--keep-hosts"):
        host.down()


def still_speaks(site: Site, prompt: bytes) -> None:
    """The host answers as the real kind, and clones nothing away."""
    with site.tier.client() as client:
        assert client.get("/readyz").status_code == 200
        answer = voice.speak(client, prompt)
    assert voice.seconds(answer.content) > 1
    said = {name.lower(): value for name, value in answer.headers.items()}
    assert said["x-cosyhost-engine"].startswith("cosyvoice"), said


def test_a_first_run_under_check_changes_nothing(site: Site) -> None:
    mark(site.tier.host)
    run = site.play("--check")
    assert run.rc == 0, run.tail
    assert changes(site.tier.host) == []


def test_a_bare_host_speaks_through_upstream(site: Site, prompt: bytes) -> None:
    run = site.play()
    assert run.rc == 0, run.tail
    still_speaks(site, prompt)
    (engine,) = site.files("/opt/cosyhost/engines")[:1]
    upstream = f"/opt/cosyhost/engines/{engine}/upstream"
    head = site.tier.host.run("git", "-C", upstream, "rev-parse", "HEAD").stdout.strip()
    assert head == site.values["engine_upstream_commit"]
    assert site.files(f"{upstream}/third_party/Matcha-TTS") == ["README.md", "matcha"]


def test_a_second_run_changes_nothing(site: Site) -> None:
    run = site.play()
    assert run.rc == 0, run.tail
    assert run.recap("voice-demo")["changed"] == 0, run.tail
    print(f"no-change run: {run.seconds:.1f} s, limit {LIMIT_S} s")


def test_a_damaged_model_is_mended(site: Site) -> None:
    (folder,) = site.files("/var/lib/cosyhost/models")
    path = f"/var/lib/cosyhost/models/{folder}/llm.pt"
    whole = site.tier.host.run("cat", path).stdout
    site.tier.host.run("sh", "-c", f"echo damaged >{path}")
    assert site.play().rc == 0
    assert site.tier.host.run("cat", path).stdout == whole


def test_a_model_that_does_not_come_whole_replaces_nothing(site: Site, prompt: bytes) -> None:
    before = site.files("/var/lib/cosyhost/models")
    manifest = json.loads(Path(str(site.values["model_manifest"])).read_text(encoding="utf-8"))
    manifest["files"]["flow.pt"]["sha256"] = "0" * 64
    other = Path(str(site.values["model_manifest"])).with_name("other.json")
    other.write_text(json.dumps(manifest), encoding="utf-8")
    said = refusal(site.play(model_manifest=str(other)), "COSY-MODEL-SHA")
    assert "flow.pt is not what the manifest names" in said
    assert site.files("/var/lib/cosyhost/models") == before
    still_speaks(site, prompt)


def test_a_commit_that_is_not_there_is_said(site: Site, prompt: bytes) -> None:
    said = refusal(site.play(engine_upstream_commit="0" * 40), "COSY-ENGINE-UPSTREAM")
    assert "engine_upstream_url" in said
    still_speaks(site, prompt)


def test_a_broken_release_of_upstream_never_serves(site: Site, prompt: bytes) -> None:
    before = site.tier.release()
    broken = site.upstream.commit('raise ImportError("broken on purpose")')
    site.upstream.put(site.tier.host)
    said = refusal(site.play(engine_upstream_commit=broken), "COSY-SERVICE-GATE")
    assert "broken on purpose" in said
    assert site.tier.release() == before
    still_speaks(site, prompt)


def test_an_upgrade_keeps_the_engine_and_model_of_the_release_before(
    site: Site, prompt: bytes, tmp_path: Path
) -> None:
    before = site.tier.release()
    models = set(site.files("/var/lib/cosyhost/models"))
    tree = site.upstream.folder / "upstream/cosyvoice/cli/cosyvoice.py"
    text = tree.read_text(encoding="utf-8")
    tree.write_text(text.replace('raise ImportError("broken on purpose")', ""), encoding="utf-8")
    mended = site.upstream.commit("# mended")
    site.upstream.put(site.tier.host)
    manifest = json.loads(Path(str(site.values["model_manifest"])).read_text(encoding="utf-8"))
    extra = b"another"
    site.tier.host.put(extra, "/srv/model/extra.txt")
    (tmp_path / "extra.txt").write_bytes(extra)
    manifest["files"] |= model.describe(tmp_path, "x")["files"]
    other = tmp_path / "newer.json"
    other.write_text(json.dumps(manifest), encoding="utf-8")
    values = {"engine_upstream_commit": mended, "model_manifest": str(other)}
    run = site.play(**values)
    assert run.rc == 0, run.tail
    assert site.tier.release() != before
    still_speaks(site, prompt)
    assert models < set(site.files("/var/lib/cosyhost/models"))
    for release in (before, site.tier.release()):
        python = f"/opt/cosyhost/{release}/worker/bin/python"
        found = site.tier.host.run(python, "-c", "import cosyvoice; print(cosyvoice.__file__)")
        assert "/opt/cosyhost/engines/cosyvoice-" in found.stdout


# A server of this kind needs a GPU and gigabytes: what is tried is its unit, its gate and its way
# back. The program is a STAND-IN that answers /health, and on port 8092 doesn't start.
STANDIN_VLLM = """#!/usr/bin/python3
import http.server, os, pathlib, sys
port = int(sys.argv[sys.argv.index("--port") + 1])
model = pathlib.Path(sys.argv[2])
cache = pathlib.Path(os.environ["XDG_CACHE_HOME"])
if port == 8092:
    sys.exit("broken on purpose")
assert sys.argv[1] == "serve" and "cosyvoice3" in model.name and "--omni" in sys.argv
assert sys.argv[sys.argv.index("--host") + 1] == "127.0.0.1"
assert os.environ["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == os.environ["COSYVOICE3_TRT"] == "0"
assert (cache / "s3tokenizer/speech_tokenizer_v3_25hz.onnx").is_file()
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", port), Health).serve_forever()
"""
SMI = "#!/bin/sh\necho '0, GPU-1, NVIDIA L20, 590.48.01, 8.9, 46068'\n"
UNIT = "/etc/systemd/system/cosyhost-vllm.service"


def test_the_vllm_server_is_gated_and_the_one_before_comes_back(site: Site) -> None:
    host = site.tier.host
    host.put(SMI, "/usr/local/bin/nvidia-smi", 0o755)
    values: dict[str, object] = {
        "engine_kind": "vllm_omni",
        "engine_accelerator": "cu130",
        "engine_ready_timeout_s": 15,
    }
    only = ("--tags", "model,engine")
    run = site.play(*only, **values)  # there is no program yet
    assert run.rc != 0
    assert "[COSY-ENGINE-NOT-READY]" in run.said, run.tail
    assert host.run("test", "-e", UNIT, check=False).returncode == 1
    names = site.files("/opt/cosyhost/engines")
    (folder,) = [name for name in names if name.startswith("vllm") and not name.endswith("lock")]
    host.put(STANDIN_VLLM, f"/opt/cosyhost/engines/{folder}/venv/bin/vllm", 0o755)
    run = site.play(*only, **values)
    assert run.rc == 0, run.tail
    assert health(host, 8091)
    moved = values | {"engine_url": "http://127.0.0.1:8092"}
    run = site.play(*only, **moved)
    assert "[COSY-ENGINE-NOT-READY]" in run.said, run.tail
    assert "broken on purpose" in run.said
    assert ":8092" not in host.run("cat", UNIT).stdout
    assert health(host, 8091)


def health(host: Host, port: int) -> bool:
    """Whether the server answers; it may have been started just now."""
    url = f"http://127.0.0.1:{port}/health"
    ask = f"import urllib.request as r; print(r.urlopen({url!r}).status)"
    retry = f'for _ in $(seq 50); do python3 -c "{ask}" && exit; sleep 0.2; done; exit 1'
    return host.run("sh", "-c", retry, check=False).returncode == 0


def test_uninstall_takes_engines_and_purge_the_models(site: Site) -> None:
    run = site.tier.play("uninstall", *site.arguments())
    assert run.rc == 0, run.tail
    gone = f"/opt/cosyhost {UNIT} /var/cache/cosyhost-vllm"
    there = site.tier.host.run("sh", "-c", f"ls -d {gone} /var/lib/cosyhost/models || true")
    assert there.stdout.split() == ["/var/lib/cosyhost/models"]
    run = site.tier.play("uninstall", *site.arguments(purge=True))
    assert run.rc == 0, run.tail
    assert site.tier.host.run("test", "-e", "/var/lib/cosyhost", check=False).returncode == 1
