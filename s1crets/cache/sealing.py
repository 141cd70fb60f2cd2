"""Encryption of what leaves the process: AES-256-GCM, with keys that HKDF makes of the caller's.

A row's key is an HMAC, and its identity and name are bound to its value: rows tell nothing, and can
be neither swapped nor read in another place. Lengths are padded.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s1crets._redaction import Redacted, redact
from s1crets.errors import ConfigurationError, NotPrivateError

if TYPE_CHECKING:
    from collections.abc import Sequence

_KEY = 32  # bytes of a key
_NONCE = 12
_SMALLEST = 256  # bytes of a padded record; larger ones are a power of two
_LENGTH = struct.Struct("!I")
_VARIABLE = "S1CRETS_CACHE_KEY"


def new_key() -> str:
    """Return a key at random, as `cache_key` takes it."""
    return base64.b64encode(os.urandom(_KEY)).decode()


def read_keys(given: Any) -> list[Redacted]:
    """Return the keys that a `cache_key` argument means, or the environment's: the first writes.

    Args:
        given: 32 bytes, base64 of them, the path of a private file with that text, a function that
            returns one of these, or a list of those; None for the environment's.

    Raises:
        TypeError: it is something else.
        ValueError: a key is not 32 bytes long.
        NotPrivateError: a `PermissionError`: others can read the file.
    """
    given = redact(given)
    if given.reveal() is None:
        # An environment can't hold a list: several keys are separated by commas.
        ring = os.environ.get(_VARIABLE, "")
        given = Redacted(ring.split(",") if ring else [])
    elif not isinstance(given.reveal(), (list, tuple)):
        given = Redacted([given.reveal()])
    elif not given.reveal():
        raise ValueError("cache_args: cache_key is an empty list")
    return [_read_key(box) for box in map(redact, given.reveal())]


def _read_key(given: Redacted) -> Redacted:
    if callable(given.reveal()):
        given = Redacted(given.reveal()())
    if isinstance(given.reveal(), Path):
        given = _from_file(given.reveal())
    if isinstance(given.reveal(), str):
        given = _from_base64(given)
    if not isinstance(given.reveal(), bytes):
        kind = type(given.reveal()).__name__
        message = f"cache_args: cache_key can't be {kind}: it is bytes, str, Path or a function"
        raise TypeError(message)
    if len(given.reveal()) != _KEY:
        size = len(given.reveal())
        message = (
            f"cache_args: cache_key must be {_KEY} bytes (as str: base64 of them), not {size};"
            " `s1crets new-key` prints one"
        )
        raise ValueError(message)
    return given


def _from_base64(text: Redacted) -> Redacted:
    try:
        return Redacted(base64.b64decode(text.reveal().strip(), validate=True))
    except ValueError:
        pass  # its context would be kept, and have the key in it
    raise ValueError(
        "cache_args: cache_key is not base64; `s1crets new-key` prints one, and a file that has one"
        " is passed as a pathlib.Path"
    )


def _from_file(path: Path) -> Redacted:
    """Read a key from a file that nobody else can read, checked on what was opened."""
    flags = os.O_RDONLY | os.O_NONBLOCK  # a pipe would keep whoever opens it waiting
    with open(os.open(path, flags), encoding="ascii", errors="replace") as file:  # noqa: PTH123
        status = os.fstat(file.fileno())
        mode = stat.S_IMODE(status.st_mode)
        if status.st_uid not in (os.geteuid(), 0) or mode & 0o077:
            message = (
                f"cache_args: the file of cache_key, {path}, has the mode {mode:04o} and belongs"
                f" to the user {status.st_uid}: it must be yours, with the mode 0600"
            )
            raise NotPrivateError(message)
        return Redacted(file.read())


class Seal:
    """One key of the caller's, and those derived from it.

    Attributes:
        mark: tells this key from others, and nothing of it.
    """

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
        """Return what stands for a context in a row's key."""
        return hmac.digest(self._names, context, "sha256").hex()

    def close(self, body: bytes, context: bytes) -> str:
        """Return `body` encrypted, to be opened in the same context only."""
        size = max(_SMALLEST, 1 << (_LENGTH.size + len(body) - 1).bit_length())
        padded = (_LENGTH.pack(len(body)) + body).ljust(size, b"\0")
        nonce = os.urandom(_NONCE)
        data = nonce + self._aead.encrypt(nonce, padded, context)
        return binascii.b2a_base64(data, newline=False).decode()

    def open(self, sealed: object, context: bytes) -> bytes | None:
        """Return what was closed, or None if it was not with this key, or in another context."""
        try:
            data = binascii.a2b_base64(sealed)  # type: ignore[arg-type]
            padded: bytes = self._aead.decrypt(data[:_NONCE], data[_NONCE:], context)
        except (ValueError, TypeError, _invalid_tag()):
            return None
        (size,) = _LENGTH.unpack_from(padded)
        return padded[_LENGTH.size : _LENGTH.size + size]


def framed(text: str) -> bytes:
    """Return a text after its length, so that several in a row are no other several."""
    encoded = text.encode("utf-8", "surrogatepass")
    return _LENGTH.pack(len(encoded)) + encoded


def seals(keys: Sequence[Redacted]) -> list[Seal]:
    """Return the seals of a key ring."""
    return [Seal(key) for key in keys]


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
