"""Jobs as Prometheus is told of them: how they ended, where their seconds went, on which lines."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from cosyhost.engines import Engine
from cosyhost.jobs import MODES, Ended
from cosyhost.web.anatomy import phases, upload_was_measured
from cosyhost.web.download_clock import Download

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120)
_BYTES = (1e4, 3e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7, 2e7)
# 0.1 to 1,000 Mbit/s, which is 125,000 bytes per second each.
_BYTES_PER_S = tuple(mbps * 125_000 for mbps in (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 100, 1000))
_RTF = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10)

_OUTCOMES = ("done", "failed", "cancelled")
# Of jobs that no worker ever took.
_NO_ENGINE = "none"


class JobMetrics:
    """Counters and histograms of jobs, without any user's data in a label."""

    def __init__(self, registry: CollectorRegistry, engine: Engine) -> None:
        self._jobs = Counter(
            "cosyhost_jobs",
            "Jobs that ended; preview=1 was spoken by the preview engine, no clone.",
            ["mode", "engine", "preview", "outcome"],
            registry=registry,
        )
        # A series that begins at 1 shows no increase: the first failure would not be seen.
        for mode in MODES:
            for outcome in _OUTCOMES:
                self._jobs.labels(mode, engine.name, str(int(engine.preview)), outcome)
        self._audio = Counter(
            "cosyhost_audio_seconds",
            "Seconds of speech made, audible signs with it; grows while jobs are spoken.",
            ["engine"],
            registry=registry,
        )
        self._audio.labels(engine.name)
        self._phases = Histogram(
            "cosyhost_job_phase_seconds",
            "Seconds of a job by phase. ttfa, to the first audio since it was asked for, overlaps "
            "with queue and synth; download, while a client took the sound, with synth where it "
            "was streamed. upload: of jobs that brought a recording.",
            ["phase", "mode", "engine", "outcome"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._upload_bytes = Histogram(
            "cosyhost_job_upload_bytes",
            "Bytes that came while a user waited for an upload.",
            ["mode"],
            buckets=_BYTES,
            registry=registry,
        )
        self._download_bytes = Histogram(
            "cosyhost_job_download_bytes",
            "Bytes of sound that a client took.",
            ["format"],
            buckets=_BYTES,
            registry=registry,
        )
        self._uplink = Histogram(
            "cosyhost_job_uplink_bytes_per_second",
            "Rate of an upload as the user's side saw it; 125000 is 1 Mbit/s.",
            buckets=_BYTES_PER_S,
            registry=registry,
        )
        self._rtf = Histogram(
            "cosyhost_job_rtf",
            "Seconds of synthesis per second of speech.",
            ["mode", "engine"],
            buckets=_RTF,
            registry=registry,
        )

    def ended(self, job: Ended) -> None:
        """Count a job that the ledger says has ended."""
        engine = job.engine or _NO_ENGINE
        self._jobs.labels(job.mode, engine, str(int(job.preview)), job.state).inc()
        spent = phases(job)
        if upload_was_measured(job):
            self._upload_bytes.labels(job.mode).observe(job.upload_bytes)
            self._uplink.observe(job.upload_bytes / job.upload_s)
        else:
            del spent["upload"]
        for phase, seconds in spent.items():
            self._phases.labels(phase, job.mode, engine, job.state).observe(max(0.0, seconds))
        if job.state == "done" and job.audio_s and job.audio_s > job.mark_s:
            speech_s = job.audio_s - job.mark_s  # the sign costs no synthesis
            self._rtf.labels(job.mode, engine).observe(max(0.0, spent["synth"]) / speech_s)

    def spoken(self, engine: str, seconds: float) -> None:
        """Count speech that was made."""
        self._audio.labels(engine).inc(seconds)

    def downloaded(self, download: Download, seconds: float, size: int, outcome: str) -> None:
        """Count a response that brought sound; of one that broke off the bytes say nothing."""
        self._phases.labels("download", download.mode, download.engine, outcome).observe(seconds)
        if outcome == "done":
            self._download_bytes.labels(download.format).observe(size)
