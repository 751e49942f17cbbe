"""The voice library: prompts by content, voices by name, both in the store."""

from __future__ import annotations

import hashlib
import re
import time
import unicodedata

import msgspec

from cosyhost.audio import Prompt
from cosyhost.errors import VOICE_EXISTS, VOICE_NAME_INVALID, VOICE_SHARED, VOICE_UNKNOWN, Problem
from cosyhost.store import AlreadyExistsError, Store

# Letters and digits of any script, and joiners; the first is no joiner.
_NAME = re.compile(r"[^\W_][\w \-]{0,63}")
# A prompt that no voice names may still be wanted by a waiting job or an open page.
UNNAMED_PROMPT_TTL_S = 24 * 3600


class Voice(msgspec.Struct, frozen=True, kw_only=True):
    """A stored prompt with its text, by a name; without an `owner` it is of the shared library."""

    name: str
    prompt: str
    prompt_text: str
    description: str
    consent: str
    seconds: float
    created: float
    owner: str = ""


def prompt_key(sha256: str) -> str:
    """Where the store keeps a prompt audio."""
    return f"voices/prompts/{sha256}.wav"


def _voice_key(name: str, owner: str) -> str:
    """Names are any script and case; keys are hexadecimal, safe for every store."""
    folder = f"voices/names/{owner}" if owner else "voices/names"
    return f"{folder}/{hashlib.sha256(name.casefold().encode()).hexdigest()[:40]}.json"


def clean_name(name: str) -> str:
    """The name as it is kept.

    Raises:
        Problem: VOICE_NAME_INVALID.
    """
    name = unicodedata.normalize("NFC", name).strip()
    if not _NAME.fullmatch(name):
        raise Problem(VOICE_NAME_INVALID)
    return name


class Library:
    """Voices and their prompts.

    An `owner` has the shared library before them and their own voices over it, which nobody else
    sees; only the latter are theirs to change. Without one it is the shared library alone.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep_prompt(self, prompt: Prompt) -> str:
        """Store a checked prompt under its SHA-256; writing it again makes it young for `sweep`."""
        self._store.put(prompt_key(prompt.sha256), prompt.wav)
        return prompt.sha256

    def has_prompt(self, sha256: str) -> bool:
        """Whether a prompt is there."""
        return self._store.exists(prompt_key(sha256))

    def create(self, voice: Voice) -> Voice:
        """Enter a voice whose prompt is kept; it appears whole or not at all.

        Raises:
            Problem: VOICE_NAME_INVALID or VOICE_EXISTS.
        """
        voice = msgspec.structs.replace(voice, name=clean_name(voice.name))
        try:
            self._store.put(_voice_key(voice.name, voice.owner), msgspec.json.encode(voice), new=True)
        except AlreadyExistsError:
            raise Problem(VOICE_EXISTS, name=voice.name) from None
        return voice

    def rename(self, name: str, new_name: str, owner: str = "") -> Voice:
        """Give a voice another name. If it breaks off in between, both names are there.

        Raises:
            Problem: VOICE_UNKNOWN, VOICE_SHARED, VOICE_NAME_INVALID or VOICE_EXISTS.
        """
        old = self.own(name, owner)
        key = _voice_key(old.name, owner)
        if _voice_key(clean_name(new_name), owner) == key:  # another case of letters
            new = msgspec.structs.replace(old, name=clean_name(new_name))
            self._store.put(key, msgspec.json.encode(new))
            return new
        new = self.create(msgspec.structs.replace(old, name=new_name))
        self._store.delete(key)
        return new

    def listen(self, name: str, owner: str = "") -> bytes:
        """The prompt audio of a voice, a WAV file.

        Raises:
            Problem: VOICE_UNKNOWN.
        """
        data = self._store.get(prompt_key(self.get(name, owner).prompt))
        if data is None:
            raise Problem(VOICE_UNKNOWN, name=name[:64])
        return data

    def get(self, name: str, owner: str = "") -> Voice:
        """The voice of that name.

        Raises:
            Problem: VOICE_UNKNOWN.
        """
        clean = unicodedata.normalize("NFC", name).strip()
        data = self._store.get(_voice_key(clean, owner))
        if data is None and owner:
            data = self._store.get(_voice_key(clean, ""))
        if data is None:
            raise Problem(VOICE_UNKNOWN, name=name[:64])
        return msgspec.json.decode(data, type=Voice)

    def own(self, name: str, owner: str) -> Voice:
        """The same, if it is the owner's to change.

        Raises:
            Problem: VOICE_UNKNOWN or VOICE_SHARED.
        """
        voice = self.get(name, owner)
        if voice.owner != owner:
            raise Problem(VOICE_SHARED, name=voice.name)
        return voice

    def all(self, owner: str = "") -> list[Voice]:
        """Every voice that the owner may use, by name."""
        named: dict[str, Voice] = {}
        for voice in self._everybodys():
            folded = voice.name.casefold()
            if voice.owner == owner or (not voice.owner and folded not in named):
                named[folded] = voice
        return [named[folded] for folded in sorted(named)]

    def _everybodys(self) -> list[Voice]:
        found = (self._store.get(key) for key, _ in self._store.keys("voices/names"))
        return [msgspec.json.decode(data, type=Voice) for data in found if data]

    def delete(self, name: str, owner: str = "") -> None:
        """Remove the name; its prompt goes once nobody has used it for a day.

        Raises:
            Problem: VOICE_UNKNOWN or VOICE_SHARED.
        """
        self._store.delete(_voice_key(self.own(name, owner).name, owner))

    def sweep(self) -> int:
        """Remove prompts that no voice names and that are older than a day; returns how many."""
        named = {prompt_key(voice.prompt) for voice in self._everybodys()}
        oldest = time.time() - UNNAMED_PROMPT_TTL_S
        stale = [
            key
            for key, changed in self._store.keys("voices/prompts")
            if key not in named and changed < oldest
        ]
        for key in stale:
            self._store.delete(key)
        return len(stale)
