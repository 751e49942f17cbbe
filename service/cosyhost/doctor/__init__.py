"""`cosyhost doctor`: says in plain words what is wrong with this host, and what to do about it."""

from cosyhost.doctor.run import run

__all__ = ["run"]
