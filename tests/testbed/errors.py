"""What can go wrong: one line for the user, and the exit code that goes with it."""

from __future__ import annotations

from collections.abc import Sequence


class TestbedError(Exception):
    """Something failed while working; the message says what to do."""

    __test__ = False  # the name looks like a test class to pytest
    exit_code = 1


class UsageError(TestbedError):
    """The call or the machine is not as it must be; nothing was touched."""

    exit_code = 2


class CommandError(TestbedError):
    """A program ended with an error; keeps its output for the caller."""

    def __init__(
        self, command: Sequence[str], returncode: int, stdout: str = "", stderr: str = ""
    ) -> None:
        self.command = list(command)
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr
        said = [line for line in (stderr or stdout).splitlines() if line.strip()]
        detail = said[-1].strip() if said else "it said nothing"
        super().__init__(f"'{' '.join(self.command)}' ended with {returncode}: {detail}")
