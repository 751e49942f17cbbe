"""The stand-in for upstream's CosyVoice brought into this process, for tests."""

from __future__ import annotations

import sys
from pathlib import Path

from cosyhost import config
from tests.standin_cosyvoice.make_model import make_model

COSYVOICE = Path(__file__).parent / "standin_cosyvoice"


def cosyvoice(folder: Path) -> config.Engine:
    """Settings of an engine whose model lies in `folder` and whose upstream can be imported."""
    if str(COSYVOICE) not in sys.path:
        sys.path.insert(0, str(COSYVOICE))
    return config.Engine("cosyvoice", str(make_model(folder)), "", "none")
