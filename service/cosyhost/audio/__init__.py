"""Sound as bytes: prompt audio checked and normalised, outputs encoded."""

from cosyhost.audio.encode import MEDIA_TYPES, encode, wav_header
from cosyhost.audio.mark import sign, without
from cosyhost.audio.prompt import Prompt, keep_decoder_waiting, read_prompt

__all__ = [
    "MEDIA_TYPES",
    "Prompt",
    "encode",
    "keep_decoder_waiting",
    "read_prompt",
    "sign",
    "wav_header",
    "without",
]
