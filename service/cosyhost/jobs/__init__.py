"""Jobs: the ledger in Redis, the Celery app that carries their ids, the stream that brings audio.

The ledger is the truth; a Celery message only says "look at job X". So a message delivered twice
does no work twice, and a job whose message was lost is published again.
"""

from cosyhost.jobs.broker import TASK, Broker, queue_of
from cosyhost.jobs.connection import connect
from cosyhost.jobs.fleet import UNIT_STATES, Fleet, Unit, UnitState
from cosyhost.jobs.healing import UNSEEN_S, Healer
from cosyhost.jobs.job import (
    ENDED,
    MODES,
    Ended,
    Job,
    JobEnd,
    Mark,
    Mode,
    State,
    Status,
    new_job_id,
    output_key,
)
from cosyhost.jobs.keys import audio as audio_stream_key
from cosyhost.jobs.ledger import HEARTBEAT_S, Ledger
from cosyhost.jobs.stream import AudioWriter

__all__ = [
    "ENDED",
    "HEARTBEAT_S",
    "MODES",
    "TASK",
    "UNIT_STATES",
    "UNSEEN_S",
    "AudioWriter",
    "Broker",
    "Ended",
    "Fleet",
    "Healer",
    "Job",
    "JobEnd",
    "Ledger",
    "Mark",
    "Mode",
    "State",
    "Status",
    "Unit",
    "UnitState",
    "audio_stream_key",
    "connect",
    "new_job_id",
    "output_key",
    "queue_of",
]
