"""One kept connection to a service's front door, and a problem for each way it can fail.

Proxies of the environment (HTTPS_PROXY and so on) are not used: their line is not the one asked
about.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import time
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from cosyhost.errors import (
    NETCHECK_BROKEN_OFF,
    NETCHECK_MOVED,
    NETCHECK_NOT_COSYHOST,
    NETCHECK_REFUSED,
    NETCHECK_TLS_FAILED,
    NETCHECK_TOO_OFTEN,
    NETCHECK_UNREACHABLE,
    NETCHECK_URL_INVALID,
    Kind,
    Problem,
)

PATH = "/v1/netcheck"
CONNECT_S = 5
SILENCE_S = 15
# A transfer of a check is planned to take a few seconds; one that takes so long stands still.
TRANSFER_S = 30
_BLOCK_BYTES = 16_384
_DOCUMENT_BYTES = 65_536


class Door:
    """The service at `url`; only its origin counts.

    Args:
        url: as a browser opens it, `http://host` or `https://host:port`.
        ca: certificates to trust in the place of the system's, for an internal CA.

    Raises:
        Problem: NETCHECK_URL_INVALID, or NETCHECK_TLS_FAILED where `ca` cannot be read. All methods
            raise the kinds that this module imports.
    """

    def __init__(self, url: str, ca: Path | None = None) -> None:
        scheme, host, port = _origin(url)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"{scheme}://{shown}" + (f":{port}" if port else "")
        self._client: http.client.HTTPConnection
        if scheme == "https":
            try:
                context = ssl.create_default_context(cafile=ca)
            except OSError as error:
                raise self._problem(NETCHECK_TLS_FAILED, reason=f"{ca}: {error}") from error
            self._client = http.client.HTTPSConnection(
                host, port, timeout=CONNECT_S, context=context
            )
        else:
            self._client = http.client.HTTPConnection(host, port, timeout=CONNECT_S)

    def connect(self) -> None:
        """Open the connection, if it is not."""
        if self._client.sock is None:
            self._connect()

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def greet(self) -> dict[str, Any]:
        """What the service says of a check: the document of GET /v1/netcheck."""
        self.connect()
        try:
            self._client.request("GET", PATH, headers={"Accept": "application/json"})
            answer = self._client.getresponse()
            data = answer.read(_DOCUMENT_BYTES)
        except http.client.RemoteDisconnected as error:
            raise self._problem(NETCHECK_NOT_COSYHOST, reason="it hangs up") from error
        except http.client.HTTPException as error:
            raise self._problem(NETCHECK_NOT_COSYHOST, reason="it speaks no HTTP") from error
        except OSError as error:
            raise self._broken("greeting", _reason(error)) from error
        if answer.status != 200:
            self._refused(answer, data)
        try:
            document = json.loads(data)
        except ValueError:
            document = None
        if not isinstance(document, dict) or document.get("service") != "cosyhost":
            kind = answer.headers.get("Content-Type", "something else")
            raise self._problem(NETCHECK_NOT_COSYHOST, reason=f"it answers with {kind}")
        return document

    def not_ours(self, reason: str) -> Problem:
        """The service greeted in words that are none of this program's."""
        return self._problem(NETCHECK_NOT_COSYHOST, reason=reason)

    def ping(self) -> float:
        """Seconds of an empty request, there and back."""
        self.connect()
        began = time.perf_counter()
        self._answer("ping", "GET", "/ping").read()
        return time.perf_counter() - began

    def download(self, size: int) -> tuple[int, float]:
        """Bytes that came and seconds since they were asked for.

        Fewer than `size` come only where it took TRANSFER_S.
        """
        self.connect()
        began = time.perf_counter()
        answer = self._answer("download", "GET", f"/download?bytes={size}")
        come = 0
        while come < size:
            try:
                block = answer.read1(_BLOCK_BYTES * 4)
            except (OSError, http.client.HTTPException) as error:
                raise self._broken("download", _reason(error)) from error
            come += len(block)
            if not block or come > size:
                raise self._broken("download", f"{come} of {size} bytes came")
            if come < size and time.perf_counter() - began > TRANSFER_S:
                self.close()  # the rest would come before the next answer
                return come, time.perf_counter() - began
        seconds = time.perf_counter() - began
        answer.read()  # nothing, or the connection could not be asked again
        return come, seconds

    def upload(self, size: int) -> float:
        """Seconds until the service has said that all of `size` bytes are there."""
        data = memoryview(os.urandom(size))
        self.connect()
        began = time.perf_counter()
        try:
            self._client.putrequest("POST", f"{PATH}/upload", skip_accept_encoding=True)
            self._client.putheader("Content-Type", "application/octet-stream")
            self._client.putheader("Content-Length", str(size))
            self._client.endheaders()
            for at in range(0, size, _BLOCK_BYTES):
                self._client.send(data[at : at + _BLOCK_BYTES])
                if time.perf_counter() - began > TRANSFER_S:
                    raise TimeoutError
        except TimeoutError as error:
            raise self._broken("upload", f"{size} bytes took over {TRANSFER_S} s") from error
        except (OSError, http.client.HTTPException) as error:
            # Who refuses a body may say so and close before it is all sent.
            try:
                answer = self._client.getresponse()
                said = answer.read(_DOCUMENT_BYTES)
            except (OSError, http.client.HTTPException):
                raise self._broken("upload", _reason(error)) from error
            self._refused(answer, said)
        answer = self._response("upload")
        try:
            taken = json.loads(answer.read(_DOCUMENT_BYTES))["bytes"]
        except (OSError, http.client.HTTPException) as error:
            raise self._broken("upload", _reason(error)) from error
        except (ValueError, KeyError, TypeError) as error:
            raise self.not_ours("its answer to an upload is none") from error
        if taken != size:
            raise self._broken("upload", f"{taken} of {size} bytes arrived")
        return time.perf_counter() - began

    def _connect(self) -> None:
        try:
            self._client.connect()
            self._client.sock.settimeout(SILENCE_S)
        except ssl.SSLCertVerificationError as error:
            raise self._problem(NETCHECK_TLS_FAILED, reason=error.verify_message) from error
        except ssl.SSLError as error:
            reason = (error.reason or str(error)).replace("_", " ").lower()
            raise self._problem(NETCHECK_TLS_FAILED, reason=reason) from error
        except UnicodeError as error:
            raise self._problem(NETCHECK_URL_INVALID, reason="no such host name") from error
        except socket.gaierror as error:
            raise self._problem(NETCHECK_UNREACHABLE, reason="its name is not known") from error
        except OSError as error:
            raise self._problem(NETCHECK_UNREACHABLE, reason=_reason(error)) from error

    def _answer(self, step: str, method: str, path: str) -> http.client.HTTPResponse:
        try:
            self._client.request(method, PATH + path)
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(step, _reason(error)) from error
        return self._response(step)

    def _response(self, step: str) -> http.client.HTTPResponse:
        try:
            answer = self._client.getresponse()
            if answer.status not in (200, 204):
                self._refused(answer, answer.read(_DOCUMENT_BYTES))
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(step, _reason(error)) from error
        return answer

    def _refused(self, answer: http.client.HTTPResponse, data: bytes) -> NoReturn:
        """Any answer but a good one, in our words."""
        status = answer.status
        if status in (301, 302, 303, 307, 308):
            location = answer.headers.get("Location", "?")
            raise self._problem(NETCHECK_MOVED, location=location)
        try:
            said = json.loads(data)
        except ValueError:
            said = None
        ours = isinstance(said, dict) and str(said.get("type")).startswith("urn:cosyhost:")
        if ours and status == 429:
            raise self._problem(NETCHECK_TOO_OFTEN)
        if not ours or status == 404:
            kind = answer.headers.get("Content-Type", "nothing")
            raise self._problem(NETCHECK_NOT_COSYHOST, reason=f"it answers {status}, {kind}")
        assert isinstance(said, dict)
        reason = f"{status} {said.get('code')}: {str(said.get('detail', '')).rstrip('.')}"
        raise self._problem(NETCHECK_REFUSED, reason=reason)

    def _broken(self, step: str, reason: str) -> Problem:
        self.close()
        return self._problem(NETCHECK_BROKEN_OFF, step=step, reason=reason)

    def _problem(self, kind: Kind, **figures: Any) -> Problem:
        return Problem(kind, url=self.url, **figures)


def _reason(error: Exception) -> str:
    """An error of the line in a few words."""
    if isinstance(error, TimeoutError):
        return "it keeps silent"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of an address."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise Problem(NETCHECK_URL_INVALID, url=url, reason=str(error)) from error
    wrong = ""
    if parts.scheme not in ("http", "https"):
        wrong = "it begins with neither http:// nor https://"
    elif not host or not host.isprintable() or any(mark in host for mark in " <>\"'\\^`{|}%"):
        wrong = "it names no host"
    elif parts.username is not None:
        wrong = "it holds a user name"
    elif port == 0:
        wrong = "its port is 0"
    if wrong or not host:
        raise Problem(NETCHECK_URL_INVALID, url=url, reason=wrong)
    return parts.scheme, host, port
