"""Consent: what counts as one, where it is needed, and how ends of jobs come into the trail."""

from __future__ import annotations

from cosyhost.errors import CONSENT_MISSING, Problem
from cosyhost.jobs import JobEnd
from cosyhost.trail import Record, moment
from cosyhost.web.services import Services
from cosyhost.web.user import user_id

MOST_CHARS = 500
Given = bool | str | None
"""As clients send it: words, such as who agreed or the id of a record of it, or a tick."""

_NO = frozenset({"", "0", "false", "no", "none", "null", "off", "undefined", "否", "不同意"})


def given(consent: Given) -> str:
    """The words of a consent; empty where it is none."""
    words = "true" if consent is True else str(consent or "").strip()
    return "" if words.casefold() in _NO else words


def need(services: Services, consent: str) -> None:
    """Return if a voice may be cloned with this consent.

    Raises:
        Problem: CONSENT_MISSING.
    """
    if services.config.consent == "required" and not consent:
        raise Problem(CONSENT_MISSING)


def record_ends(services: Services) -> int:
    """Bring the ends of jobs into the trail; returns how many.

    Raises:
        OSError: an end is not written; it is tried again the next time.
        Problem: QUEUE_UNAVAILABLE.
    """
    if services.trail.off:
        return 0

    def record(job: JobEnd) -> None:
        services.trail.append(
            Record(
                time=moment(job.finished),
                event="speech",
                outcome=job.state,
                code=job.code,
                job=job.id,
                user=user_id(job.user),
                mode=job.mode,
                engine=job.engine,
                preview=job.preview if job.engine else None,
                audio_s=job.audio_s,
                took_s=round(job.finished - job.created, 3),
            )
        )

    return services.ledger.record_ends(record)
