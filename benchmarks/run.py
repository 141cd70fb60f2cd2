"""Runs every case of every implementation side by side, and writes `results.md` and the plots.

Each measurement is a process of its own; the implementations of a case take turns, several times.
Machines are noisy: what counts are the ratios of one run. `--only TEXT` runs some cases alone,
`--quick` each one once and without the sweep.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cases import CASES, SWEEP

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
PEERS = HERE / ".venv-peers"
REQUIREMENTS = HERE.parent / "requirements" / "peers.txt"
IN_PEERS = {"s1crets 0.0.12", "powertools", "aws-secretsmanager-caching"}
FAR = {"1,000 cold names", "1,000 concurrent gets", "1,000 secrets", "get_by_path, 1,000 names"}
QUOTA = "4,000 names, 40 requests a second"
SLOW = {QUOTA, "MB more after 100,000 names"}
SIZES = [10, 100, 1000, 10_000, 100_000]
START = "CPU of a start"
LONGEST = 30.0  # seconds; what would take longer is left out of the sweep


@contextmanager
def server(*options: str) -> Iterator[dict[str, str]]:
    """Run the loopback AWS; yield the environment that leads there."""
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


def measure(case: str, implementation: str, env: dict[str, str]) -> tuple[float, dict[str, int]]:
    """Run one case once; return the number and the requests that came."""
    python = peers() if implementation in IN_PEERS else sys.executable
    _counts(env)
    done = subprocess.run(
        [python, HERE / "cases.py", case, implementation],
        env=env, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return float(done.stdout), _counts(env)


def _counts(env: dict[str, str]) -> dict[str, int]:
    with urllib.request.urlopen(env["AWS_ENDPOINT_URL"] + "/counts") as answer:  # noqa: S310
        counts: dict[str, int] = json.loads(answer.read())
    return counts


def run_case(case: str, rounds: int) -> dict[str, Any]:
    """Run all implementations of a case in turns."""
    found: dict[str, list[float]] = {name: [] for name in CASES[case]}
    counts: dict[str, dict[str, int]] = {}
    options = ["--latency", "20"] if case in FAR or case == QUOTA else []
    options += ["--quota", "40"] if case == QUOTA else []
    for _ in range(1 if case in SLOW else rounds):
        for name in CASES[case]:
            if name == "s1crets 0.0.12" and case in FAR and found[name]:
                continue  # 22 seconds, each time the same
            with server(*options) as env:
                seconds, counts[name] = measure(case, name, env)
            found[name].append(seconds)
            print(f"{case}: {name}: {seconds:.3g}", flush=True)
    return {"seconds": found, "counts": counts}


def start_ups(rounds: int) -> dict[str, dict[str, Any]]:
    """Measure the CPU time of whole processes: imports, the command, a script without a cache."""
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
    jobs = {
        START: {
            "python -c pass": [sys.executable, "-c", "pass"],
            "import asyncio": [sys.executable, "-c", "import asyncio"],
            "import s1crets": [sys.executable, "-c", "import s1crets"],
            "import s1crets.providers.aws": [sys.executable, "-c", "import s1crets.providers.aws"],
            "s1crets --help": [command, "--help"],
            "s1crets get, warm disk": [command, "get", "/hit", "--cache-dir", str(folder)],
            "s1crets get, cold": [command, "get", "/hit"],
        },
        "CPU of a cold script": {
            "s1crets": [sys.executable, "-c", ours],
            "aiobotocore by hand": [sys.executable, "-c", bare],
            "s1crets 0.0.12": [peers(), "-c", ours],
        },
    }
    found: dict[str, dict[str, list[float]]] = {
        case: {name: [] for name in names} for case, names in jobs.items()
    }
    with server() as env:
        subprocess.run([command, "get", "/hit", "--cache-dir", folder], env=env, check=True)
        for _ in range(rounds * 2):
            for case, names in jobs.items():
                for name, job in names.items():
                    before = os.times()
                    subprocess.run(job, env=env, cwd=HERE, check=True, stdout=subprocess.DEVNULL)
                    after = os.times()
                    user = after.children_user - before.children_user
                    system = after.children_system - before.children_system
                    found[case][name].append(user + system)
    return {case: {"seconds": seconds, "counts": {}} for case, seconds in found.items()}


def sweep() -> dict[str, list[tuple[int, float]]]:
    """Time cold reads of more and more names, for each implementation."""
    found: dict[str, list[tuple[int, float]]] = {}
    for name in SWEEP:
        for size in SIZES:
            past = found.setdefault(name, [])
            if past and past[-1][1] * size / past[-1][0] > LONGEST:
                break
            with server("--latency", "20") as env:
                seconds, _ = measure(str(size), name, env)
            past.append((size, seconds))
            print(f"{size} names: {name}: {seconds:.3g}", flush=True)
    return found


def shown(case: str, number: float) -> str:
    """Return a number with its unit."""
    if case.startswith("MB"):
        return f"{number:.1f} MB"
    if number < 0.001:  # noqa: PLR2004
        return f"{number * 1e6:.2f} µs"
    return f"{number * 1000:.1f} ms" if number < 1 else f"{number:.2f} s"


def table(results: dict[str, dict[str, Any]]) -> list[str]:
    """Return the results as lines of Markdown."""
    lines = [
        "| case | implementation | median | spread | ours is | requests |",
        "|---|---|---|---|---|---|",
    ]
    for case, result in results.items():
        medians = {name: statistics.median(one) for name, one in result["seconds"].items()}
        first = next(iter(medians.values()))
        for name, median in medians.items():
            numbers = result["seconds"][name]
            spread = f"{shown(case, min(numbers))} to {shown(case, max(numbers))}"
            ratio = f"{first / median:.2f} x" if name != "s1crets" and case != START else ""
            counts = result["counts"].get(name, {})
            requests = ", ".join(f"{count} {what}" for what, count in counts.items())
            lines.append(
                f"| {case} | {name} | {shown(case, median)} | {spread} | {ratio} | {requests} |"
            )
    return lines


def plot(results: dict[str, dict[str, Any]], swept: dict[str, list[tuple[int, float]]]) -> None:
    """Draw cold reads against the number of names, and hits as bars."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2))
    for name, points in swept.items():
        axes.loglog(*zip(*points, strict=True), marker="o", label=name)
    axes.set(xlabel="names", ylabel="seconds, 20 ms away", title="Cold reads")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(HERE / "cold.svg", bbox_inches="tight")
    hits = {
        case: result
        for case, result in results.items()
        if "hit" in case and len(result["seconds"]) > 1
    }
    figure, many = plt.subplots(1, len(hits), figsize=(3 * len(hits), 3), squeeze=False)
    for axes, (case, result) in zip(many[0], hits.items(), strict=True):
        medians = {n: statistics.median(one) * 1e6 for n, one in result["seconds"].items()}
        axes.barh(list(medians), list(medians.values()))
        axes.set(title=case, xlabel="µs")
        axes.invert_yaxis()
    figure.tight_layout()
    figure.savefig(HERE / "hits.svg", bbox_inches="tight")


def main() -> None:
    """Run what was asked for."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", default="", help="cases whose name has this in it")
    options.add_argument("--quick", action="store_true", help="each once, no sweep")
    chosen = options.parse_args()
    rounds = 1 if chosen.quick else 5
    wanted = [case for case in CASES if chosen.only in case]
    results = {case: run_case(case, rounds) for case in wanted}
    if chosen.only in START:
        results |= start_ups(rounds)
    if chosen.only:
        print("\n".join(table(results)))
        return
    packages = ["aiobotocore", "botocore", "aiocache", "diskcache", "anyio"]
    head = f"""# Results of `make bench`

{time.strftime("%Y-%m-%d")}, Python {platform.python_version()}, {platform.machine()},
{os.cpu_count()} cores; {", ".join(f"{name} {version(name)}" for name in packages)}.
AWS is `benchmarks/server.py` on loopback: 20 ms away in the cold cases, with a quota of 40
requests a second in the last. Medians; compare only numbers of one case.

"""
    (HERE / "results.md").write_text(head + "\n".join(table(results)) + "\n")
    if not chosen.quick:
        plot(results, sweep())


if __name__ == "__main__":
    main()
