"""The engine that clones: upstream's CosyVoice3, run in this process and guarded."""

from cosyhost.engines.cosyvoice.engine import CosyVoice

__all__ = ["CosyVoice"]
