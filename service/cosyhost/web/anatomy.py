"""Where a job's seconds went, and how responses say so."""

from __future__ import annotations

from cosyhost.jobs import Ended, Status

# TCP's first flight (RFC 6928: 10 segments of at most 1,460 bytes): as much arrives at once on any
# line, so the time it took measures nothing.
FIRST_FLIGHT_BYTES = 14_600


def phases(job: Status | Ended) -> dict[str, float]:
    """Seconds by phase, of those that are over: upload, queue, ttfa, synth, encode.

    `ttfa` is the time to the first audio since the job was asked for; it overlaps with the others.
    """
    known: dict[str, float] = {"upload": job.upload_s}
    if job.started is not None:
        known["queue"] = job.started - job.created
        if job.first_audio is not None:
            known["ttfa"] = job.first_audio - job.created
        if job.finished is not None:
            encode = job.encode_s or 0.0
            known["synth"] = job.finished - job.started - encode
            known["encode"] = encode
    return known


def upload_was_measured(job: Status | Ended) -> bool:
    """Whether its upload seconds say something of the line it came over."""
    return job.upload_bytes > FIRST_FLIGHT_BYTES and job.upload_s > 0


def server_timing(timings: dict[str, float], upload_bytes: int) -> dict[str, str]:
    """The header of that name (W3C Server Timing), in milliseconds, from seconds by phase.

    The upload's description are its bytes; nginx takes all figures from here into its log.
    """
    parts = [f"{name};dur={seconds * 1000:.1f}" for name, seconds in timings.items()]
    if parts and upload_bytes:
        parts[0] += f';desc="{upload_bytes} bytes"'
    return {"Server-Timing": ", ".join(parts)}
