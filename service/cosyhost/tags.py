"""Where a label lies in WAV, FLAC, Ogg and MP3: written by the service, read by `cosyhost inspect`.

The field `AIGC` lies where TC260-PG-202510A (the practice guide on audio files to GB 45438-2025)
wants it: in WAV a chunk `AIGC`, in FLAC and Ogg a Vorbis comment `AIGC`, in MP3 an ID3v2 frame TXXX
described `AIGC`. Program, date and comment are each container's usual ones, and in WAV a `bext`
chunk besides (EBU Tech 3285).

Why no library does it: libsndfile writes and reads none of the containers' free fields, FFmpeg none
of WAV's, and mutagen knows neither LIST/INFO nor bext. Readers take 1 MiB of any one field at most
and step over the sound.
"""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from cosyhost.errors import INSPECT_CUT, INSPECT_NOT_AUDIO, Problem
from cosyhost.labels import SERVICE, Label

_FIELD_BYTES = 1 << 20
# No file that a program wrote has more chunks, blocks, frames or pages before its tags end.
_PARTS = 4096
_STEP_BYTES = 1 << 16
_COMMENT_BLOCK, _LAST_BLOCK = 4, 0x80
_OPEN_END = 0xFFFFFFFF
_OGG_CODECS = (b"OpusHead", b"\x01vorbis", b"\x7fFLAC")


# Writing


def wav_chunks(label: Label, sample_rate: int) -> bytes:
    """What stands between `fmt ` and `data` of a 16-bit mono WAV: bext, LIST/INFO, AIGC."""
    info = b"INFO" + b"".join(
        _chunk(name, value.encode("ascii") + b"\0")
        for name, value in (
            (b"ICMT", label.comment),
            (b"ICRD", label.created),
            (b"ISFT", label.software),
        )
    )
    return (
        _chunk(b"bext", _bext(label, sample_rate))
        + _chunk(b"LIST", info)
        + _chunk(b"AIGC", label.aigc.encode("ascii"))
    )


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _bext(label: Label, sample_rate: int) -> bytes:
    """EBU Tech 3285, version 1: no UMID; the sound begins at midnight's sample 0."""
    date, _, time = label.created.rstrip("Z").partition("T")
    head = struct.pack(
        "<256s32s32s10s8sQH64s190s",
        *(text.encode("ascii") for text in (label.comment, SERVICE, label.job, date, time)),
        *(0, 1, b"", b""),
    )
    history = f"A=PCM,F={sample_rate},W=16,M=mono,T={label.software}\r\n"
    return head + history.encode("ascii")


def tag_flac(data: bytes, label: Label) -> bytes:
    """The FLAC file with the label for its only Vorbis comment."""
    blocks, at, last = [], 4, False
    while not last:
        kind, size = data[at], int.from_bytes(data[at + 1 : at + 4], "big")
        body = data[at + 4 : at + 4 + size]
        at, last = at + 4 + size, bool(kind & _LAST_BLOCK)
        if kind & ~_LAST_BLOCK != _COMMENT_BLOCK:
            blocks.append((kind & ~_LAST_BLOCK, body))
    blocks.insert(1, (_COMMENT_BLOCK, _vorbis_comment(label)))  # STREAMINFO comes first
    head = b"".join(
        bytes([kind | (_LAST_BLOCK if number == len(blocks) else 0)])
        + len(body).to_bytes(3, "big")
        + body
        for number, (kind, body) in enumerate(blocks, 1)
    )
    return data[:4] + head + data[at:]


def tag_opus(data: bytes, label: Label) -> bytes:
    """The Ogg Opus file with the label for its comment header, a page of its own (RFC 7845)."""
    first = _page_size(data, 0)
    second = first + _page_size(data, first)
    packet = b"OpusTags" + _vorbis_comment(label)
    table = b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255])
    page = bytearray(data[first : first + 22] + bytes(4) + bytes([len(table)]) + table + packet)
    page[22:26] = struct.pack("<I", _ogg_crc(bytes(page)))
    return data[:first] + bytes(page) + data[second:]


def _vorbis_comment(label: Label) -> bytes:
    entries = (
        f"COMMENT={label.comment}",
        f"DATE={label.created}",
        f"ENCODER={label.software}",
        f"AIGC={label.aigc}",
    )
    texts = [text.encode("ascii") for text in (label.software, *entries)]
    counted = [struct.pack("<I", len(text)) + text for text in texts]
    return counted[0] + struct.pack("<I", len(entries)) + b"".join(counted[1:])


def _page_size(data: bytes, at: int) -> int:
    segments = data[at + 26]
    return 27 + segments + sum(data[at + 27 : at + 27 + segments])


def _ogg_crc(page: bytes) -> int:
    """The checksum of RFC 3533, 6: CRC-32 with polynomial 0x04c11db7, unreflected, from zero."""
    table, crc = _crc_table(), 0
    for byte in page:
        crc = (crc << 8 & 0xFFFFFFFF) ^ table[crc >> 24 ^ byte]
    return crc


@functools.cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for number in range(256):
        crc = number << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
        table.append(crc)
    return tuple(table)


def id3(label: Label) -> bytes:
    """An ID3v2.4 tag, to stand before the MP3's first frame."""
    utf8 = b"\x03"
    frames = b"".join(
        name + _syncsafe(len(body)) + b"\0\0" + body
        for name, body in (
            (b"COMM", utf8 + b"eng\0" + label.comment.encode("ascii")),
            (b"TDRC", utf8 + label.created.rstrip("Z").encode("ascii")),
            (b"TSSE", utf8 + label.software.encode("ascii")),
            (b"TXXX", utf8 + b"AIGC\0" + label.aigc.encode("ascii")),
        )
    )
    # ExifTool calls a tag that ends with its last frame damaged.
    frames += bytes(16)
    return b"ID3\x04\0\0" + _syncsafe(len(frames)) + frames


def _syncsafe(number: int) -> bytes:
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


# Reading


@dataclass
class Found:
    """A file's container (wav, flac, ogg, mp3), and what its comments and `AIGC` fields say."""

    container: str
    comments: list[str] = field(default_factory=list)
    aigc: list[str] = field(default_factory=list)

    def add(self, name: str, value: bytes | str) -> None:
        """Keep what a label may be in; `name` as Vorbis comments have it."""
        text = value if isinstance(value, str) else value.decode("utf-8", "replace")
        text = text.rstrip("\0 ")
        if name.upper() in ("COMMENT", "DESCRIPTION"):
            self.comments.append(text)
        elif name.upper() == "AIGC":
            self.aigc.append(text)


def read(stream: BinaryIO) -> Found:
    """Read a file's tags from its beginning; the stream need not be able to seek.

    Raises:
        Problem: INSPECT_NOT_AUDIO, or INSPECT_CUT when the file ends within its tags.
        OSError: as the stream raises it.
    """
    source = _Source(stream)
    magic = source.some(12)
    if magic[:4] in (b"RIFF", b"RF64") and magic[8:] == b"WAVE":
        return _read_wav(source)
    source.back(magic)
    if magic[:4] == b"fLaC":
        return _read_flac(source)
    if magic[:4] == b"OggS":
        return _read_ogg(source)
    if magic[:3] == b"ID3":
        return _read_id3(source)
    # A frame's first bits, of MPEG audio layer III (the number 01).
    if len(magic) > 1 and magic[0] == 0xFF and magic[1] & 0xE6 == 0xE2:
        return Found("mp3")
    raise Problem(INSPECT_NOT_AUDIO)


class _Source:
    """A stream that is read forward only, in bounded pieces."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._ahead = b""
        self._seekable = stream.seekable()

    def back(self, data: bytes) -> None:
        """Have `data` come again."""
        self._ahead = data + self._ahead

    def some(self, size: int) -> bytes:
        """`size` bytes, or fewer at the end."""
        parts, self._ahead = [self._ahead[:size]], self._ahead[size:]
        missing = size - len(parts[0])
        while missing and (part := self._stream.read(missing)):  # a pipe gives what it has
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def take(self, size: int) -> bytes:
        """`size` bytes.

        Raises:
            Problem: INSPECT_CUT.
        """
        data = self.some(size)
        if len(data) < size:
            raise Problem(INSPECT_CUT)
        return data

    def skip(self, size: int) -> None:
        """Step over `size` bytes, if there are so many."""
        size -= len(self.some(min(size, len(self._ahead))))
        if self._seekable:
            self._stream.seek(size, io.SEEK_CUR)
            return
        while size and (part := self._stream.read(min(size, _STEP_BYTES))):
            size -= len(part)


def _read_wav(source: _Source) -> Found:
    found, described = Found("wav"), []
    for _ in range(_PARTS):
        head = source.some(8)
        if len(head) < 8:
            break
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if name == b"data" and size == _OPEN_END:  # a stream's: what follows is sound
            break
        if name not in (b"LIST", b"AIGC", b"bext") or size > _FIELD_BYTES:
            source.skip(size + size % 2)
            continue
        body = source.take(size)
        source.some(size % 2)
        if name == b"AIGC":
            found.add("AIGC", body)
        elif name == b"bext":
            described.append(body[:256])
        elif body[:4] == b"INFO":
            for kind, value in _info(body):
                found.add({b"ICMT": "COMMENT", b"AIGC": "AIGC"}.get(kind, ""), value)
    for text in described:
        found.add("COMMENT", text)
    return found


def _info(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 4
    while at + 8 <= len(body):
        size = int.from_bytes(body[at + 4 : at + 8], "little")
        yield body[at : at + 4], body[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _read_flac(source: _Source) -> Found:
    found = Found("flac")
    source.take(4)
    for _ in range(_PARTS):
        kind, size = source.take(1)[0], int.from_bytes(source.take(3), "big")
        if kind & ~_LAST_BLOCK == _COMMENT_BLOCK and size <= _FIELD_BYTES:
            _comments(source.take(size), found)
        else:
            source.skip(size)
        if kind & _LAST_BLOCK:
            break
    return found


def _read_ogg(source: _Source) -> Found:
    """The second packet of the first stream (Opus, Vorbis, or FLAC in Ogg)."""
    found, serial = Found("ogg"), None
    packet, packets = bytearray(), 0
    for _ in range(_PARTS):
        head = source.take(27)
        if head[:4] != b"OggS":
            raise Problem(INSPECT_CUT)
        table = source.take(head[26])
        serial = serial or head[14:18]
        if head[14:18] != serial:
            source.skip(sum(table))
            continue
        for size in table:
            packet += source.take(size)
            if size < 255 or len(packet) > _FIELD_BYTES:
                packets += 1
                if packets == 2:
                    _comments(bytes(packet[_before_comments(packet) :]), found)
                    return found
                if not packet.startswith(_OGG_CODECS):
                    raise Problem(INSPECT_NOT_AUDIO)
                packet.clear()
    return found


def _before_comments(packet: bytearray) -> int:
    """How many bytes of an Ogg's second packet name it: of FLAC's, its block's head does."""
    return next((len(mark) for mark in (b"OpusTags", b"\x03vorbis") if packet.startswith(mark)), 4)


def _comments(body: bytes, found: Found) -> None:
    """Vorbis comments: a vendor, then entries NAME=value. What does not fit in is not there."""
    at = 4 + int.from_bytes(body[:4], "little")
    count = int.from_bytes(body[at : at + 4], "little")
    at += 4
    while count and at + 4 <= len(body):
        size = int.from_bytes(body[at : at + 4], "little")
        name, _, value = body[at + 4 : at + 4 + size].partition(b"=")
        found.add(name.decode("ascii", "replace"), value)
        at, count = at + 4 + size, count - 1


def _read_id3(source: _Source) -> Found:
    """ID3v2.3 and 2.4. Of 2.2, which no program writes any more, nothing is read."""
    found = Found("mp3")
    head = source.take(10)
    version, flags, size = head[3], head[5], _number(head[6:10])
    unsynchronised = bool(flags & 0x80) and version == 3
    if version not in (3, 4):
        return found
    if unsynchronised:  # the whole tag is; FF 00 stands for FF
        if size > _FIELD_BYTES:
            return found
        plain = source.take(size).replace(b"\xff\0", b"\xff")
        source, size = _Source(io.BytesIO(plain)), len(plain)
    if flags & 0x40:
        extended = source.take(4)
        more = _number(extended) - 4 if version == 4 else int.from_bytes(extended, "big")
        source.skip(max(0, more))
        size -= 4 + more
    for _ in range(_PARTS):
        if size < 10:
            break
        frame = source.take(10)
        length = _number(frame[4:8]) if version == 4 else int.from_bytes(frame[4:8], "big")
        size -= 10 + length
        if not frame[0] or size < 0:  # padding, or a frame longer than its tag
            break
        if frame[:4] not in (b"TXXX", b"COMM") or length > _FIELD_BYTES or not length:
            source.skip(length)
            continue
        body = source.take(length)
        if version == 4:
            body = body[4:] if frame[9] & 0x01 else body
            body = body.replace(b"\xff\0", b"\xff") if frame[9] & 0x02 else body
        described, text = _texts(body[:1] + body[4:] if frame[:4] == b"COMM" else body)
        found.add("COMMENT" if frame[:4] == b"COMM" else described, text)
    return found


def _number(syncsafe: bytes) -> int:
    return functools.reduce(lambda number, byte: number << 7 | byte & 0x7F, syncsafe, 0)


def _texts(body: bytes) -> tuple[str, str]:
    """The two strings of a frame, whose first byte says how they are written."""
    codecs = {0: "latin-1", 1: "utf-16", 2: "utf-16-be", 3: "utf-8"}
    codec = codecs.get(body[0] if body else 0, "latin-1")
    if codec.startswith("utf-16"):
        end = next((at for at in range(1, len(body) - 1, 2) if body[at : at + 2] == b"\0\0"), 1)
        parts = body[1:end], body[end + 2 :]
    else:
        described, _, text = body[1:].partition(b"\0")
        parts = described, text
    described_text, text_text = (part.decode(codec, "replace") for part in parts)
    return described_text, text_text
