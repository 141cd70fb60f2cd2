"""Encryption of everything stored outside the process: AES-256-GCM with keys derived by HKDF.

Row names are HMACs, and an entry's identity and name are bound to its ciphertext: rows reveal
nothing, and can be neither swapped nor read in another place. Lengths are padded.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import stat
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from s1crets._redaction import Redacted, redact
from s1crets.errors import ConfigurationError, NotPrivateError

_KEY = 32  # bytes of a key
_NONCE = 12
_SMALLEST = 256  # bytes of a padded record; larger records are padded to a power of two
_LENGTH = struct.Struct("!I")
_VARIABLE = "S1CRETS_CACHE_KEY"
_ARGUMENT = "cache_args: cache_key"
PLAIN = "s1crets:plain:"
"""The prefix of all rows that are not encrypted."""


def new_key() -> str:
    """Return a random key in the form that `cache_key` takes."""
    return base64.b64encode(os.urandom(_KEY)).decode()


def read_keys(given: Any) -> list[Redacted]:
    """Return the key ring of a `cache_key` argument or the environment; the first key encrypts.

    Args:
        given: 32 bytes, base64 of them, the path of a private file with that text, a function that
            returns any of these, or a list of them; None for the environment's.

    Raises:
        TypeError: any other type.
        ConfigurationError: a `ValueError`: a key is not 32 bytes long.
        NotPrivateError: a `PermissionError`: others can read the file.
    """
    given, origin = redact(given), _ARGUMENT
    if given.reveal() is None:
        # An environment variable can't hold a list: several keys are separated by commas.
        ring = os.environ.get(_VARIABLE, "")
        given, origin = Redacted(ring.split(",") if ring else []), f"the variable {_VARIABLE}"
    elif not isinstance(given.reveal(), (list, tuple)):
        given = Redacted([given.reveal()])
    elif not given.reveal():
        raise ConfigurationError(f"{_ARGUMENT} is an empty list")
    return [_read_key(member, origin) for member in map(redact, given.reveal())]


def _read_key(given: Redacted, origin: str) -> Redacted:
    if callable(given.reveal()):
        given = Redacted(given.reveal()())
    if isinstance(given.reveal(), Path):
        given = _from_file(given.reveal())
    if isinstance(given.reveal(), str):
        given = _from_base64(given, origin)
    if not isinstance(given.reveal(), bytes):
        kind = type(given.reveal()).__name__
        raise TypeError(f"{_ARGUMENT} must be bytes, str, Path or a function, not {kind}")
    if len(given.reveal()) != _KEY:
        size = len(given.reveal())
        raise ConfigurationError(
            f"{origin} must be {_KEY} bytes (as text: base64 of them), not {size};"
            " `s1crets new-key` prints a new key"
        )
    return given


def _from_base64(text: Redacted, origin: str) -> Redacted:
    try:
        return Redacted(base64.b64decode(text.reveal().strip(), validate=True))
    except ValueError:
        pass  # the error's context would contain the key
    path = ", and a file that contains a key is passed as a pathlib.Path"
    raise ConfigurationError(
        f"{origin} is not base64; `s1crets new-key` prints a new key"
        + (path if origin == _ARGUMENT else "")
    )


def _from_file(path: Path) -> Redacted:
    """Read a key from a file that nobody else can read, checked after it was opened."""
    flags = os.O_RDONLY | os.O_NONBLOCK  # opening a pipe would wait
    with open(os.open(path, flags), encoding="ascii", errors="replace") as file:  # noqa: PTH123
        status = os.fstat(file.fileno())
        mode = stat.S_IMODE(status.st_mode)
        if status.st_uid not in (os.geteuid(), 0) or mode & 0o077:
            raise NotPrivateError(
                f"cache_args: the file of cache_key, {path}, has the mode {mode:04o} and belongs"
                f" to the user {status.st_uid}: it must be yours, with the mode 0600"
            )
        return Redacted(file.read())


class Cipher(Protocol):
    """Turns contexts into row names, and records into texts."""

    mark: str
    prefix: str

    def name(self, context: bytes) -> str:
        """Return the name that stands for a context."""
        ...

    def encrypt(self, body: bytes, context: bytes) -> str:
        """Return `body` as a text that can be decrypted in the same context only."""
        ...

    def decrypt(self, text: object, context: bytes) -> bytes | None:
        """Return the encrypted body, or None if it was not encrypted with this key and context."""
        ...


class PlainCipher:
    """Stores records unencrypted, for caches without a `cache_key`."""

    mark = ""
    prefix = PLAIN

    def name(self, context: bytes) -> str:
        """Return a digest: short, and free of control characters, as Memcached demands."""
        return hashlib.sha256(context).hexdigest()[:40]

    def encrypt(self, body: bytes, context: bytes) -> str:  # noqa: ARG002
        """Return the record as text."""
        return binascii.b2a_base64(body, newline=False).decode()

    def decrypt(self, text: object, context: bytes) -> bytes | None:  # noqa: ARG002
        """Return the record of a text."""
        try:
            return binascii.a2b_base64(text)  # type: ignore[arg-type]
        except (ValueError, TypeError):
            return None


class AesCipher:
    """One key of the caller's and the keys derived from it."""

    prefix = "s1crets:encrypted:"

    def __init__(self, key: Redacted) -> None:
        aead, hkdf, sha256 = _cryptography()

        def derived(purpose: bytes) -> bytes:
            made: bytes = hkdf(algorithm=sha256(), length=_KEY, salt=None, info=purpose).derive(
                key.reveal()
            )
            return made

        self._aead = aead(derived(b"s1crets 1 seal"))
        self._names = derived(b"s1crets 1 names")
        self.mark = derived(b"s1crets 1 mark").hex()[:16]

    def name(self, context: bytes) -> str:
        """Return the HMAC of a context."""
        return hmac.digest(self._names, context, "sha256").hex()

    def encrypt(self, body: bytes, context: bytes) -> str:
        """Return `body` encrypted and padded."""
        size = max(_SMALLEST, 1 << (_LENGTH.size + len(body) - 1).bit_length())
        padded = (_LENGTH.pack(len(body)) + body).ljust(size, b"\0")
        nonce = os.urandom(_NONCE)
        data = nonce + self._aead.encrypt(nonce, padded, context)
        return binascii.b2a_base64(data, newline=False).decode()

    def decrypt(self, text: object, context: bytes) -> bytes | None:
        """Return the body, or None for another key, another context, or a damaged text."""
        try:
            data = binascii.a2b_base64(text)  # type: ignore[arg-type]
            padded: bytes = self._aead.decrypt(data[:_NONCE], data[_NONCE:], context)
        except (ValueError, TypeError, _invalid_tag()):
            return None
        (size,) = _LENGTH.unpack_from(padded)
        return padded[_LENGTH.size : _LENGTH.size + size]


def key_ring(keys: Sequence[Redacted]) -> list[Cipher]:
    """Return the ciphers of a key ring; without keys, the one that does not encrypt."""
    return [AesCipher(key) for key in keys] or [PlainCipher()]


def framed(*texts: str) -> bytes:
    """Return texts after their lengths, so that no other texts give the same bytes."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    return b"".join(_LENGTH.pack(len(text)) + text for text in encoded)


def _cryptography() -> tuple[Any, Any, Any]:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    except ImportError as error:
        message = "cache_key needs the extra `encryption`: pip install 's1crets[encryption]'"
        raise ConfigurationError(message) from error
    return AESGCM, HKDF, SHA256


def _invalid_tag() -> type[Exception]:
    from cryptography.exceptions import InvalidTag

    return InvalidTag
