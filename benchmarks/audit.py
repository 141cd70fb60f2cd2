"""Known vulnerabilities of what requirements/ locks: `python benchmarks/audit.py`, by pip-audit.

A finding that is not explained here fails. Where no service can be asked (there may be nothing but
a package index), nothing fails, and the last line says that nothing was audited. Arguments are
pip-audit's, for another service: `-s osv --osv-url URL`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCKS = [Path(__file__).parent.parent / "requirements" / name for name in ("dev.txt", "bench.txt")]
SERVICES = [["-s", "pypi"], ["-s", "osv"]]
EXPLAINED = {
    "CVE-2025-69872": "diskcache unpickles what its folder has; s1crets gives it a Disk of its own"
    " that never does: TextDisk in s1crets/cache/backends/_sqlite.py, and the test"
    " test_foreign_rows in tests/cache/test_backends.py",
}


def ask(service: list[str]) -> list[dict[str, Any]]:
    """Return what a service says of each package; nothing, if it could not be asked."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes"]
    command += [option for lock in LOCKS for option in ("-r", str(lock))]
    options = ["--format", "json", "--progress-spinner", "off", *service]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    if done.stdout:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
        if any("vulns" in one for one in packages):
            return packages
        # An index that is not PyPI itself "does not find" any; pip-audit calls that a success.
        problem = f"{packages[0]['skip_reason']}, and so on: all {len(packages)}"
    elif re.search(r"requests\.exceptions|Could not connect", done.stderr):
        problem = done.stderr.strip().splitlines()[-1]
    else:
        sys.exit(done.stderr)
    print("pip-audit", *service, "could not audit:", problem)
    return []


def main() -> None:
    """Ask one service after the other until one answers."""
    services = [sys.argv[1:]] if sys.argv[1:] else SERVICES
    packages = next(filter(None, map(ask, services)), [])
    explained, failures = set(), [one["skip_reason"] for one in packages if "vulns" not in one]
    for package in packages:
        for finding in package.get("vulns", ()):
            names = {finding["id"], *finding["aliases"]}
            explained |= names & EXPLAINED.keys()
            if not names & EXPLAINED.keys():
                failures.append(f"{package['name']} {package['version']}: {sorted(names)}")
    for name in sorted(explained):
        print(f"{name}: {EXPLAINED[name]}")
    if failures:
        sys.exit("\n".join(["dependency audit: FAILED", *failures]))
    # A service that does not tell what is known to be there tells nothing.
    if not packages or explained < EXPLAINED.keys():
        print("dependency audit: DID NOT RUN, so nothing is known about the dependencies:")
        print("no service that knows vulnerabilities could be asked from here")
        return
    print(f"dependency audit: {len(packages)} packages, no finding but those explained")


if __name__ == "__main__":
    main()
