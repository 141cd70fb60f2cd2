"""A soak: mixed load for minutes on an AWS that fails at random: `python benchmarks/soak.py`.

Prints what is in use after each round, at rest, and at the end each promise that was broken; then
the exit code is 1. Promised is: no error that no injected fault explains; values that are right,
and not older than an update that the same provider acknowledged; nothing logged as a warning;
memory, objects, tasks, threads, sockets and files that do not grow. `--minutes 0.5` is a quick one;
`--without expired --only disk` finds out which fault and which provider it takes. Linux alone; with
`MALLOC_ARENA_MAX=1` the threads do not each have a heap, and memory is as steady as the objects.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from logging import WARNING, getLogger
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

from run import server

from s1crets.errors import BatchError, InsecureCacheWarning, S1cretsError

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKERS = 6  # of a provider; half as many where they are threads
PAUSE = 0.02  # seconds between two calls of a worker
CACHED, CANCELLED, ALL = 0.8, 0.15, 0.2  # parts of the calls: cached, cancelled; invalidating all
VERBS = {"get": 50, "get_many": 15, "get_by_path": 5, "path_exists": 5, "peek": 15, "update": 8}
VERBS["invalidate"] = 2
EXPLAINED = {  # which faults explain an error
    "ThrottledError": {"throttled"},
    "UnavailableError": {"failed", "unavailable", "delayed", "truncated", "hung up"},
    "BadResponseError": {"malformed", "truncated"},
    "CredentialsError": {"expired"},
    "DeadlineExceededError": {"delayed", "throttled", "failed", "unavailable"},
}
IN_NAME = {"SecretNotFoundError": "missing", "AccessDeniedError": "denied"}
GROWTH = {  # how much more the last third of the rounds may have than the one before: part, number
    "MB": (0.02, 2),
    "objects": (0.01, 2000),
    "tasks": (0, 2),
    "threads": (0.25, 10),  # of pools, which end when they have idled for a while
    "sockets": (0.25, 10),
    "files": (0, 2),
}


def providers(folder: Path) -> dict[str, Any]:
    """Return what is put under load; the names say what it is to the rest of this file."""
    from s1crets.providers import aws

    usual: Any = {"timeout": 1.0, "deadline": 10.0, "max_connections": 10}
    hasty: Any = {**usual, "deadline": 0.2}
    memory: Any = {"cache_size": 150, "cache_ttl": 3}
    ahead: Any = {**memory, "refresh_ahead": 1}
    stale: Any = {**ahead, "stale_for": 20}

    def disk(name: str, **more: Any) -> Any:
        folders = {"key_cache_dir": folder / name / "k", "path_cache_dir": folder / name / "p"}
        return {**memory, "cache_on_disk": True, **folders, **more}

    return {
        "ps": aws.AsyncParameterStore(cache_args=stale, **usual),
        "ps, disk": aws.AsyncParameterStore(cache_args=disk("a", stale_for=20), **usual),
        "ps, no cache": aws.AsyncParameterStore(cache_args={"cache_ttl": 0}, **usual),
        "sm": aws.AsyncSecretsManager(cache_args=memory, **usual),
        "sm, hasty": aws.AsyncSecretsManager(cache_args=ahead, **hasty),
        "blocking ps": aws.ParameterStore(cache_args=ahead, **usual),
        "blocking ps, hasty": aws.ParameterStore(cache_args=memory, **hasty),
        "blocking sm, disk": aws.SecretsManager(
            cache_args=disk("b", cache_key=os.urandom(32)), **usual
        ),
    }


@dataclass
class Call:
    """A call of one provider, the names that it is about, and the oldest versions it may see."""

    who: str
    verb: str
    arguments: list[Any]
    names: list[str]
    oldest: dict[str, int]
    options: dict[str, Any]


@dataclass
class Soak:
    """What was called, what is known of what is stored, and what was not as promised."""

    counts: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    begun: Counter[str] = field(default_factory=Counter)  # the last version of a name
    acknowledged: Counter[tuple[str, str]] = field(default_factory=Counter)  # by provider
    lock: threading.Lock = field(default_factory=threading.Lock)

    def breach(self, what: str) -> None:
        """Note a promise that was broken."""
        self.broken.append(what)
        print("BROKEN:", what, flush=True)

    def plan(self, who: str, chance: random.Random) -> Call:
        """Return what to call next."""
        top = "/soak" if "ps" in who else "soak"
        (verb,) = chance.choices(list(VERBS), list(VERBS.values()))
        below = [f"{top}/25/{i}" for i in range(25)]
        names = [*below * 4, *(f"{top}/{i}/json" for i in range(200))]  # more than a cache holds
        names += [f"{top}/missing", f"{top}/denied"] * 4
        chosen = chance.choices(names, k=chance.randint(1, 40) if verb == "get_many" else 1)
        chosen = below if verb == "get_by_path" else list(dict.fromkeys(chosen))
        options: dict[str, Any] = (
            {"cached": chance.random() < CACHED} if verb.startswith("get") else {}
        )
        arguments: list[Any] = [chosen[0]]
        if verb == "get_by_path":
            arguments = [f"{top}/25"]
        elif verb == "get_many":
            arguments, options["errors"] = [chosen], chance.choice(["raise", "return"])
        elif verb == "update":
            with self.lock:
                self.begun[chosen[0]] += 1
                text = f"fake {chosen[0]} {self.begun[chosen[0]]}"
            arguments.append({"password": text} if "json" in chosen[0] else text)
        elif verb == "invalidate" and chance.random() < ALL:
            arguments = []
        oldest = {name: self.acknowledged[who, name] for name in chosen}
        return Call(who, verb, arguments, chosen, oldest, options)

    @contextmanager
    def judged(self, call: Call) -> Iterator[list[Any]]:
        """Judge what is put into the list, or the error."""
        results: list[Any] = []
        try:
            yield results
        except asyncio.CancelledError:
            self.counts["cancelled"] += 1
        except Exception as error:  # noqa: BLE001  # whatever it is, it is judged
            self.explain(call, error, call.names[0])
        else:
            self.counts["calls"] += 1
            self.judge(call, results[0])

    def judge(self, call: Call, result: Any) -> None:
        """Compare a result with what it may be."""
        name = call.names[0]
        if call.verb == "update":
            version = int(str(call.arguments[1]).rsplit(" ", 1)[1].strip("'}"))
            with self.lock:
                key = (call.who, name)
                self.acknowledged[key] = max(version, self.acknowledged[key])
        elif call.verb == "path_exists":
            if result is not ("missing" not in name):
                self.breach(f"{call.who}: path_exists({name!r}) is {result}")
        elif call.verb == "get" or (call.verb == "peek" and result is not None):
            self.read(call, name, result)
        elif call.verb in ("get_many", "get_by_path"):
            if list(result) != call.names:
                self.breach(f"{call} found {list(result)}")
            for one, value in result.items():
                if isinstance(value, S1cretsError):
                    self.explain(call, value, one)
                else:
                    self.read(call, one, value)

    def read(self, call: Call, name: str, value: Any) -> None:
        """See whether a value is the name's, and new enough."""
        text = value["password"] if isinstance(value, dict) else value
        head, mine, version = str(text).partition(f"fake {name}")
        right = not head and mine and (version or " 0").strip().isdecimal()
        if not right or not call.oldest[name] <= int(version or 0) <= self.begun[name]:
            self.breach(f"{call.who}: {call.verb} of {name} read {text!r}, not {call.oldest[name]}")

    def explain(self, call: Call, error: BaseException, name: str) -> None:
        """See whether there is a reason for an error; read what came with it."""
        if isinstance(error, BatchError):
            for one, of_one in error.errors.items():
                self.explain(call, of_one, one)
            for one, value in error.values.items():
                self.read(call, one, value)
            return
        kind = type(error).__name__
        late = kind == "DeadlineExceededError" and "hasty" in call.who  # as it is meant to be
        self.counts["too late, hasty" if late else kind] += 1
        if kind not in EXPLAINED and IN_NAME.get(kind, "nothing") not in name:
            self.breach(f"{call.who}: {call.verb} of {name}: {kind}: {error}")

    async def awaited(self, who: str, store: Any, chance: random.Random, end: float) -> None:
        """Call an async provider again and again, and sometimes change one's mind."""
        while time.monotonic() < end:
            call = self.plan(who, chance)
            with self.judged(call) as results:
                result = getattr(store, call.verb)(*call.arguments, **call.options)
                if call.verb != "peek":
                    result = asyncio.ensure_future(result)
                    if chance.random() < CANCELLED:
                        asyncio.get_running_loop().call_later(
                            PAUSE * chance.random(), result.cancel
                        )
                    result = await result
                results.append(result)
            await asyncio.sleep(chance.expovariate(1 / PAUSE))

    def blocking(self, who: str, store: Any, chance: random.Random, end: float) -> None:
        """Call a facade again and again."""
        while time.monotonic() < end:
            call = self.plan(who, chance)
            with self.judged(call) as results:
                results.append(getattr(store, call.verb)(*call.arguments, **call.options))
            time.sleep(chance.expovariate(1 / PAUSE))

    async def load(self, stores: dict[str, Any], seed: str, end: float) -> None:
        """Put all of them under load until `end`."""
        with ThreadPoolExecutor(WORKERS * len(stores)) as pool:
            workers: list[Any] = []
            for who, store in stores.items():
                for worker in range(WORKERS):
                    chance = random.Random(f"{seed} {who} {worker}")  # noqa: S311
                    if not who.startswith("blocking"):
                        workers.append(self.awaited(who, store, chance, end))
                    elif worker % 2:
                        loop = asyncio.get_running_loop()
                        run = loop.run_in_executor(pool, self.blocking, who, store, chance, end)
                        workers.append(run)
            await asyncio.gather(*workers)


def measure() -> dict[str, float]:
    """Return what must not grow."""
    gc.collect()
    objects = gc.get_objects()
    files = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one of this listing
            files.append(str(descriptor.readlink()))
    sockets = sum(file.startswith("socket:") for file in files)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "MB": pages * os.sysconf("SC_PAGESIZE") / 1e6,
        "objects": len(objects),
        "tasks": sum(isinstance(one, asyncio.Task) for one in objects),
        "threads": threading.active_count(),
        "sockets": sockets,
        "files": len(files) - sockets,
    }


def grown(rounds: list[dict[str, float]]) -> Iterator[str]:
    """Say what is more in the last third of the rounds than in the one before."""
    third = len(rounds) // 3
    for what, (part, number) in GROWTH.items():
        before = statistics.median(one[what] for one in rounds[-2 * third : -third])
        last = statistics.median(one[what] for one in rounds[-third:])
        if last > before * (1 + part) + number:
            yield f"{what} grew from {before:.0f} to {last:.0f}"


def faults() -> Counter[str]:
    """Return what the server counted since it was last asked."""
    with urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + "/counts") as answer:  # noqa: S310
        return Counter(json.loads(answer.read()))


async def run(soak: Soak, chosen: argparse.Namespace, stores: dict[str, Any]) -> None:
    """Run the rounds, and judge the whole."""
    length = min(10.0, chosen.minutes * 60 / 9)
    rounds: list[dict[str, float]] = []
    total: Counter[str] = Counter()
    print("round", "calls", *GROWTH, "broken", sep="\t")
    for number in range(round(chosen.minutes * 60 / length)):
        await soak.load(stores, f"{chosen.seed} {number}", time.monotonic() + length)
        await asyncio.sleep(1)  # what goes on in the background comes to its end
        total += await asyncio.to_thread(faults)
        rounds.append(measure())
        figures = [f"{figure:.0f}" for figure in rounds[-1].values()]
        print(number, soak.counts["calls"], *figures, len(soak.broken), sep="\t", flush=True)
    for what in grown(rounds):
        soak.breach(what)
    for kind, reasons in EXPLAINED.items():
        if soak.counts[kind] and not any(total[reason] for reason in reasons):
            soak.breach(f"{kind}, with none of the faults that explain it")
    print("the server counted", dict(total))
    print("the callers counted", dict(soak.counts))
    for who, store in stores.items():
        print(who, store.stats)
        await store.aclose() if hasattr(store, "aclose") else store.close()


def main() -> None:
    """Soak."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=10.0)
    options.add_argument("--seed", type=int, default=random.randrange(10**6))  # noqa: S311
    options.add_argument("--faults", type=float, default=0.05, help="part of the answers")
    options.add_argument("--without", default="", help="a fault to leave out")
    options.add_argument("--only", default="", help="providers whose name has this in it")
    chosen = options.parse_args()
    print(" ".join(f"--{name} {value}" for name, value in vars(chosen).items() if value != ""))
    soak, logged = Soak(), BufferingHandler(10**6)
    logged.setLevel(WARNING)
    logged.addFilter(lambda record: not record.getMessage().startswith("an expired value"))
    getLogger().addHandler(logged)
    sys.unraisablehook = lambda bad: soak.breach(f"unraisable: {bad.exc_value!r} of {bad.object!r}")
    warnings.simplefilter("ignore", InsecureCacheWarning)
    rate, seed = str(chosen.faults), str(chosen.seed)
    with (
        tempfile.TemporaryDirectory() as folder,
        server("--faults", rate, "--seed", seed, "--without", chosen.without) as environment,
    ):
        os.environ.update(environment)
        stores = {who: one for who, one in providers(Path(folder)).items() if chosen.only in who}
        asyncio.run(run(soak, chosen, stores))
    for record in logged.buffer:
        soak.breach(f"logged by {record.name}: {record.getMessage()} {record.exc_info or ''}")
    print(f"{len(soak.broken)} promises broken", *dict.fromkeys(soak.broken), sep="\n  ")
    sys.exit(bool(soak.broken))


if __name__ == "__main__":
    main()
