"""Runs every case of every implementation side by side, and writes `results.md` and the plots.

Each measurement is a process of its own; the implementations of a case take turns, several times.
Machines are noisy: what counts are the ratios of one case. `quick` runs what is short once, and
writes nothing; `--only TEXT` runs some cases alone. `instructions` counts the instructions of some
cases with valgrind, and writes `instructions.md`: noise does not change them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from cases import CASES, CURVES, Took
from report import (
    Result,
    curve_table,
    instruction_table,
    plot_curves,
    plot_hits,
    table,
    target_table,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
PEERS = HERE / ".venv-peers"
REQUIREMENTS = HERE.parent / "requirements" / "peers.txt"
SDK = "aws-sdk-secrets-manager"
IN_PEERS = {"s1crets 0.0.12", "powertools", "aws-secretsmanager-caching", SDK}
FAR = {"get_many, 1,000 names", "1,000 concurrent gets", "get_many, 1,000 secrets"}
FAR |= {"get_by_path, 1,000 names", "cold names"}
QUOTA = "4,000 names, 40 requests a second"
GROWTH = "MB more after 100,000 names"
COLD, START = "process with one get", "start of a process"
SIZES = {
    "cold names": [10, 100, 1000, 10_000, 100_000],
    "entries": [1000, 10_000, 100_000],
    "tasks": [1, 10, 100, 1000, 10_000],
    "threads": [1, 2, 4, 8, 16, 32, 64],
    "paths": [1, 10, 100, 1000],
}
NO_FURTHER = {  # the last point of a curve: the next one takes half a minute
    ("cold names", "powertools"): 1000,
    ("cold names", "boto3, 50 threads"): 1000,
    ("entries", "s1crets 0.0.12"): 1000,
}
COUNTED = {  # whose instructions are counted
    "sync hit, text": ["s1crets", "s1crets 0.0.12"],
    "async hit, text": ["s1crets", "bare coroutine"],
    "hit, JSON of four fields": ["s1crets", "s1crets 0.0.12"],
    "disk hit": ["s1crets", "s1crets, encrypted", "diskcache itself"],
    "Redis hit, encrypted": ["s1crets", "redis-py's get"],
    "each of 200 Redis hits at once": ["s1crets", "redis-py's get"],
    "uncached get, Parameter Store": ["s1crets", "aiobotocore"],
    "uncached get, Secrets Manager": ["s1crets", "aiobotocore"],
    "uncached blocking get": ["s1crets", "aiobotocore, awaited"],
    "1,000 concurrent gets": ["s1crets", "aiobotocore, batches by hand"],
    "get_many, 1,000 names": ["s1crets", "aiobotocore, batches by hand"],
}
MOST = 10.0  # seconds of a case after its first round, then no further round begins
LONG = {QUOTA, GROWTH}  # cases that run once, and not in `quick`
SLOW = 8.0  # seconds; what takes longer is not repeated, and not with ten times as many names


@contextmanager
def server(*options: str) -> Iterator[dict[str, str]]:
    """Run the local AWS; yield the environment that leads there."""
    process = subprocess.Popen(
        [sys.executable, HERE / "server.py", *options], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    url = f"http://127.0.0.1:{process.stdout.readline().strip()}"
    clean = {name: text for name, text in os.environ.items() if not name.startswith("AWS_")}
    clean.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has its bytecode
    try:
        yield {
            **clean,
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "fake",
            "AWS_SECRET_ACCESS_KEY": "fake",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    finally:
        process.kill()
        process.wait()


def peers() -> str:
    """Make the environment of those that ours does not have, once; return its Python."""
    python = PEERS / "bin" / "python"
    if not (PEERS / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", PEERS], check=True)
        install = ["pip", "install", "--require-hashes", "--only-binary", ":all:"]
        subprocess.run([python, "-m", *install, "--requirement", REQUIREMENTS], check=True)
        (PEERS / "ready").touch()
    return str(python)


def measure(env: dict[str, str], case: str, name: str, *size: str) -> tuple[Took, dict[str, int]]:
    """Run one case once; return what it took and the requests that came."""
    python = peers() if name in IN_PEERS else sys.executable
    _counts(env)
    began = time.monotonic()
    done = subprocess.run(
        [python, HERE / "cases.py", case, name, *size],
        env=env, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    took: Took = json.loads(done.stdout)
    passed = f"{time.monotonic() - began:.0f} s"
    print(passed, f"{case}: {name}", *size, {what: f"{one:.3g}" for what, one in took.items()})
    counts = _counts(env)
    return {**took, "throttled": counts.get("throttled", 0)}, counts


def _counts(env: dict[str, str]) -> dict[str, int]:
    with urllib.request.urlopen(env["AWS_ENDPOINT_URL"] + "/counts") as answer:  # noqa: S310
        counts: dict[str, int] = json.loads(answer.read())
    return counts


def run_case(case: str, rounds: int) -> Result:
    """Run all implementations of a case in turns."""
    names = [name for name in CASES[case] if name != SDK or sys.version_info >= (3, 12)]
    result = Result({name: [] for name in names}, {}, is_far=case in FAR or case == QUOTA)
    options = ["--latency", "20"] if result.is_far else []
    options += ["--quota", "40"] if case == QUOTA else []
    until = float("inf")
    with server(*options) as env:
        for number in range(1 if case in LONG else rounds):
            if number == 1:  # the first round has what is too slow to be repeated
                until = time.monotonic() + MOST
            if time.monotonic() > until:
                break
            for name in names:
                if rounds == 1 and case in FAR and name == "s1crets 0.0.12":
                    continue  # 22 seconds
                if number == 0 or result.took[name][0].get("wall", 0) < SLOW:
                    took, result.requests[name] = measure(env, case, name)
                    result.took[name].append(took)
    return result


def count_instructions(case: str) -> Result:
    """Count the instructions of one operation of a case, for each implementation."""
    result = Result({}, {})
    with server() as env:
        env |= {"BENCH_INSTRUCTIONS": "1", "BENCH_CALLS": "300", "BENCH_REQUESTS": "50"}
        for name in COUNTED[case]:
            python = peers() if name in IN_PEERS else sys.executable
            job = [python, str(HERE / "cases.py"), case, name]
            stdout, count = in_valgrind(job, env, "--instr-atstart=no")
            result.took[name] = [{"cpu": count / json.loads(stdout)["operations"]}]
    return result


def in_valgrind(job: list[str], env: dict[str, str], *options: str) -> tuple[str, int]:
    """Return what a process prints, and the number of its instructions."""
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *options]
    done = subprocess.run(
        [*valgrind, *job],
        env={**env, "PYTHONHASHSEED": "0"}, cwd=HERE,
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found
    print(f"{int(found[1]):,}", job[-1])
    return done.stdout, int(found[1])


def start_up_jobs() -> dict[tuple[str, str], list[str]]:
    """Return the commands of whole processes: scripts that read one secret, imports."""
    folder = HERE / ".cache"
    command = str(Path(sys.executable).parent / "s1crets")
    ours = "from s1crets.providers.aws import ParameterStore; ParameterStore().get('/hit')"
    bare = """
import asyncio
from aiobotocore.session import get_session
async def main():
    async with get_session().create_client("ssm") as client:
        await client.get_parameter(Name="/hit")
asyncio.run(main())"""
    python = [sys.executable, "-c"]
    return {
        (COLD, "s1crets"): [*python, ours],
        (COLD, "aiobotocore"): [*python, bare],
        (COLD, "s1crets 0.0.12"): [peers(), "-c", ours],
        (COLD, "command s1crets"): [command, "get", "/hit"],
        (START, "s1crets get, warm disk"): [command, "get", "/hit", "--cache-dir", str(folder)],
        (START, "s1crets --help"): [command, "--help"],
        (START, "import s1crets.providers.aws"): [*python, "import s1crets.providers.aws"],
        (START, "import s1crets"): [*python, "import s1crets"],
        (START, "import asyncio"): [*python, "import asyncio"],
        (START, "python -c pass"): [*python, "pass"],
    }


def count_start_ups() -> dict[str, Result]:
    """Count the instructions of whole processes."""
    results = {case: Result({}, {}) for case in (COLD, START)}
    with server() as env:
        for (case, name), job in start_up_jobs().items():
            interpreted = job if job[0].endswith("python") else [sys.executable, *job]
            if "warm" in name:
                subprocess.run(job, env=env, cwd=HERE, check=True, stdout=subprocess.DEVNULL)
            results[case].took[name] = [{"cpu": in_valgrind(interpreted, env)[1]}]
    return results


def start_ups(rounds: int) -> dict[str, Result]:
    """Measure whole processes."""
    jobs = start_up_jobs()
    results = {case: Result({}, {}, is_compared=case == COLD) for case in (COLD, START)}
    with server() as env:
        subprocess.run(jobs[START, "s1crets get, warm disk"], env=env, check=True)
        for _ in range(2 * rounds - 1):
            for (case, name), job in jobs.items():
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                subprocess.run(job, env=env, cwd=HERE, check=True, stdout=subprocess.DEVNULL)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
                results[case].took.setdefault(name, []).append({"cpu": cpu})
    return results


def run_curve(curve: str) -> dict[str, list[tuple[int, Took]]]:
    """Measure each implementation with more and more of something."""
    found: dict[str, list[tuple[int, Took]]] = {name: [] for name in CURVES[curve]}
    too_slow = set()
    with server(*(["--latency", "20"] if curve in FAR else [])) as env:
        for size in SIZES[curve]:
            for name in [name for name in found if name not in too_slow]:
                start = time.perf_counter()
                took, _ = measure(env, curve, name, str(size))
                found[name].append((size, took))
                is_last = size == NO_FURTHER.get((curve, name))
                if is_last or time.perf_counter() - start > SLOW:
                    too_slow.add(name)
    return found


_INSTRUCTIONS = f"""# Instructions, as `make bench ARGS=instructions` counts them

With valgrind, in user space, Python {platform.python_version()}, {platform.machine()}. They do not
depend on the machine's speed, nor on what else it does; times also depend on memory and the kernel.

"""


def main() -> None:
    """Run what was asked for."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("how", nargs="?", choices=["quick", "instructions"], help="see above")
    options.add_argument("--only", default="", metavar="TEXT", help="cases with this in the name")
    chosen = options.parse_args()
    if chosen.how == "instructions":
        counted = {case: count_instructions(case) for case in COUNTED if chosen.only in case}
        if not chosen.only:
            counted |= count_start_ups()
        text = "\n".join(instruction_table(counted)) + "\n"
        print(text) if chosen.only else (HERE / "instructions.md").write_text(_INSTRUCTIONS + text)
        return
    rounds = 1 if chosen.how else 5
    if chosen.how:
        os.environ["BENCH_CALLS"] = "500"
    began = time.monotonic()
    cases = [case for case in CASES if chosen.only in case and not (chosen.how and case in LONG)]
    results = {case: run_case(case, rounds) for case in cases}
    if chosen.only in COLD or chosen.only in START:
        results |= start_ups(rounds)
    curves = {one: run_curve(one) for one in CURVES if chosen.only in one and not chosen.how}
    took = f"Took {(time.monotonic() - began) / 60:.1f} minutes."
    image = "![CPU time by entries, threads, tasks and paths](curves.svg)"
    tables = [*target_table(results), "", *table(results), "", image, "", *curve_table(curves)]
    if chosen.only or chosen.how:
        print("\n".join([*tables, "", took]))
        return
    packages = ["aiobotocore", "botocore", "aiocache", "diskcache", "anyio"]
    head = f"""# Results of `make bench`

{time.strftime("%Y-%m-%d")}, Python {platform.python_version()}, {platform.machine()},
{os.cpu_count()} cores; {", ".join(f"{name} {version(name)}" for name in packages)}. {took}
AWS is `benchmarks/server.py` on loopback: 20 ms away where seconds are shown, with a quota of 40
requests a second in the last of those. Implementations of a case took turns; each figure is that
of the fastest turn, or the ratio of the fastest turns, as what else runs on a machine only adds;
then come the extremes of the turns.
Compare only numbers of one case. The same ratios by instructions, which do not depend on the
machine: [instructions.md](instructions.md).

"""
    (HERE / "results.md").write_text(head + "\n".join(tables) + "\n")
    plot_hits(results)
    plot_curves(curves)


if __name__ == "__main__":
    main()
