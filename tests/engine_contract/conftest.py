"""Which engine is put to the test: one of your choice, or those every machine can run.

    COSYHOST_ENGINE=cosyvoice COSYHOST_MODEL_DIR=/path pytest tests/engine_contract
    COSYHOST_ENGINE=vllm_omni COSYHOST_ENGINE_URL=http://127.0.0.1:8091 pytest tests/engine_contract

COSYHOST_ACCELERATION is none, fp16 or tensorrt. Without COSYHOST_ENGINE it is the preview engine,
and the adapters in front of stand-ins for their upstreams.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cosyhost import config, engines
from tests import prompts, standin_vllm_omni, standins

CHOSEN = os.environ.get("COSYHOST_ENGINE", "")


@pytest.fixture(
    scope="session", params=[CHOSEN] if CHOSEN else ["espeak", "standin_cosyvoice", "standin_vllm"]
)
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[engines.Engine]:
    """A loaded engine."""
    if request.param == "standin_vllm":
        with standin_vllm_omni.served() as server:
            loaded = engines.create(config.Engine("vllm_omni", "", server.url, "none"))
            loaded.load()
            yield loaded
        return
    if request.param == "standin_cosyvoice":
        settings = standins.cosyvoice(tmp_path_factory.mktemp("model"))
    else:
        chosen = {
            "kind": request.param,
            "model_dir": os.environ.get("COSYHOST_MODEL_DIR", ""),
            "url": os.environ.get("COSYHOST_ENGINE_URL", ""),
            "acceleration": os.environ.get("COSYHOST_ACCELERATION", "none"),
        }
        settings = msgspec.convert(chosen, config.Engine)
    loaded = engines.create(settings)
    loaded.load()
    yield loaded


@pytest.fixture(scope="session")
def prompt_audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody who says `prompts.TRANSCRIPT`."""
    path = tmp_path_factory.mktemp("prompt") / "prompt.wav"
    path.write_bytes(prompts.good())
    return path
