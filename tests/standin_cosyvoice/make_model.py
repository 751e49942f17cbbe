"""Write the model directory of the STAND-IN: the file names of the real one, a few bytes each.

python -m tests.standin_cosyvoice.make_model /var/lib/cosyhost/models/standin
"""

from __future__ import annotations

import sys
from pathlib import Path

FILES = (
    "cosyvoice3.yaml",
    "llm.pt",
    "flow.pt",
    "hift.pt",
    "campplus.onnx",
    "speech_tokenizer_v3.onnx",
    "flow.decoder.estimator.fp32.onnx",
    "CosyVoice-BlankEN/config.json",
    "CosyVoice-BlankEN/model.safetensors",
)


def make_model(folder: Path) -> Path:
    """The directory, made or made anew; returns it."""
    for name in FILES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"STAND-IN for {name}: no weights.\n", encoding="utf-8")
    return folder


if __name__ == "__main__":
    print(make_model(Path(sys.argv[1])))
