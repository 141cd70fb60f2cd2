"""Parameter Store: the documented calls against a real HTTP server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from _support.wire import HANG_UP, Wire, parameter, refusal

import s1crets
from s1crets.providers.aws import AsyncParameterStore, parameter_store

if TYPE_CHECKING:
    from pathlib import Path


def put(ssm: Any, name: str, value: str, kind: str = "SecureString", **more: Any) -> None:
    ssm.put_parameter(Name=name, Value=value, Type=kind, **more)


@pytest.mark.parametrize("kind", ["String", "SecureString", "StringList"])
async def test_get_returns_text(ps: AsyncParameterStore, ssm: Any, top: str, kind: str) -> None:
    """All three types are text, a StringList with its commas."""
    put(ssm, top, "a,b", kind)

    assert await ps.get(top) == "a,b"


async def test_a_name_needs_no_slash(ps: AsyncParameterStore, ssm: Any, top: str) -> None:
    """A name at the root may be written without one."""
    put(ssm, top[1:], "v")

    assert await ps.get(top[1:]) == "v"


async def test_json_is_parsed_and_belongs_to_the_caller(
    ps: AsyncParameterStore, ssm: Any, top: str
) -> None:
    """Changing what one caller got changes nobody else's."""
    put(ssm, top, '{"user": "u", "hosts": [1, {"x": []}]}')

    first = await ps.get(top)
    first["hosts"][1]["x"].append("mine")

    assert await ps.get(top) == {"user": "u", "hosts": [1, {"x": []}]}
    assert ps.stats.requests == {"GetParameter": 1}
    assert (ps.stats.hits, ps.stats.misses) == (1, 1)


async def test_a_keypath_looks_into_json(ps: AsyncParameterStore, ssm: Any, top: str) -> None:
    """A key, or a sequence of keys; ints index arrays."""
    put(ssm, top, '{"user": "u", "hosts": ["a", {"port": 5}], "0": "zero"}')

    assert await ps.get(top, keypath="user") == "u"
    assert await ps.get(top, keypath=["hosts", 1, "port"]) == 5
    assert await ps.get(top, keypath=("hosts", -2)) == "a"
    assert await ps.get(top, keypath="0") == "zero"


@pytest.mark.parametrize("keypath", ["nix", ("hosts", 9), ("user", "u"), ("hosts", "a"), (0,)])
async def test_a_key_that_is_not_there(
    ps: AsyncParameterStore, ssm: Any, top: str, keypath: Any
) -> None:
    """The error is a KeyError that names the key but no value; a default is returned instead."""
    put(ssm, top, '{"user": "canary", "hosts": ["canary"]}')

    with pytest.raises(KeyError) as caught:
        await ps.get(top, keypath=keypath)

    assert top in str(caught.value)
    assert "canary" not in str(caught.value)
    assert await ps.get(top, keypath=keypath, default=None) is None


async def test_a_missing_parameter_is_a_key_error(ps: AsyncParameterStore, top: str) -> None:
    """It names the request, the service and the region."""
    with pytest.raises(KeyError) as caught:
        await ps.get(top)

    assert isinstance(caught.value, s1crets.SecretNotFoundError)
    for part in ("Parameter Store", "eu-west-1", "GetParameter", top, "check the name"):
        assert part in str(caught.value)


async def test_a_default_is_returned_but_not_stored(
    ps: AsyncParameterStore, ssm: Any, top: str
) -> None:
    """The next call sends a request again."""
    assert await ps.get(top, default=None) is None
    put(ssm, top, "now")

    assert await ps.get(top, default=None) == "now"


async def test_decrypt_is_part_of_what_is_asked(
    ps: AsyncParameterStore, ssm: Any, top: str
) -> None:
    """The encrypted form and the value don't share a cache entry."""
    put(ssm, top, "v")

    assert await ps.get(top, decrypt=False) != "v"
    assert await ps.get(top) == "v"
    assert await ps.get(top, decrypt=False) != "v"


async def test_cached_false_asks_again(ps: AsyncParameterStore, ssm: Any, top: str) -> None:
    """Its result is cached for others."""
    put(ssm, top, "old")
    await ps.get(top)
    put(ssm, top, "new", Overwrite=True)

    assert await ps.get(top) == "old"
    assert await ps.get(top, cached=False) == "new"
    assert await ps.get(top) == "new"


async def test_selectors(ps: AsyncParameterStore, ssm: Any, top: str) -> None:
    """AWS's own `:version` and `:label`."""
    put(ssm, top, "one")
    put(ssm, top, "two", Overwrite=True)
    ssm.label_parameter_version(Name=top, ParameterVersion=1, Labels=["first"])

    assert await ps.get(f"{top}:1") == "one"
    assert await ps.get(f"{top}:2") == "two"
    assert await ps.get(f"{top}:first") == "one"
    with pytest.raises(KeyError):
        await ps.get(f"{top}:9")


@pytest.mark.parametrize("place", ["memory", "disk"])
@pytest.mark.parametrize(
    ("read", "written"), [("{}", "/{}"), ("/{}", "{}"), (" /{} ", "/{}"), ("{}:1", "/{}")]
)
async def test_an_update_counts_for_all_forms_of_a_name(  # noqa: PLR0917
    ps: AsyncParameterStore, top: str, tmp_path: Path, place: str, read: str, written: str
) -> None:
    """AWS takes a name of one level with and without its slash, and with space around it."""
    folders = {"key_cache_dir": tmp_path / "keys", "path_cache_dir": tmp_path / "paths"}
    args: Any = {"memory": {}, "disk": {"cache_on_disk": True, "cache_key": b"k" * 32, **folders}}
    read, written = read.format(top[1:]), written.format(top[1:])
    await ps.put(written, "fake-old")
    async with AsyncParameterStore(cache_args=args[place]) as reader:
        assert await reader.get(read) == await reader.get(read) == "fake-old"
        assert reader.stats.requests["GetParameter"] == 1
        await reader.delete(written)
        with pytest.raises(s1crets.SecretNotFoundError):
            await reader.get(read)


@pytest.mark.parametrize("place", ["memory", "disk"])
async def test_a_refusal_counts_for_all_forms_of_a_name(
    ps: AsyncParameterStore, top: str, tmp_path: Path, place: str
) -> None:
    """Whichever of them AWS has refused."""
    folders = {"key_cache_dir": tmp_path / "keys", "path_cache_dir": tmp_path / "paths"}
    args: Any = {"memory": {}, "disk": {"cache_on_disk": True, "cache_key": b"k" * 32, **folders}}
    await ps.put(top, "fake")
    async with AsyncParameterStore(cache_args=args[place]) as reader:
        await reader.get_many([top, top[1:], f"{top[1:]}:1"])
        await ps.delete(top)
        with pytest.raises(s1crets.SecretNotFoundError):
            await reader.get(f" {top}", cached=False)
        for name in (top, top[1:], f"{top[1:]}:1"):
            assert reader.peek(name) is None


async def test_an_arn_is_a_name(ps: AsyncParameterStore, ssm: Any, top: str) -> None:
    """An update by the name also drops the entry that was read by the ARN."""
    put(ssm, top, "old")
    arn = ssm.get_parameter(Name=top)["Parameter"]["ARN"]

    assert await ps.get(arn) == "old"
    await ps.update(top, "new")

    assert await ps.get(arn) == "new"


async def test_references_to_secrets_manager(ps: AsyncParameterStore, asm: Any, top: str) -> None:
    """A longer path looks into the JSON; a secret's name may contain slashes too."""
    name = f"{top[1:]}/db"
    asm.create_secret(Name=name, SecretString='{"master": {"port": 5}, "hosts": ["a"]}')
    reference = f"/aws/reference/secretsmanager/{name}"

    assert await ps.get(reference) == {"master": {"port": 5}, "hosts": ["a"]}
    assert await ps.get(f"{reference}/master/port") == 5
    assert await ps.get(f"{reference}/hosts/0") == "a"
    assert await ps.get(f"{reference}/master", keypath="port") == 5
    assert await ps.path_exists(reference)
    assert not await ps.path_exists(f"{reference}/nix")
    before = ps.stats.requests["GetParameter"]
    assert await ps.get(f"{reference}/master/port") == 5
    assert ps.stats.requests["GetParameter"] == before


async def test_a_reference_that_is_not_there(ps: AsyncParameterStore, asm: Any, top: str) -> None:
    """No such secret and no such key are both a KeyError that names what was asked."""
    asm.create_secret(Name=top[1:], SecretString='{"a": 1}')
    reference = f"/aws/reference/secretsmanager{top}"

    with pytest.raises(KeyError, match="nix"):
        await ps.get(f"{reference}/nix")
    with pytest.raises(KeyError, match=f"{reference}x/y"):
        await ps.get(f"{reference}x/y")
    assert await ps.get(f"{reference}/nix", default=3) == 3
    assert await ps.get(f"{reference}x/y", default=3) == 3


async def test_few_references_are_remembered(
    ps: AsyncParameterStore, asm: Any, top: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forgotten reference is resolved again; the secret itself is cached."""
    monkeypatch.setattr(parameter_store, "_REMEMBERED", 1)
    asm.create_secret(Name=top[1:], SecretString='{"a": 1, "b": 2}')
    reference = f"/aws/reference/secretsmanager{top}"
    for key, value in (("a", 1), ("b", 2), ("a", 1), ("a", 1)):
        assert await ps.get(f"{reference}/{key}") == value

    assert ps.stats.requests == {"GetParameter": 4}


async def test_get_many_keeps_the_order_and_asks_once(
    ps: AsyncParameterStore, ssm: Any, top: str
) -> None:
    """Duplicates are requested once."""
    names = [f"{top}/{i}" for i in range(5)]
    for name in names:
        put(ssm, name, name)

    found = await ps.get_many([*reversed(names), *names])

    assert list(found) == names[::-1]
    assert found == {name: name for name in names}
    assert ps.stats.misses == 5


async def test_get_many_tells_what_failed(ps: AsyncParameterStore, ssm: Any, top: str) -> None:
    """There is one error per name; values that were read are not lost."""
    put(ssm, f"{top}/a", "canary")

    with pytest.raises(s1crets.BatchError) as caught:
        await ps.get_many([f"{top}/a", f"{top}/b"])

    assert caught.value.values == {f"{top}/a": "canary"}
    assert isinstance(caught.value.errors[f"{top}/b"], KeyError)
    assert "canary" not in f"{caught.value!r} {caught.value}"
    found = await ps.get_many([f"{top}/b", f"{top}/a"], errors="return")
    assert list(found) == [f"{top}/b", f"{top}/a"]
    assert isinstance(found[f"{top}/b"], KeyError)


async def test_get_many_refuses_what_makes_no_sense(ps: AsyncParameterStore) -> None:
    """One text is not several names."""
    for paths in ("/a", None):
        with pytest.raises(TypeError, match="several names"):
            await ps.get_many(paths)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'raise' or 'return'"):
        await ps.get_many(["/a"], errors="ignore")  # type: ignore[arg-type]


async def test_get_by_path(ps: AsyncParameterStore, ssm: Any, top: str) -> None:
    """Full names and values, over several pages; the keys are hits afterwards."""
    for i in range(23):
        put(ssm, f"{top}/deep/{i}", f'{{"i": {i}}}')
    put(ssm, f"{top}/flat", "v")
    put(ssm, f"{top}x", "v")

    found = await ps.get_by_path(top)

    assert len(found) == 24
    assert found[f"{top}/deep/22"] == {"i": 22}
    assert await ps.get_by_path(f"{top}/") == found
    assert await ps.get(f"{top}/deep/7") == {"i": 7}
    assert ps.stats.requests == {"GetParametersByPath": 3}
    assert await ps.get_by_path(top, recursive=False) == {f"{top}/flat": "v"}
    assert (await ps.get_by_path(top, decrypt=False))[f"{top}/flat"] != "v"


async def test_get_by_path_belongs_to_the_caller(
    ps: AsyncParameterStore, ssm: Any, top: str
) -> None:
    """Changing it changes nobody else's, nor the keys'."""
    put(ssm, f"{top}/a", '{"x": [1]}')

    found = await ps.get_by_path(top)
    found[f"{top}/a"]["x"].append(2)
    found.clear()

    assert await ps.get_by_path(top) == {f"{top}/a": {"x": [1]}}
    assert await ps.get(f"{top}/a") == {"x": [1]}


@pytest.mark.parametrize(("is_debugged", "level"), [(False, "INFO"), (True, "WARNING")])
async def test_nothing_below_a_path_is_an_empty_dict(  # noqa: PLR0917
    ps: AsyncParameterStore,
    ssm: Any,
    top: str,
    caplog: pytest.LogCaptureFixture,
    is_debugged: bool,  # noqa: FBT001
    level: str,
) -> None:
    """No error, as paths don't exist by themselves; but the log has a hint, once per request."""
    put(ssm, top, "v")
    asyncio.get_running_loop().set_debug(is_debugged)
    with caplog.at_level("INFO", "s1crets"):
        assert await ps.get_by_path(top) == await ps.get_by_path(f"{top}/") == {}
        asyncio.get_running_loop().set_debug(False)

    (said,) = [one for one in caplog.records if one.name == "s1crets"]
    assert said.levelname == level
    assert f"nothing under '{top}'; if it is the name of a parameter, use get" in said.getMessage()
    assert ps.stats.requests == {"GetParametersByPath": 1}


async def test_a_path_fills_the_keys_as_far_as_there_is_room(ssm: Any, top: str) -> None:
    """It evicts nothing that was requested by name."""
    for i in range(5):
        put(ssm, f"{top}/{i}", "v")
    put(ssm, f"{top}-key", "k")
    async with AsyncParameterStore(cache_args={"cache_size": 3}) as ps:
        await ps.get(f"{top}-key")
        await ps.get_by_path(top)

        assert ps.peek(f"{top}-key") == "k"
        assert sum(ps.peek(f"{top}/{i}") == "v" for i in range(5)) == 2


async def test_empty_pages_with_a_token_are_followed(
    ps: AsyncParameterStore, scripted: Wire
) -> None:
    """AWS may send a page without parameters before the last one."""
    scripted.answers["GetParametersByPath"] = [
        {"Parameters": [], "NextToken": "1"},
        {"Parameters": [], "NextToken": "2"},
        {"Parameters": [{"Name": "/a/b", "Value": "v"}]},
    ]

    assert await ps.get_by_path("/a") == {"/a/b": "v"}


@pytest.mark.parametrize("tokens", ["xx", "xyx"])
async def test_a_repeated_token_is_a_bad_response(
    ps: AsyncParameterStore, scripted: Wire, tokens: str
) -> None:
    """Also one that comes back later; it would never end."""
    page = {"Parameters": [{"Name": "/a/b", "Value": "v"}]}
    scripted.answers["GetParametersByPath"] = [{**page, "NextToken": t} for t in tokens] + [
        {**page, "NextToken": "x"}
    ]

    with pytest.raises(s1crets.BadResponseError):
        await ps.get_by_path("/a")
    assert ps.peek("/a/b") is None


async def test_path_exists(ps: AsyncParameterStore, ssm: Any, top: str) -> None:
    """A path or a key exists, but not the beginning of a name."""
    put(ssm, f"{top}/database/root", "v")

    assert await ps.path_exists(f"{top}/database")
    assert await ps.path_exists(f"{top}/database/")
    assert await ps.path_exists(f"{top}/database/root")
    assert not await ps.path_exists(f"{top}/data")
    assert not await ps.path_exists(f"{top[1:]}x")
    assert "DescribeParameters" not in ps.stats.requests


async def test_a_yes_is_cached_and_a_no_is_not(ps: AsyncParameterStore, ssm: Any, top: str) -> None:
    """A parameter that is created later is seen at once."""
    assert not await ps.path_exists(top)
    put(ssm, top, "v")
    assert await ps.path_exists(top)
    before = sum(ps.stats.requests.values())

    assert await ps.path_exists(top)
    assert sum(ps.stats.requests.values()) == before


async def test_the_first_yes_wins_and_cancels_the_other(
    ps: AsyncParameterStore, scripted: Wire
) -> None:
    """A slow listing does not hold up a yes; nothing is decrypted."""
    hang = asyncio.Event()
    loop = asyncio.get_running_loop()
    scripted.answers["GetParameter"] = parameter("/a", "v")

    def slow(_: Any) -> Any:
        asyncio.run_coroutine_threadsafe(hang.wait(), loop).result(30)
        return {"Parameters": []}

    scripted.answers["GetParametersByPath"] = slow

    assert await asyncio.wait_for(ps.path_exists("/a"), 10)
    hang.set()
    assert [one["WithDecryption"] for one in scripted.bodies("GetParameter")] == [False]


async def test_path_exists_cannot_say_no_when_one_was_denied(
    ps: AsyncParameterStore, scripted: Wire
) -> None:
    """A success still decides."""
    scripted.answers["GetParameter"] = refusal("ParameterNotFound")
    scripted.answers["GetParametersByPath"] = refusal("AccessDeniedException")
    with pytest.raises(PermissionError):
        await ps.path_exists("/a")

    scripted.answers["GetParameter"] = parameter("/a", "v")
    assert await ps.path_exists("/a")


async def test_update_sends_back_all_that_was_there(
    ps: AsyncParameterStore, scripted: Wire
) -> None:
    """PutParameter resets omitted attributes; moto does not, so the request is checked."""
    kept = {
        "Type": "SecureString",
        "KeyId": "alias/mine",
        "Tier": "Advanced",
        "Description": "d",
        "AllowedPattern": ".*",
        "DataType": "text",
    }
    policies = [{"PolicyText": '{"Type":"Expiration"}', "PolicyType": "Expiration"}] * 2
    scripted.answers["DescribeParameters"] = {
        "Parameters": [
            {"Name": "/a/root2", "Type": "String"},
            {**kept, "Name": "/a/root", "Policies": policies, "Version": 3},
        ]
    }
    scripted.answers["PutParameter"] = {"Version": 4, "Tier": "Advanced"}

    await ps.update("/a/root", "new")

    (asked,) = scripted.bodies("DescribeParameters")
    assert asked["ParameterFilters"] == [{"Key": "Name", "Option": "Equals", "Values": ["/a/root"]}]
    assert "Filters" not in asked
    (sent,) = scripted.bodies("PutParameter")
    texts = '[{"Type":"Expiration"},{"Type":"Expiration"}]'
    expected = {**kept, "Name": "/a/root", "Value": "new", "Overwrite": True, "Policies": texts}
    assert sent == expected


async def test_update_is_seen_at_once(ps: AsyncParameterStore, ssm: Any, top: str) -> None:
    """By name, by path, and by other clients; `root` next to `root2` is no problem."""
    put(ssm, f"{top}/root", "old")
    put(ssm, f"{top}/root2", "other")
    await ps.get(f"{top}/root")
    await ps.get_by_path(top)

    await ps.update(f"{top}/root", {"new": "ü"})

    assert await ps.get(f"{top}/root") == {"new": "ü"}
    assert await ps.get_by_path(top) == {f"{top}/root": {"new": "ü"}, f"{top}/root2": "other"}
    answer = ssm.get_parameter(Name=f"{top}/root", WithDecryption=True)["Parameter"]
    assert (answer["Value"], answer["Type"]) == ('{"new": "ü"}', "SecureString")


async def test_update_of_an_unknown_name_writes_nothing(
    ps: AsyncParameterStore, ssm: Any, top: str
) -> None:
    """It is a KeyError, as for a read."""
    put(ssm, f"{top}2", "v")

    with pytest.raises(KeyError, match="nothing was written"):
        await ps.update(top, "new")
    assert "PutParameter" not in ps.stats.requests


async def test_a_fetch_in_flight_does_not_put_the_old_value_back(
    ps: AsyncParameterStore, scripted: Wire
) -> None:
    """A fetch from before the update answers its caller, but its result is not stored."""
    loop, asked, go = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def slow(_: Any) -> Any:
        loop.call_soon_threadsafe(asked.set)
        asyncio.run_coroutine_threadsafe(go.wait(), loop).result(30)
        return parameter("/a", "old")

    scripted.answers["GetParameter"] = slow
    scripted.answers["DescribeParameters"] = {"Parameters": [{"Name": "/a", "Type": "String"}]}
    scripted.answers["PutParameter"] = {"Version": 2}
    early = asyncio.create_task(ps.get("/a"))
    await asyncio.wait_for(asked.wait(), 10)
    await ps.update("/a", "new")
    scripted.answers["GetParameter"] = parameter("/a", "new")
    assert await ps.get("/a") == "new"
    go.set()

    assert await early == "old"
    assert await ps.get("/a") == "new"


async def test_a_failed_update_drops_what_is_cached(
    ps: AsyncParameterStore, scripted: Wire
) -> None:
    """Whether AWS stored it is not known."""
    scripted.answers["GetParameter"] = [parameter("/a", "old"), parameter("/a", "new")]
    scripted.answers["DescribeParameters"] = {"Parameters": [{"Name": "/a", "Type": "String"}]}
    scripted.answers["PutParameter"] = HANG_UP
    assert await ps.get("/a") == "old"

    with pytest.raises(ConnectionError):
        await ps.update("/a", "new")
    assert await ps.get("/a") == "new"


async def test_invalidate_forgets_one_or_all(ps: AsyncParameterStore, ssm: Any, top: str) -> None:
    """One name with all paths; or everything."""
    for name in ("a", "b"):
        put(ssm, f"{top}/{name}", "v")
        await ps.get(f"{top}/{name}")

    await ps.invalidate(f"{top}/a")
    assert (ps.peek(f"{top}/a"), ps.peek(f"{top}/b")) == (None, "v")
    await ps.invalidate()
    assert ps.peek(f"{top}/b") is None


async def test_peek_never_asks(ps: AsyncParameterStore, ssm: Any, top: str) -> None:
    """It returns what is in memory, or the default; without an await."""
    put(ssm, top, '{"a": 1}')

    assert ps.peek(top, default="nothing") == "nothing"
    await ps.get(top)

    assert ps.peek(top) == {"a": 1}
    assert ps.peek(top, keypath="a") == 1
    assert ps.peek(top, keypath="b") is None
    assert ps.peek(top, decrypt=False) is None
    assert ps.stats.requests == {"GetParameter": 1}


@pytest.mark.parametrize("field", ["Name", "Value"])
async def test_a_parameter_without_its_name_or_value_is_a_bad_response(
    ps: AsyncParameterStore, scripted: Wire, field: str
) -> None:
    """It is never a KeyError or the default."""
    answer = parameter("/a", "v")
    del answer["Parameter"][field]
    scripted.answers["GetParameter"] = answer

    with pytest.raises(s1crets.BadResponseError):
        await ps.get("/a", default="never")


async def test_path_exists_rejects_a_malformed_response(
    ps: AsyncParameterStore, scripted: Wire
) -> None:
    """It is never False."""
    scripted.answers["GetParametersByPath"] = {}
    scripted.answers["GetParameter"] = refusal("ParameterNotFound")
    with pytest.raises(s1crets.BadResponseError):
        await ps.path_exists("/a")


async def test_a_path_begins_with_a_slash(ps: AsyncParameterStore) -> None:
    """Nothing is sent."""
    with pytest.raises(s1crets.InvalidNameError, match="begin with /"):
        await ps.get_by_path("a")
    assert ps.stats.requests == {}


async def test_a_token_that_is_no_text_is_a_bad_response(scripted: Wire) -> None:
    """The second page can't be asked for."""
    scripted.answers["GetParametersByPath"] = {"Parameters": [], "NextToken": []}
    async with AsyncParameterStore() as ps:
        with pytest.raises(s1crets.BadResponseError):
            await ps.get_by_path("/a")
