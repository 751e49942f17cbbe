"""Sound as bytes: prompt audio checked and normalised, outputs encoded."""

from cosyhost.audio.encode import MEDIA_TYPES, encode, wav_header
from cosyhost.audio.prompt import Prompt, read_prompt

__all__ = [
    "MEDIA_TYPES",
    "Prompt",
    "encode",
    "read_prompt",
    "wav_header",
]
