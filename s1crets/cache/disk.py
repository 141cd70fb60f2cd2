"""An aiocache backend on disk: shared by processes, kept between runs, no pickle, private."""

from __future__ import annotations

import logging
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiocache.base import BaseCache
from aiocache.serializers import StringSerializer

from s1crets._runtime import on_fork, run_in_thread
from s1crets.cache.database import FAILURES, Database
from s1crets.cache.writing import Writer
from s1crets.errors import NotPrivateError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from s1crets.cache.claims import Claims

_log = logging.getLogger("s1crets.cache")
_STAMP = struct.Struct("!dd")  # when an entry was stored, and when it expires: wall clock
_REST = 5.0  # seconds that a disk which failed is left alone


class DiskCache(BaseCache):  # type: ignore[misc]  # aiocache has no type hints
    """Entries in a folder that only its owner can read.

    Reads are made where they are asked for (5 µs; a reader in WAL mode waits for no writer), writes
    and the opening in a worker thread. When the disk fails, that is a miss and one warning, and it
    is left alone for a while.

    Args:
        folder: where; made if it is not there.
        size: how many entries it holds.
        clock: the wall clock in seconds; injected by tests, as the timer is.
        timer: monotonic seconds.

    Raises:
        PermissionError: at first use, when others than the owner can get into the folder.
    """

    NAME = "s1crets-disk"

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        size: int = 1000,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(serializer=StringSerializer(), timeout=0)
        self.folder = Path(folder)
        self.size = size
        self._clock = clock
        self._timer = timer
        self._database = Database(self.folder, timer)
        self._writer = Writer(self._write_all)
        self._rests_until = {"opened": 0.0, "read": 0.0, "written": 0.0}
        self._warned = False
        on_fork(self)

    def after_fork(self) -> None:
        """Write by way of this process's own threads."""
        self._writer = Writer(self._write_all)

    @property
    def claims(self) -> Claims | None:
        """The claims of this process on the entries of the folder, once it is open."""
        return self._database.claims

    def __len__(self) -> int:
        return len(self._database.cache) if self._database.cache is not None else 0

    def peek(self, key: str) -> str | None:
        """Return the text of `key`, or None; also None while the file is not open."""
        cache = self._database.cache
        if cache is None or self._rests("read"):
            return None
        try:
            self._database.check()
            with self._database.reading:
                record = cache.get(key)
        except FAILURES as error:
            self._failed("read", error)
            return None
        return self._text(record)

    def _text(self, record: bytes | None) -> str | None:
        """Return the text of a row, or None if it has expired or is none of ours."""
        if record is None:
            return None
        try:
            stored, expires = _STAMP.unpack_from(record)
            # An entry from the future means that the clock was set back: its age is not known.
            fresh = stored <= self._clock() < expires
            return record[_STAMP.size :].decode("utf-8", "surrogatepass") if fresh else None
        except (ValueError, struct.error):
            return None

    def look(self, key: str) -> str | None:
        """Return the text of `key`, or None, within a transaction, which a failure ends."""
        return self._text(self._database.cache.get(key))

    def open(self) -> None:
        """Open the file, if it is not open. Blocks, for 150 ms at most while others lock it."""
        if self._database.cache is not None or self._rests("opened"):
            return
        with self._database.writing:
            if self._database.cache is None:
                self._open()

    def _open(self) -> None:
        if self._fails_to_open():
            self._fails_to_open()  # a damaged file was found: this makes a new one

    def _fails_to_open(self) -> bool:
        """Open the file; if that fails, return whether to try it again may help at once."""
        try:
            self._database.open()
        except NotPrivateError:
            raise
        except FAILURES as error:
            return self._failed("opened", error)
        return False

    def _rests(self, verb: str) -> bool:
        return self._timer() < self._rests_until[verb]

    def _failed(self, verb: str, error: Exception) -> bool:
        """Warn, once. Leave the disk alone for a while, or say that to open it again may help."""
        if not self._warned:
            self._warned = True
            _log.warning(
                "the disk cache in %s can't be %s (%s: %s); going on without it",
                self.folder, verb, type(error).__name__, error,
            )  # fmt: skip
        if self._database.failed(error):
            return True
        self._rests_until[verb] = self._timer() + _REST
        return False

    async def _get(
        self,
        key: str,
        encoding: object = None,  # noqa: ARG002
        _conn: object = None,
    ) -> str | None:
        found = self.peek(key)
        if self._database.cache is None:
            await run_in_thread(self.open)
            found = self.peek(key)
        return found

    async def _set(
        self,
        key: str,
        value: str,
        ttl: float | None = None,
        _cas_token: Callable[[str, str | None], bool] | None = None,
        _conn: object = None,
    ) -> bool:
        wanted = _cas_token or _always
        return bool(await self._writer.do(lambda: self._store(key, value, ttl, wanted)))

    async def fill(
        self,
        entries: Mapping[str, str],
        ttl: float,
        wanted: Callable[[str, str | None], bool],
        *,
        room_only: bool,
    ) -> None:
        """Store several, each if it is wanted; with `room_only`, while nothing is pushed out."""
        await self._writer.do(lambda: self._fill(entries, ttl, wanted, room_only=room_only))

    def _fill(
        self,
        entries: Mapping[str, str],
        ttl: float,
        wanted: Callable[[str, str | None], bool],
        *,
        room_only: bool,
    ) -> None:
        for key, value in entries.items():
            if room_only and len(self._database.cache) >= self.size:
                break
            self._store(key, value, ttl, wanted)

    async def _delete(self, key: str, _conn: object = None) -> int:
        return int(await self._writer.do(lambda: self._database.cache.delete(key)) or 0)

    async def _clear(self, namespace: str | None = None, _conn: object = None) -> bool:
        return bool(await self._writer.do(lambda: self._clear_now(namespace)))

    async def replace(
        self, namespaces: Sequence[str], entries: Mapping[str, str], ttl: float
    ) -> None:
        """Put some entries in the place of all in some namespaces, at once."""

        def replace() -> bool:
            for namespace in namespaces:
                self._clear_now(namespace)
            for key, value in entries.items():
                self._store(key, value, ttl, _always)
            return True

        await self._writer.do(replace)

    async def purge(self, namespace: str) -> None:
        """Remove what begins with `namespace`, so that it does not stand in any file."""
        await self.clear(namespace=namespace)
        await run_in_thread(self._database.empty_journal)

    def _clear_now(self, namespace: str | None) -> bool:
        for key in list(self._database.cache.iterkeys()):
            if namespace is None or key.startswith(namespace):
                self._database.cache.delete(key)
        return True

    async def _close(self, *_args: object, **_kwargs: object) -> None:
        await self._database.aclose()

    def _write_all(self, writes: list[Callable[[], Any]]) -> list[Any]:
        """Make some writes in one transaction; return None for each if the disk fails."""
        self._check()
        self.open()
        with self._database.writing:
            if self._database.cache is None or self._rests("written"):
                return [None] * len(writes)
            try:
                return self._database.transact(writes)
            except FAILURES as error:
                self._failed("written", error)
                return [None] * len(writes)

    def _check(self) -> None:
        """Close the file if it has gone."""
        if self._database.cache is not None:
            try:
                self._database.check(now=True)
            except FAILURES as error:
                self._failed("read", error)

    def _store(
        self, key: str, value: str, ttl: float | None, wanted: Callable[[str, str | None], bool]
    ) -> bool:
        if not wanted(key, self.look(key)):
            return False
        self._database.cache.delete(key)  # or it would go as early as what was there before
        now = self._clock()
        expires = float("inf") if ttl is None else now + ttl
        text = value.encode("utf-8", "surrogatepass")
        self._database.cache.set(key, _STAMP.pack(now, expires) + text, expire=ttl)
        while len(self._database.cache) > self.size:
            oldest, _ = self._database.cache.peekitem(last=False)
            if not self._database.cache.delete(oldest):
                break  # somebody else's row, with a key of another kind
        return True


def _always(_key: str, _there: object) -> bool:
    return True
