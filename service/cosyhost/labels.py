"""What every output says of itself: that a machine made it, and which."""

from __future__ import annotations

from cosyhost import __version__


def output_comment(engine: str, preview: bool, job_id: str) -> str:
    """The comment tag of an output file (WAV INFO/ICMT, Vorbis and ID3 comment)."""
    what = "PREVIEW, no cloned voice" if preview else "cloned voice"
    return f"AI-generated speech; {what}; engine {engine}; CosyHost {__version__}; job {job_id}"
