"""What leaves the process is sealed where there is a key, and says nothing without it."""

from __future__ import annotations

import asyncio
import base64
import os
import sqlite3
import subprocess
import sys
import traceback
import uuid
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from _support.wire import Wire, parameter
from aiocache import SimpleMemoryCache
from hypothesis import given
from hypothesis import strategies as st

import s1crets
from s1crets._redaction import Redacted
from s1crets.cache import DiskCache, MemoryCache
from s1crets.cache.encryption import AesCipher, framed, new_key, read_keys
from s1crets.errors import InsecureCacheWarning
from s1crets.providers.aws import AsyncParameterStore, AsyncSecretsManager, ParameterStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY, OTHER = b"k" * 32, b"o" * 32
CIPHER = AesCipher(Redacted(KEY))


def on_disk(path: Path, **more: Any) -> Any:
    return {
        "cache_on_disk": True,
        "key_cache_dir": path / "keys",
        "path_cache_dir": path / "paths",
        **more,
    }


def private_file(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


TEXT = base64.b64encode(KEY).decode()


@pytest.mark.parametrize(
    "form",
    [
        lambda _: KEY,
        lambda _: TEXT,
        lambda _: TEXT + "\n",
        lambda folder: private_file(folder / "key", TEXT + "\n"),
        lambda _: lambda: KEY,
        lambda folder: lambda: private_file(folder / "key", TEXT),
        lambda _: [KEY, TEXT],
        lambda _: (KEY,),
    ],
    ids=["bytes", "str", "newline", "file", "function", "function of a file", "list", "tuple"],
)
def test_every_form_of_a_key(tmp_path: Path, form: Callable[[Path], Any]) -> None:
    """All mean the same 32 bytes."""
    keys = read_keys(form(tmp_path))

    assert {key.reveal() for key in keys} == {KEY}


def test_the_environments_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also a key ring; one that is passed counts more, and a memory needs none."""
    monkeypatch.setenv("S1CRETS_CACHE_KEY", f"{TEXT},{base64.b64encode(OTHER).decode()}")
    assert [key.reveal() for key in read_keys(None)] == [KEY, OTHER]
    assert [key.reveal() for key in read_keys(OTHER)] == [OTHER]
    with warnings.catch_warnings():
        warnings.simplefilter("error", InsecureCacheWarning)
        ParameterStore(cache_args=on_disk(tmp_path))
    monkeypatch.setenv("S1CRETS_CACHE_KEY", "broken")
    ParameterStore()
    with pytest.raises(ValueError, match="base64"):
        ParameterStore(cache_args=on_disk(tmp_path))
    monkeypatch.setenv("S1CRETS_CACHE_KEY", "")
    assert read_keys(None) == []


@pytest.mark.parametrize(
    ("key", "error", "words"),
    [
        (b"canary" * 5, ValueError, "32 bytes.*not 30"),
        (base64.b64encode(b"canary").decode(), ValueError, "not 6"),
        ("canary!", ValueError, "not base64"),
        ("cänary", ValueError, "not base64"),
        ([], ValueError, "empty"),
        ([KEY, b"canary"], ValueError, "not 6"),
        (7, TypeError, "int"),
        (lambda: None, TypeError, "NoneType"),
        ([[KEY]], TypeError, "list"),
        (b"", ValueError, "not 0"),
        ("", ValueError, "not 0"),
    ],
)
@pytest.mark.parametrize("kind", [ParameterStore, AsyncSecretsManager])
def test_a_key_that_is_none_is_refused(
    tmp_path: Path, kind: Any, key: Any, error: Any, words: str
) -> None:
    """At once, before anything is written; neither the words nor the frames show it."""
    with pytest.raises(error, match=words):
        kind(cache_args={"cache_key": key})
    with pytest.raises(error, match=words) as caught:
        kind(cache_args=on_disk(tmp_path / "cache", cache_key=key))

    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    ours = [frame for frame in frames.stack if "test_encryption" not in frame.filename]
    assert len(ours) > 2
    for frame in ours:
        assert "canary" not in str(frame.locals)
    assert "canary" not in str(caught.value)
    assert caught.value.__context__ is None
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("ring", ["canary!", "Y2FuYXJ5", f"{TEXT},canary", ","])
def test_an_invalid_key_of_the_environment_is_named(
    tmp_path: Path, ring: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says which variable is wrong, and does not show it."""
    monkeypatch.setenv("S1CRETS_CACHE_KEY", ring)
    with pytest.raises(s1crets.ConfigurationError, match=r"S1CRETS_CACHE_KEY .*new-key") as caught:
        ParameterStore(cache_args=on_disk(tmp_path))

    assert "canary" not in str(caught.value)
    assert "cache_args" not in str(caught.value)


@pytest.mark.parametrize("problem", ["mode", "owner", "missing"])
def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path, problem: str) -> None:
    """The error names the file and what is wrong."""
    file = tmp_path / "key"
    if problem != "missing":
        private_file(file, TEXT).chmod(0o640 if problem == "mode" else 0o600)
    if problem == "owner":
        if os.geteuid():
            pytest.skip("only root can give a file away")
        os.chown(file, 4321, -1)
    words = {"mode": "0640", "owner": "user 4321", "missing": "No such file"}[problem]
    with pytest.raises(OSError, match=words) as caught:
        ParameterStore(cache_args=on_disk(tmp_path, cache_key=file))

    assert str(file) in str(caught.value)


def test_new_keys() -> None:
    """Each is another one, and valid."""
    first, second = new_key(), new_key()

    assert first != second
    assert [len(key.reveal()) for key in read_keys([first, second])] == [32, 32]


def test_without_cryptography_it_says_what_to_install() -> None:
    """The extra is not part of a plain install."""
    script = """
import sys
sys.modules["cryptography.hazmat.primitives.ciphers.aead"] = None
from s1crets.providers.aws import ParameterStore
try:
    ParameterStore(cache_args={"cache_on_disk": True, "cache_key": b"k" * 32})
except ValueError as error:
    assert "s1crets[encryption]" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@given(st.binary(max_size=5000), st.text(), st.text())
def test_what_was_closed_is_opened(body: bytes, identity: str, name: str) -> None:
    """In its own context; and nowhere else."""
    context = framed(identity, name)
    sealed = CIPHER.encrypt(body, context)

    assert CIPHER.decrypt(sealed, context) == body
    assert CIPHER.decrypt(sealed, framed(identity, name + "x")) is None
    assert CIPHER.decrypt(sealed, framed(identity + "x", name)) is None
    assert AesCipher(Redacted(OTHER)).decrypt(sealed, context) is None
    assert CIPHER.encrypt(body, context) != sealed


@given(st.text(), st.text(), st.text(), st.text())
def test_no_two_contexts_are_the_same(a: str, b: str, c: str, d: str) -> None:
    """Lengths keep `a` and `bc` apart from `ab` and `c`."""
    assert ((a, b) == (c, d)) == (framed(a, b) == framed(c, d))


@given(st.one_of(st.text(), st.binary(), st.none(), st.integers()))
def test_what_was_never_closed(junk: Any) -> None:
    """Is no record."""
    assert CIPHER.decrypt(junk, b"") is None


def test_every_flipped_bit_and_every_truncation() -> None:
    """Is noticed."""
    data = base64.b64decode(CIPHER.encrypt(b"v", b"c"))
    for i in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[i // 8] ^= 1 << i % 8
        assert CIPHER.decrypt(base64.b64encode(flipped).decode(), b"c") is None
    for i in range(len(data)):
        assert CIPHER.decrypt(base64.b64encode(data[:i]).decode(), b"c") is None


def test_sizes_are_padded() -> None:
    """A length tells little of a secret."""
    sizes = {len(base64.b64decode(CIPHER.encrypt(b"x" * i, b""))) - 28 for i in range(5000)}

    assert sizes == {256, 512, 1024, 2048, 4096, 8192}


CANARIES = (
    "canary-value",
    "canary-name",
    "eu-canary-1",
    "canary-role",
    "canary-binary",
    "123456789012",
)


async def fill(path: Path, **more: Any) -> None:
    """Store all kinds of entries on disk."""
    sts: Any = {"aws_region": "eu-canary-1"}
    async with AsyncParameterStore(cache_args=on_disk(path, **more), sts_args=sts) as ps:
        await ps.get("/canary-name/a")
        await ps.get_by_path("/canary-name")
        await ps.get("/canary-name/a:1")
        await ps.path_exists("/canary-name")
        await ps.invalidate("/canary-name/b")
    role: Any = {**sts, "RoleArn": "arn:aws:iam::123456789012:role/canary-role"}
    async with AsyncSecretsManager(cache_args=on_disk(path, **more), sts_args=role) as sm:
        await sm.get("canary-name")


def stored(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.rglob("*") if file.is_file())


@pytest.fixture
def canaries(scripted: Wire) -> Wire:
    from _support.wire import assumed

    scripted.answers = {
        "GetParameter": parameter("/canary-name/a", '{"k": "canary-value"}', Version=1),
        "GetParametersByPath": {
            "Parameters": [{"Name": "/canary-name/b", "Value": "canary-value"}]
        },
        "GetSecretValue": {
            "SecretBinary": base64.b64encode(b"canary-binary" * 30).decode(),
            "Name": "canary-name",
        },
        "AssumeRole": assumed(),
    }
    return scripted


@pytest.mark.filterwarnings("ignore::s1crets.errors.InsecureCacheWarning")
async def test_a_stolen_folder_tells_nothing(canaries: Wire, tmp_path: Path) -> None:
    """No value, name, region or role is in any of its files; without a key there was."""
    await fill(tmp_path / "plain")
    await fill(tmp_path / "sealed", cache_key=KEY)
    plain, sealed = stored(tmp_path / "plain"), stored(tmp_path / "sealed")

    assert any(
        base64.b64encode(b"x" * shift + b"canary-value")[4:-4] in plain for shift in range(3)
    )
    assert len(sealed) > 10_000
    for canary in CANARIES:
        assert canary.encode() not in sealed
        for shift in range(3):
            inner = base64.b64encode(b"x" * shift + canary.encode())[4:-4]
            assert inner not in sealed


@pytest.mark.filterwarnings("ignore::s1crets.errors.InsecureCacheWarning")
async def test_what_was_stored_plain_goes_when_there_is_a_key(
    canaries: Wire, tmp_path: Path
) -> None:
    """Or a folder that was stolen later would still tell it."""
    await fill(tmp_path)
    await fill(tmp_path, cache_key=KEY)

    with sqlite3.connect(tmp_path / "keys" / "cache.db") as db:
        rows = [row for (row,) in db.execute("SELECT key FROM Cache")]
    db.close()
    assert rows
    assert not [row for row in rows if "plain" in row]
    left = stored(tmp_path)
    assert base64.b64encode(b"x" * 24 + b"tcanary")[32:40] not in left
    assert b"/canary-name" not in left


@pytest.fixture(params=["disk", "foreign", "shared", "redis"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Return the `cache_args` of stores outside of the process."""
    if request.param == "disk":
        return on_disk(tmp_path)
    if request.param == "redis":
        server = request.getfixturevalue("redis")
        return {"backend": partial(server.cache, namespace=uuid.uuid4().hex)}
    return {"backend": SimpleMemoryCache() if request.param == "foreign" else MemoryCache()}


def keyed(stores: Any, key: Any) -> Any:
    return stores if key is None else {**stores, "cache_key": key}


async def requests(args: Any) -> int:
    async with AsyncParameterStore(cache_args=args) as ps:
        assert await ps.get("/a") == "v"
        return sum(ps.stats.requests.values())


async def test_a_key_ring(scripted: Wire, stores: Any) -> None:
    """The first writes, all read: keys are replaced without a cold cache."""
    scripted.answers["GetParameter"] = parameter("/a", "v")
    assert await requests(keyed(stores, OTHER)) == 1
    assert await requests(keyed(stores, [KEY, OTHER])) == 0
    async with AsyncParameterStore(cache_args=keyed(stores, [KEY, OTHER])) as ps:
        await ps.get("/a", cached=False)
    assert await requests(keyed(stores, KEY)) == 0
    async with AsyncParameterStore(cache_args=keyed(stores, [KEY, OTHER])) as ps:
        await ps.invalidate("/a")
    assert await requests(keyed(stores, OTHER)) == 1
    assert await requests(keyed(stores, KEY)) == 1


async def test_what_the_first_key_sealed_counts_more(scripted: Wire, stores: Any) -> None:
    """Though what the second has sealed is still there, and was served until now."""
    scripted.answers["GetParameter"] = [parameter("/a", "old"), parameter("/a", "new")]
    async with (
        AsyncParameterStore(cache_args=keyed(stores, OTHER)) as before,
        AsyncParameterStore(cache_args=keyed(stores, [KEY, OTHER])) as both,
        AsyncParameterStore(cache_args=keyed(stores, KEY)) as after,
    ):
        assert await before.get("/a") == "old"
        assert [await both.get("/a"), await both.get("/a")] == ["old", "old"]
        assert await after.get("/a") == "new"
        assert await both.get("/a") == "new"


@pytest.mark.filterwarnings("ignore::s1crets.errors.InsecureCacheWarning")
@pytest.mark.parametrize("second", [OTHER, None])
async def test_another_key_or_none_is_a_miss_and_one_warning(
    scripted: Wire, stores: Any, second: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """And no error; the warning says which."""
    scripted.answers["GetParameter"] = parameter("/a", "v")
    assert await requests(keyed(stores, KEY)) == 1
    async with AsyncParameterStore(cache_args=keyed(stores, second)) as ps:
        for _ in range(3):
            assert await ps.get("/a") == "v"
        assert ps.stats.requests == {"GetParameter": 1}

    words = "there is none now" if second is None else "another cache_key"
    assert caplog.text.count("was encrypted with") == caplog.text.count(words) == 1


@pytest.mark.parametrize("key", [KEY, None])
@pytest.mark.parametrize("change", ["swap", "cut", "flip", "mode", "file", "null", "number"])
@pytest.mark.filterwarnings("ignore::s1crets.errors.InsecureCacheWarning")
async def test_rows_that_were_tampered_with_are_a_miss(
    scripted: Wire, tmp_path: Path, key: Any, change: str
) -> None:
    """Fetched anew; no code runs, no file is touched. What is not sealed can be swapped, though."""
    scripted.answers["GetParameter"] = lambda asked: parameter(asked.body["Name"], "right")
    more = {"cache_key": key} if key else {}
    victim = tmp_path / "victim"
    victim.write_text("mine")
    names = ["/a", "/b"]
    async with AsyncParameterStore(cache_args=on_disk(tmp_path, **more)) as ps:
        for name in names:
            await ps.get(name)
    evil = b"cos\nsystem\n(S'touch %s'\ntR." % bytes(tmp_path / "pwned")
    statements: dict[str, tuple[str, Any]] = {
        "swap": ("UPDATE Cache SET key = 'x' || key", ()),
        "cut": ("UPDATE Cache SET value = substr(value, 1, length(value) - 9)", ()),
        "flip": ("UPDATE Cache SET value = CAST(replace(value, 'A', 'B') AS BLOB)", ()),
        "mode": ("UPDATE Cache SET mode = 4, value = ?", (evil,)),
        "file": ("UPDATE Cache SET mode = 2, filename = ?", (str(victim),)),
        "null": ("UPDATE Cache SET value = NULL", ()),
        "number": ("UPDATE Cache SET value = 5", ()),
    }
    with sqlite3.connect(tmp_path / "keys" / "cache.db") as db:
        db.execute(*statements[change])
    db.close()
    async with AsyncParameterStore(cache_args=on_disk(tmp_path, **more)) as ps:
        found = [await ps.get(name) for name in names]
        if key or change not in ("flip", "cut"):
            assert found == ["right", "right"]
            assert ps.stats.requests == {"GetParameter": 2}
        await ps.invalidate()
    assert victim.read_text() == "mine"
    assert not (tmp_path / "pwned").exists()


async def test_sealed_rows_that_were_swapped_are_a_miss(scripted: Wire, tmp_path: Path) -> None:
    """A value stands for the name that it was stored under, or for none."""
    scripted.answers["GetParameter"] = lambda asked: parameter(
        asked.body["Name"], asked.body["Name"]
    )
    args = on_disk(tmp_path, cache_key=KEY)
    async with AsyncParameterStore(cache_args=args) as ps:
        await ps.get("/a")
        await ps.get("/b")
    with sqlite3.connect(tmp_path / "keys" / "cache.db") as db:
        query = "SELECT rowid, value FROM Cache WHERE key LIKE 's1crets:encrypted:%'"
        (one, first), (two, second) = db.execute(query).fetchall()
        for row, value in ((one, second), (two, first)):
            db.execute("UPDATE Cache SET value = ? WHERE rowid = ?", (value, row))
    db.close()
    async with AsyncParameterStore(cache_args=args) as ps:
        assert [await ps.get("/a"), await ps.get("/b")] == ["/a", "/b"]
        assert ps.stats.requests == {"GetParameter": 2}


async def test_a_row_that_was_put_back_does_not_live_longer(tmp_path: Path) -> None:
    """When it expires is sealed inside; the database's own columns are not believed."""
    from _support.world import World

    backend = DiskCache(tmp_path / "disk")
    world = World(backend=backend, cache_key=KEY, cache_ttl=100, jitter=0)
    await world.get()

    def lengthen() -> None:
        with sqlite3.connect(tmp_path / "disk" / "cache.db") as db:
            db.execute("UPDATE Cache SET expire_time = 9e9")
        db.close()

    await asyncio.to_thread(lengthen)
    world.wait(99)
    assert await world.get() == "v1"
    world.wait(1)
    assert await world.get() == "v2"
    await backend.close()


def test_a_pipe_is_no_key_file(tmp_path: Path) -> None:
    """Nobody waits for somebody to write into it."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ValueError, match="not 0"):
        read_keys(tmp_path / "pipe")


def test_an_empty_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is a mistake, and not "no key"."""
    monkeypatch.setenv("S1CRETS_CACHE_KEY", ",")
    with pytest.raises(ValueError, match="not 0"):
        read_keys(None)
