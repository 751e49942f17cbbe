"""`python -m dashboards.render URL FOLDER [MINUTES]`: a PNG of each dashboard, from live data.

URL is a Prometheus. `make pictures PROMETHEUS=URL` installs Grafana's components (420 MB) beside
this file first; Chromium and a Chinese font must be there.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, sync_playwright

HERE = Path(__file__).parent
DOCUMENTS = HERE.parent / "json"
PAGE = '<!doctype html><body style="margin:0"><div id="root"></div></body>'
WIDTH = 1400
POINTS = 240
ALL = {"$tier": ".*", "$instance": ".*", "$device": ".*"}
Series = dict[str, Any]


def filled(expr: str, span_s: int) -> str:
    """An expression as Grafana would send it, all of everything chosen."""
    values = ALL | {"$__rate_interval": "1m", "$__range": f"{span_s}s"}
    return re.sub(r"\$\w+", lambda match: values[match[0]], expr)


def name(legend: str, labels: dict[str, str]) -> str:
    """A series' name as the legend's template has it."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), legend)


def answers(http: httpx.Client, panel: dict[str, Any], end: float, span_s: int) -> list[Series]:
    """What the panel's queries return, in milliseconds and numbers; null where there is none."""
    found: list[Series] = []
    for target in panel["targets"]:
        asked = {"query": filled(target["expr"], span_s)}
        if target.get("instant"):
            told = http.get("/api/v1/query", params=asked | {"time": str(end)})
            rows = [(row["metric"], [row["value"]]) for row in told.json()["data"]["result"]]
        else:
            step = max(span_s // POINTS, 5)
            when = {"start": str(end - span_s), "end": str(end), "step": str(step)}
            told = http.get("/api/v1/query_range", params=asked | when)
            rows = [(row["metric"], row["values"]) for row in told.json()["data"]["result"]]
        found += [
            {
                "name": name(target["legendFormat"], labels),
                "points": [[at * 1000, None if v == "NaN" else float(v)] for at, v in points],
            }
            for labels, points in rows
        ]
    return found


def told(http: httpx.Client, document: dict[str, Any], minutes: int) -> dict[str, Any]:
    """What the page is told: a dashboard, its answers, the time they are of."""
    end, span_s = time.time(), minutes * 60
    found = {panel["id"]: answers(http, panel, end, span_s) for panel in document["panels"]}
    when = {"from": (end - span_s) * 1000, "to": end * 1000}
    return {"dashboard": document, "answers": found, "width": WIDTH} | when


def bundled(folder: Path) -> Path:
    """The page's script with Grafana's components in it."""
    script = folder / "draw.js"
    esbuild = next(HERE.glob("node_modules/@esbuild/*/bin/esbuild"))
    subprocess.run(
        [esbuild, HERE / "draw.tsx", "--bundle", "--minify", "--jsx=automatic",
         f"--outfile={script}", '--define:process.env.NODE_ENV="production"',
         "--loader:.svg=dataurl", "--loader:.ttf=empty", "--log-level=error"],
        check=True,
    )  # fmt: skip
    return script


def draw(browser: Browser, script: Path, what: dict[str, Any], to: Path) -> None:
    """One picture.

    Raises:
        RuntimeError: the page failed.
    """
    page = browser.new_page(viewport={"width": WIDTH, "height": 900})
    failed: list[str] = []
    page.on("pageerror", lambda error: failed.append(str(error)))
    # An address of its own: pages without one have no storage, which the components ask for.
    page.route("**/*", lambda route: route.fulfill(body=PAGE, content_type="text/html"))
    page.goto("http://pictures.invalid/")
    page.evaluate("told => Object.assign(window, told)", what)
    page.add_style_tag(path=script.with_suffix(".css"))
    page.add_script_tag(path=script)
    page.wait_for_timeout(1500)
    if failed:
        raise RuntimeError(f"{to.name}: {failed[0]}")
    page.locator("#board").screenshot(path=to)
    page.close()


def main(url: str, folder: Path, minutes: int) -> None:
    """Ask, bundle, draw."""
    if not subprocess.run(["fc-list", ":lang=zh"], capture_output=True, check=True).stdout:
        sys.exit("pictures: no font has Chinese here: apt install fonts-wqy-microhei")
    with (
        tempfile.TemporaryDirectory() as scratch,
        httpx.Client(base_url=url, timeout=30) as http,
        sync_playwright() as play,
    ):
        script = bundled(Path(scratch))
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for path in sorted(DOCUMENTS.glob("*.json")):
            document = json.loads(path.read_text(encoding="utf-8"))
            draw(browser, script, told(http, document, minutes), folder / f"{path.stem}.png")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 30)
