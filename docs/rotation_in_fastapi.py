"""FastAPI with a database whose password is rotated: no restart, and no request that fails.

`refresh_on` reads the password again when the database rejects it, and repeats the query. It shares
the provider, and so its cache, with `Secret`: the next request gets the new value too. While the
new password is in the database but not yet in AWS, `patient_query` waits. `watch` tells the pool
about a rotation before a query fails.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated

from fastapi import FastAPI

from s1crets import S1cretsError
from s1crets.integrations.fastapi import Preload, Secret, lifespan
from s1crets.providers.aws import AsyncParameterStore

log = logging.getLogger(__name__)
ps = AsyncParameterStore()


class RejectedError(Exception):
    """The database does not accept the password."""


class Pool:
    """Stands for the connections to a database, which accepts one password."""

    accepted = "fake-1"
    password = ""

    async def query(self, user: str, password: str, text: str) -> str:
        """Return the result of a query."""
        if password != self.accepted:
            raise RejectedError
        return f"{text} as {user}"


pool = Pool()


@ps.refresh_on(RejectedError, path="/prod/db", keypath={"user": "user", "password": "password"})
async def query(text: str, *, user: str, password: str) -> str:
    """Query the database: callers leave user and password out."""
    return await pool.query(user, password, text)


async def patient_query(text: str) -> str:
    """Query the database, and again after each pause, as long as it rejects the password."""
    for pause in app.state.pauses:
        try:
            return await query(text)
        except RejectedError:
            await asyncio.sleep(pause)
    return await query(text)


async def follow_rotation(interval: float) -> None:
    """Give the pool each new password, also after the secret was deleted or denied for a while."""
    while True:
        try:
            pool.password = await ps.get("/prod/db", keypath="password")
            async for password in ps.watch("/prod/db", interval=interval, keypath="password"):
                pool.password = password
        except S1cretsError as error:
            log.warning("the pool keeps its password: %s", error)
            await asyncio.sleep(interval)


@asynccontextmanager
async def lifetime(app: FastAPI) -> AsyncIterator[None]:
    """Read the password before the app serves requests, and follow it while it does."""
    async with lifespan(Preload(ps, names=["/prod/db"]))(app):
        pool.password = await ps.get("/prod/db", keypath="password")
        following = asyncio.create_task(follow_rotation(app.state.interval))
        try:
            yield
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following


app = FastAPI(lifespan=lifetime)
app.state.interval = 60.0  # seconds between two reads
app.state.pauses = (1.5, 3, 6)  # seconds; AWS is asked at most once per second


@app.get("/")
async def home(user: Annotated[str, Secret("/prod/db", keypath="user")]) -> dict[str, str]:
    """Use the secret in both ways."""
    return {"user": user, "result": await patient_query("select 1")}
