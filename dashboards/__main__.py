"""`python -m dashboards [FOLDER]`: write every dashboard as Grafana's JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import gpu, network, overview, requests, storage

FOLDER = Path(__file__).parent / "json"


def rendered() -> dict[str, str]:
    """The text of each file by its name."""
    made = [module.make() for module in (overview, network, requests, gpu, storage)]
    return {
        f"{one.uid}.json": json.dumps(one, cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"
        for one in made
    }


def main(folder: Path) -> None:
    """Write them, and remove what is no dashboard any more."""
    files = rendered()
    for path in folder.glob("*.json"):
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
