"""create, put, delete and describe of both stores, async and blocking."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from _support.wire import HANG_UP, Asked, Reply, Wire, parameter, refusal
from hypothesis import given, settings
from hypothesis import strategies as st

import s1crets
from s1crets.providers.aws import (
    AsyncParameterStore,
    AsyncSecretsManager,
    ParameterStore,
    SecretsManager,
)
from s1crets.providers.aws.write_settings import deletion, parameter_settings, secret_settings

if TYPE_CHECKING:
    from collections.abc import Callable

CANARY = "canary-8d20"
FULL: dict[str, Any] = {
    "kms_key_id": "alias/fake",
    "description": "what it is",
    "tags": {"team": "a", "env": ""},
}
TAGS = [{"Key": "team", "Value": "a"}, {"Key": "env", "Value": ""}]


class TestStringList:
    """A list in a StringList is stored as its items, separated by commas."""

    async def test_stored_as_other_readers_expect(
        self, ps: AsyncParameterStore, ssm: Any, top: str
    ) -> None:
        """Also if the type is not given, since the parameter has one; text stays as it is."""

        def stored() -> str:
            return str(ssm.get_parameter(Name=top)["Parameter"]["Value"])

        await ps.create(top, ["a", "b "], type="StringList")
        assert stored() == "a,b "
        await ps.update(top, ["c"])
        assert stored() == "c"
        await ps.put(top, ["d", ""])
        assert stored() == "d,"
        await ps.put(top, "e,f", type="StringList")
        assert stored() == "e,f"
        assert await ps.get(top) == "e,f"

    async def test_other_types_store_json(
        self, ps: AsyncParameterStore, ssm: Any, top: str
    ) -> None:
        """A list in a String or a SecureString."""
        await ps.create(top, ["a", "b,c"], type="String")
        await ps.put(f"{top}/s", ["a"])

        assert ssm.get_parameter(Name=top)["Parameter"]["Value"] == '["a", "b,c"]'
        assert await ps.get(f"{top}/s") == ["a"]

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            (["a,b"], "an item contains a comma"),
            ([5], "items must be text"),
            ([], "at least one item"),
            (["", ""], "at least one item"),
            ({"a": "b"}, "a list or text, not dict"),
        ],
    )
    async def test_lists_that_can_not_be_stored(
        self, ps: AsyncParameterStore, scripted: Wire, value: Any, words: str
    ) -> None:
        """They are rejected before anything is written; with the type, before anything is sent."""
        for verb in (ps.create, ps.put):
            with pytest.raises(s1crets.InvalidValueError, match=words):
                await verb("/a", value, type="StringList")
        assert scripted.asked == []
        there = {"Name": "/a", "Type": "StringList"}
        scripted.answers["DescribeParameters"] = {"Parameters": [there]}
        with pytest.raises(s1crets.InvalidValueError, match=words):
            await ps.update("/a", value)

        assert [one.operation for one in scripted.asked] == ["DescribeParameters"]


class TestParameters:
    """Parameter Store."""

    async def test_update_changes_settings(self, scripted: Wire) -> None:
        """Those that are given; the others stay."""
        there = {"Name": "/a", "Type": "SecureString", "KeyId": "k", "Description": "d"}
        scripted.answers = {
            "DescribeParameters": {"Parameters": [{**there, "Tier": "Standard"}]},
            "PutParameter": {"Version": 2},
        }
        async with AsyncParameterStore() as ps:
            await ps.update("/a", "v", description="new", tier="Advanced")
            await ps.update("/a", "v", kms_key_id="alias/fake")
        first, second = scripted.bodies("PutParameter")

        assert (first["KeyId"], first["Description"], first["Tier"]) == ("k", "new", "Advanced")
        assert (second["KeyId"], second["Description"]) == ("alias/fake", "d")

    async def test_a_life(self, ps: AsyncParameterStore, ssm: Any, top: str) -> None:
        """From creation to deletion, another client and the cache see each step."""
        with pytest.raises(KeyError):
            await ps.get(top)
        await ps.create(top, {"user": "u"}, tags={"team": "a"})
        found = ssm.get_parameter(Name=top, WithDecryption=True)["Parameter"]
        assert (found["Type"], found["Value"]) == ("SecureString", '{"user": "u"}')
        listed = ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=top)
        assert listed["TagList"] == [{"Key": "team", "Value": "a"}]
        assert await ps.get(top) == {"user": "u"}
        with pytest.raises(FileExistsError):
            await ps.create(top, "other")
        assert await ps.get(top) == {"user": "u"}
        await ps.put(top, "fake-new")
        assert await ps.get(top) == "fake-new"
        await ps.delete(top)
        with pytest.raises(KeyError):
            await ps.get(top)
        with pytest.raises(KeyError):
            await ps.delete(top)
        await ps.put(top, "fake-again", type="String")
        assert ssm.get_parameter(Name=top)["Parameter"]["Type"] == "String"
        await ps.put(top, "fake-kept", description="d")
        assert ssm.get_parameter(Name=top)["Parameter"]["Type"] == "String"

    async def test_what_is_sent(self, scripted: Wire) -> None:
        """The request has all settings that were given, and nothing else."""
        scripted.answers = {
            "PutParameter": {"Version": 1},
            "DescribeParameters": {"Parameters": []},
            "DeleteParameter": {},
        }
        async with AsyncParameterStore() as ps:
            await ps.create("/a", "v")
            await ps.create("/a", "v", type="StringList", tier="Advanced")
            await ps.put("/a", "v", **FULL)
            await ps.delete("/a")

        bare = {"Name": "/a", "Value": "v", "Overwrite": False}
        assert scripted.bodies("PutParameter") == [
            {**bare, "Type": "SecureString"},
            {**bare, "Type": "StringList", "Tier": "Advanced"},
            {
                **bare,
                "Type": "SecureString",
                "KeyId": "alias/fake",
                "Description": "what it is",
                "Tags": TAGS,
            },
        ]
        assert scripted.bodies("DeleteParameter") == [{"Name": "/a"}]

    async def test_put_keeps_what_is_not_given(self, scripted: Wire) -> None:
        """`put` keeps them, like `update`."""
        described = {
            "Name": "/a", "Type": "SecureString", "KeyId": "old", "Description": "d",
            "Tier": "Advanced",
        }  # fmt: skip
        scripted.answers = {
            "DescribeParameters": {"Parameters": [described]},
            "PutParameter": {"Version": 2},
        }
        async with AsyncParameterStore() as ps:
            await ps.put("/a", "v")
            await ps.put("/a", "v", type="SecureString", kms_key_id="new")
        kept = {**described, "Value": "v", "Overwrite": True}
        assert scripted.bodies("PutParameter") == [kept, {**kept, "KeyId": "new"}]

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"tags": {"a": "b"}}, "accepts tags only for a new one"),
            ({"type": "String"}, "a String"),
        ],
    )
    async def test_settings_that_an_existing_parameter_rejects(
        self, ps: AsyncParameterStore, ssm: Any, top: str, given: Any, words: str
    ) -> None:
        """Tags and another type are rejected; nothing is written."""
        await ps.create(top, "fake-old")
        with pytest.raises(s1crets.ConfigurationError, match=words):
            await ps.put(top, "fake-new", **given)
        assert ssm.get_parameter(Name=top, WithDecryption=True)["Parameter"]["Version"] == 1

    async def test_a_concurrent_creation_is_overwritten(self, scripted: Wire) -> None:
        """Another process created it after the check."""
        scripted.answers = {
            "DescribeParameters": [
                {"Parameters": []},
                {"Parameters": [{"Name": "/a", "Type": "String"}]},
            ],
            "PutParameter": [refusal("ParameterAlreadyExists"), {"Version": 2}],
        }
        async with AsyncParameterStore() as ps:
            await ps.put("/a", "v")
        sent = [one["Overwrite"] for one in scripted.bodies("PutParameter")]
        assert sent == [False, True]
        assert scripted.bodies("PutParameter")[1]["Type"] == "String"

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("app/x", "must begin with one; did you mean '/app/x'"),
            ("/a" * 16, "has 16 levels; the maximum is 15"),
            ("/aws/x", "begin with aws or ssm"),
            ("/SSM", "begin with aws or ssm"),
            ("awsthing", "begin with aws or ssm"),
        ],
    )
    async def test_a_name_that_no_parameter_can_have(
        self, scripted: Wire, name: str, words: str
    ) -> None:
        """It is rejected before anything is sent."""
        async with AsyncParameterStore() as ps:
            for write in (ps.create, ps.put, ps.update):
                with pytest.raises(s1crets.InvalidNameError, match=words):
                    await write(name, "fake")
        assert scripted.asked == []

    @pytest.mark.parametrize("name", ["/a" * 15, "/awsome/x", "x", "/ssmx/y", "/x/aws", "a/b:1"])
    async def test_a_name_that_aws_decides_on(self, scripted: Wire, name: str) -> None:
        """It is sent."""
        scripted.answers["PutParameter"] = {"Version": 1}
        async with AsyncParameterStore() as ps:
            await ps.create(name, "{{ no reference }}")
        assert scripted.count("PutParameter") == 1

    @pytest.mark.parametrize(
        "value", ["{{ssm:/other}}", f"a {CANARY} {{{{ ssm:b }}}}", ["{{ssm:c}}"]]
    )
    async def test_a_value_with_a_reference(self, scripted: Wire, value: Any) -> None:
        """Parameters can't refer to others; the error does not show the value."""
        async with AsyncParameterStore() as ps:
            with pytest.raises(s1crets.InvalidValueError, match="leave it out") as caught:
                await ps.put("/a", value)
        assert CANARY not in str(caught.value)
        assert scripted.asked == []

    @pytest.mark.parametrize(
        ("size", "given", "fits"),
        [(4096, {"tier": "Standard"}, True), (4097, {"tier": "Standard"}, False),
         (8192, {}, True), (8193, {}, False)],
    )  # fmt: skip
    async def test_sizes(self, scripted: Wire, size: int, given: Any, *, fits: bool) -> None:
        """A value too long for its tier is not sent; AWS checks it if the account sets the tier."""
        scripted.answers["PutParameter"] = {"Version": 1}
        async with AsyncParameterStore() as ps:
            if fits:
                await ps.create("/a", "x" * size, **given)
            else:
                with pytest.raises(s1crets.InvalidValueError, match="bytes"):
                    await ps.create("/a", "x" * size, **given)
        assert len(scripted.asked) == fits

    async def test_describe(self, ps: AsyncParameterStore, top: str) -> None:
        """Parameters at and under the path are listed; all of them without a path."""
        for name in (f"{top}/b", f"{top}/a/x", f"{top}b", top):
            await ps.create(name, "v", type="String")
        await ps.update(top, "v2")
        entries = await ps.describe(top)
        assert [one.name for one in entries] == [top, f"{top}/a/x", f"{top}/b"]
        assert [(one.type, one.version) for one in entries] == [
            ("String", "2"), ("String", "1"), ("String", "1"),
        ]  # fmt: skip
        for one in entries:
            assert one.changed is not None
            assert abs(datetime.now(UTC) - one.changed) < timedelta(hours=1)
        assert {top, f"{top}b"} <= {one.name for one in await ps.describe()}
        assert await ps.describe(f"{top}/nothing") == []

    async def test_describe_asks_for_pages(self, scripted: Wire) -> None:
        """All pages are read; missing fields are empty."""
        scripted.answers["DescribeParameters"] = [
            {"Parameters": [{"Name": "/b"}], "NextToken": "1"},
            {"Parameters": [], "NextToken": "2"},
            {"Parameters": [{"Name": "/a"}]},
        ]
        async with AsyncParameterStore() as ps:
            entries = await ps.describe()
        assert [(one.name, one.type, one.version, one.changed) for one in entries] == [
            ("/a", "", "", None), ("/b", "", "", None),
        ]  # fmt: skip
        assert "ParameterFilters" not in scripted.asked[0].body or (
            scripted.asked[0].body["ParameterFilters"] == []
        )


class TestSecrets:
    """Secrets Manager."""

    async def test_a_life(self, sm: AsyncSecretsManager, asm: Any, top: str) -> None:
        """From creation to deletion, another client and the cache see each step."""
        with pytest.raises(KeyError):
            await sm.get(top)
        await sm.create(top, b"\x00fake", tags={"team": "a"}, description="d")
        described = asm.describe_secret(SecretId=top)
        assert (described["Tags"], described["Description"]) == (
            [{"Key": "team", "Value": "a"}],
            "d",
        )
        assert await sm.get(top) == b"\x00fake"
        with pytest.raises(s1crets.SecretExistsError, match="use another name"):
            await sm.create(top, "other")
        await sm.put(top, "fake-new")
        assert await sm.get(top) == "fake-new"
        await sm.put(top, "fake-newer", description="e")
        assert asm.describe_secret(SecretId=top)["Description"] == "e"
        with pytest.raises(s1crets.ConfigurationError, match="accepts tags only for a new one"):
            await sm.put(top, "fake-newest", tags={"a": "b"})
        assert await sm.get(top) == "fake-newer"
        await sm.delete(top)
        with pytest.raises(KeyError, match="scheduled for deletion"):
            await sm.get(top)
        await sm.delete(top, force=True)
        await sm.put(top, "fake-again", tags={"a": "b"})
        assert await sm.get(top) == "fake-again"

    async def test_what_is_sent(self, scripted: Wire) -> None:
        """The request has all settings, and a token that makes retries idempotent."""
        done = {"VersionId": "v"}
        scripted.answers = {
            "CreateSecret": done, "UpdateSecret": done, "PutSecretValue": done, "DeleteSecret": {},
        }  # fmt: skip
        async with AsyncSecretsManager() as sm:
            await sm.create("a", "v", **FULL)
            await sm.put("a", b"v", kms_key_id="k")
            await sm.put("a", "v")
            await sm.delete("a")
            await sm.delete("a", recovery_days=7)
            await sm.delete("a", force=True)

        (created,), (updated,), (put,) = map(
            scripted.bodies, ("CreateSecret", "UpdateSecret", "PutSecretValue")
        )
        assert {len(one.pop("ClientRequestToken")) for one in (created, updated, put)} == {36}
        assert created == {
            "Name": "a", "SecretString": "v", "KmsKeyId": "alias/fake",
            "Description": "what it is", "Tags": TAGS,
        }  # fmt: skip
        assert updated == {"SecretId": "a", "SecretBinary": "dg==", "KmsKeyId": "k"}
        assert put == {"SecretId": "a", "SecretString": "v"}
        assert scripted.bodies("DeleteSecret") == [
            {"SecretId": "a"},
            {"SecretId": "a", "RecoveryWindowInDays": 7},
            {"SecretId": "a", "ForceDeleteWithoutRecovery": True},
        ]

    async def test_a_repeated_creation_is_the_same_one(self, scripted: Wire) -> None:
        """AWS recognizes it by its token."""
        scripted.answers["CreateSecret"] = [HANG_UP, Reply({}, 500), {"VersionId": "v"}]
        async with AsyncSecretsManager() as sm:
            await sm.create("a", "v")
        tokens = {one["ClientRequestToken"] for one in scripted.bodies("CreateSecret")}
        assert (len(scripted.asked), len(tokens)) == (3, 1)

    async def test_a_concurrent_creation_is_overwritten(self, scripted: Wire) -> None:
        """Another process created it between the two requests."""
        scripted.answers = {
            "PutSecretValue": [refusal("ResourceNotFoundException"), {"VersionId": "v"}],
            "CreateSecret": refusal("ResourceExistsException"),
        }
        async with AsyncSecretsManager() as sm:
            await sm.put("a", "v")
        assert [one.operation for one in scripted.asked] == [
            "PutSecretValue", "CreateSecret", "PutSecretValue",
        ]  # fmt: skip

    async def test_a_name_that_is_scheduled_for_deletion(self, scripted: Wire) -> None:
        """It is in use and can't be written to; the errors say so."""
        gone = refusal(
            "InvalidRequestException",
            "You can't create this secret because a secret with this name is already scheduled"
            " for deletion.",
        )
        scripted.answers = dict.fromkeys(("CreateSecret", "PutSecretValue", "DeleteSecret"), gone)
        async with AsyncSecretsManager() as sm:
            with pytest.raises(s1crets.SecretExistsError, match=r"scheduled for deletion.*restore"):
                await sm.create("a", "v")
            for work in (sm.put("a", "v"), sm.delete("a")):
                with pytest.raises(s1crets.SecretNotFoundError, match="scheduled for deletion"):
                    await work

    async def test_describe(self, sm: AsyncSecretsManager, asm: Any, top: str) -> None:
        """Secrets at and under the path are listed, with the ids of their current versions."""
        for name in (f"{top}/b", f"{top}b", top):
            await sm.create(name, "v")
        await sm.update(top, "v2")
        entries = await sm.describe(top)
        assert [one.name for one in entries] == [top, f"{top}/b"]
        for one in entries:
            current = asm.get_secret_value(SecretId=one.name)["VersionId"]
            assert (one.type, one.version) == ("secret", current)
            assert one.changed is not None
        assert {top, f"{top}b"} <= {one.name for one in await sm.describe()}

    @pytest.mark.parametrize("stages", [["not a dict"], "text"])
    async def test_describe_rejects_malformed_stages(self, scripted: Wire, stages: Any) -> None:
        """A response with other types is a bad response."""
        secret = {"Name": "a", "SecretVersionsToStages": stages}
        scripted.answers["ListSecrets"] = {"SecretList": [secret]}
        async with AsyncSecretsManager() as sm:
            with pytest.raises(s1crets.BadResponseError):
                await sm.describe()


@pytest.mark.parametrize("cls", [ParameterStore, SecretsManager])
def test_blocking(cls: Any, top: str) -> None:
    """The blocking classes do the same."""
    with cls() as store:
        store.create(top, "fake-1")
        with pytest.raises(FileExistsError):
            store.create(top, "fake-2")
        store.put(top, "fake-3")
        assert [one.name for one in store.describe(top)] == [top]
        assert store.get(top) == "fake-3"
        store.delete(top)
        assert store.get(top, default=None) is None


@pytest.mark.parametrize("name", ["aws.ps", "aws.sm"])
async def test_module_verbs(name: str, top: str) -> None:
    """The first argument is the provider's name."""
    await s1crets.aio.create(name, top, "fake-1", description="d")
    await s1crets.aio.put(name, top, "fake-2")
    assert await s1crets.aio.get(name, top) == "fake-2"
    await s1crets.aio.delete(name, top)
    assert await s1crets.aio.get(name, top, default=None) is None


@pytest.mark.parametrize("name", ["aws.ps", "aws.sm"])
def test_blocking_module_verbs(name: str, top: str) -> None:
    """The blocking functions do the same."""
    s1crets.create(name, top, "fake-1", description="d")
    s1crets.put(name, top, "fake-2")
    assert s1crets.get(name, top) == "fake-2"
    s1crets.delete(name, top)
    assert s1crets.get(name, top, default=None) is None


@pytest.mark.parametrize("cls", [AsyncParameterStore, AsyncSecretsManager])
@pytest.mark.parametrize("verb", ["create", "put", "delete"])
async def test_nobody_gets_the_value_from_before_a_write(
    scripted: Wire, cls: Any, verb: str
) -> None:
    """Not from the cache, and also if AWS's response was lost."""
    value = ["fake-old"]

    def answer(asked: Asked) -> Any:
        if asked.operation in {"GetParameter", "GetSecretValue"}:
            return {**parameter("/a", value[0]), "SecretString": value[0]}
        if asked.operation.startswith(("Describe", "Get")):
            return {"Parameters": [{"Name": "/a", "Value": value[0]}], "Name": "/a"}
        value[0] = "fake-new"
        return HANG_UP

    scripted.answers = dict.fromkeys(
        ("GetParameter", "GetSecretValue", "DescribeSecret", "DescribeParameters", "PutParameter",
         "DeleteParameter", "PutSecretValue", "CreateSecret", "DeleteSecret"), answer
    )  # fmt: skip
    async with cls(retry=1) as store:
        assert await store.get("/a") == "fake-old"
        assert await store.path_exists("/a")
        before = len(scripted.asked)
        with pytest.raises(s1crets.UnavailableError):
            await getattr(store, verb)("/a", *([] if verb == "delete" else ["fake-new"]))
        assert await store.get("/a") == "fake-new"
        assert await store.path_exists("/a")
        assert len(scripted.asked) >= before + 3


WRONG: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"kms_key_id": ""}, ValueError),
    ({"kms_key_id": 5}, TypeError),
    ({"description": "x" * 2049}, ValueError),
    ({"description": b"d"}, TypeError),
    ({"tags": [("a", "b")]}, TypeError),
    ({"tags": {"a": 1}}, TypeError),
    ({"tags": {1: "a"}}, TypeError),
    ({"tags": {"": "a"}}, ValueError),
    ({"tags": {"x" * 129: "a"}}, ValueError),
    ({"tags": {"a": "x" * 257}}, ValueError),
    ({"tags": {"aws:a": "b"}}, ValueError),
    ({"tags": {str(i): "" for i in range(51)}}, ValueError),
]
WRONG_PARAMETERS: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"type": "Secure"}, ValueError),
    ({"type": 5}, ValueError),
    ({"tier": "advanced"}, ValueError),
    ({"type": "String", "kms_key_id": "k"}, ValueError),
    ({"description": "x" * 1025}, ValueError),
]


@pytest.mark.parametrize(
    ("cls", "options", "error"),
    [
        *((AsyncParameterStore, *one) for one in WRONG + WRONG_PARAMETERS),
        *((AsyncSecretsManager, *one) for one in WRONG),
    ],
)
@pytest.mark.parametrize("verb", ["create", "put"])
async def test_settings_that_make_no_sense(
    scripted: Wire, cls: Any, options: Any, error: Any, verb: str
) -> None:
    """They are rejected before anything is sent."""
    async with cls() as store:
        with pytest.raises(error):
            await getattr(store, verb)("/a", CANARY, **options)
    assert scripted.asked == []


@pytest.mark.parametrize("cls", [AsyncParameterStore, AsyncSecretsManager])
@pytest.mark.parametrize("verb", ["create", "put"])
@pytest.mark.parametrize("value", [None, 5, {1, 2}, "", "\ud800", object()])
async def test_values_that_cant_be_stored(scripted: Wire, cls: Any, verb: str, value: Any) -> None:
    """They are rejected before anything is sent."""
    async with cls() as store:
        with pytest.raises(s1crets.InvalidValueError):
            await getattr(store, verb)("/a", value)
        for name in ("", None, "a\x00"):
            with pytest.raises(s1crets.InvalidNameError):
                await getattr(store, verb)(name, "v")
            with pytest.raises(s1crets.InvalidNameError):
                await store.delete(name)
    assert scripted.asked == []


@pytest.mark.parametrize("name", [None, 5, "a\x00"])
async def test_names_that_nothing_can_begin_with(scripted: Wire, name: Any) -> None:
    """They are rejected before anything is sent."""
    for store in (AsyncParameterStore(), AsyncSecretsManager()):
        async with store:
            with pytest.raises(s1crets.InvalidNameError):
                await store.describe(name)
    assert scripted.asked == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"recovery_days": 6}, ValueError),
        ({"recovery_days": 31}, ValueError),
        ({"recovery_days": 7.5}, TypeError),
        ({"recovery_days": True}, TypeError),
        ({"recovery_days": 7, "force": True}, ValueError),
    ],
)
async def test_recoveries_that_make_no_sense(scripted: Wire, options: Any, error: Any) -> None:
    """They are rejected before anything is sent."""
    async with AsyncSecretsManager() as sm:
        with pytest.raises(error):
            await sm.delete("a", **options)
    assert scripted.asked == []


JUNK = st.one_of(
    st.none(), st.text(max_size=300), st.integers(), st.booleans(), st.binary(max_size=5),
    st.dictionaries(st.text(max_size=140), st.text(max_size=300), max_size=60),
)  # fmt: skip


@settings(max_examples=100)
@given(kind=JUNK, key=JUNK, description=JUNK, tier=JUNK, tags=JUNK)
def test_settings_fuzzed(kind: Any, key: Any, description: Any, tier: Any, tags: Any) -> None:
    """Any settings lead to arguments that AWS accepts, or to a documented error."""
    calls: list[Callable[[], dict[str, Any]]] = [
        lambda: parameter_settings(kind, key, description, tier, tags),
        lambda: secret_settings(key, description, tags),
        lambda: deletion(key, force=bool(tier)),
    ]
    for call in calls:
        try:
            found = call()
        except (TypeError, s1crets.ConfigurationError):
            continue
        assert set(found) <= {
            "Type", "KeyId", "KmsKeyId", "Description", "Tier", "Tags", "RecoveryWindowInDays",
            "ForceDeleteWithoutRecovery",
        }  # fmt: skip
        assert all(set(tag) == {"Key", "Value"} for tag in found.get("Tags", []))


@pytest.mark.parametrize("cls", [AsyncParameterStore, AsyncSecretsManager])
@pytest.mark.parametrize("verb", ["create", "put"])
@pytest.mark.parametrize(
    "answer",
    [
        refusal("ValidationException", f"value '{CANARY}' failed"),
        refusal("InternalServerError", CANARY, 500),
        Reply(f"<html>{CANARY}</html>".encode()),
        {},
        HANG_UP,
    ],
)
async def test_errors_do_not_show_the_value(
    scripted: Wire, cls: Any, verb: str, answer: Any
) -> None:
    """Neither AWS's message nor the locals of our frames show it."""
    scripted.answers = dict.fromkeys(("PutParameter", "CreateSecret", "PutSecretValue"), answer)
    scripted.answers["DescribeParameters"] = {"Parameters": []}
    async with cls(retry=1) as store:
        with pytest.raises(s1crets.S1cretsError) as caught:
            await getattr(store, verb)("/a", CANARY)
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = [repr(frame.locals) for frame in report.stack if frame.filename != __file__]
    assert CANARY not in "".join([str(caught.value), repr(caught.value), *frames])
