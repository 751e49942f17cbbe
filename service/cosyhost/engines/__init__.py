"""The engines: one small interface, and the one place that knows which of them runs."""

from __future__ import annotations

from cosyhost import config
from cosyhost.engines.interface import Engine, Speech

__all__ = ["Engine", "Speech", "create"]


def create(settings: config.Engine) -> Engine:
    """The engine of the settings, not yet loaded."""
    if settings.kind == "cosyvoice":
        from cosyhost.engines.cosyvoice import CosyVoice

        return CosyVoice(settings)
    if settings.kind == "vllm_omni":
        from cosyhost.engines.vllm_omni import VllmOmni

        return VllmOmni(settings)
    from cosyhost.engines.espeak import Espeak

    return Espeak()
