"""Packaging: locked dependencies with hashes, what make installs, and the page on PyPI."""

from __future__ import annotations

import itertools
import re
import subprocess
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
README = (ROOT / "README.md").read_text()
KIT = ["encryption", "redis", "testing"]
LOCKS = {  # each with its extras and groups
    "runtime": ([], []),
    "demo": (KIT, ["demo"]),
    "bench": (KIT, ["bench"]),
    "dev": (["all"], ["dev"]),
    "docs": (["all"], ["docs"]),
}
PLATFORMS = [
    {
        "python_version": version,
        "python_full_version": f"{version}.{patch}",
        "sys_platform": system,
        "platform_system": {"linux": "Linux", "darwin": "Darwin"}[system],
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "os_name": "posix",
        "extra": "",
    }
    for (version, patch), (system, machine) in itertools.product(
        [("3.11", 0), ("3.11", 7), ("3.12", 4), ("3.13", 0)],
        [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")],
    )
]
LOCKED = " --(require-hashes|no-deps) "


def locked(name: str) -> dict[Requirement, list[str]]:
    """Return the requirements of a lock file with their hashes; it must have no other lines."""
    text = (ROOT / f"requirements/{name}.txt").read_text()
    text = re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", "")
    pins = {}
    for line in text.splitlines():
        requirement, *hashes = re.split(r" +--hash=sha256:", line)
        pins[Requirement(requirement)] = hashes
    return pins


def installed(pins: Iterable[Requirement], platform: dict[str, str]) -> dict[str, str]:
    """Return the versions that pip installs on a platform."""
    versions: dict[str, str] = {}
    for pin in pins:
        if not pin.marker or pin.marker.evaluate(platform):
            name = canonicalize_name(pin.name)
            assert name not in versions, name
            versions[name] = str(pin.specifier).removeprefix("==")
    return versions


def extra(name: str) -> list[str]:
    """Return the requirements of an extra and of those that it includes."""
    found = []
    for one in EXTRAS[name]:
        requirement = Requirement(one)
        if requirement.name == PROJECT["name"]:
            found += [inner for included in requirement.extras for inner in extra(included)]
        else:
            found.append(one)
    return found


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group and of those that it includes."""
    found: list[str] = []
    for one in PYPROJECT["dependency-groups"][name]:
        found += group(one["include-group"]) if isinstance(one, dict) else [one]
    return found


def unmet(
    wanted: Iterable[str], versions: dict[str, str], platform: dict[str, str] = PLATFORMS[0]
) -> list[str]:
    """Return the requirements, those of their extras too, that are not among the versions."""
    missing = []
    for one in map(Requirement, wanted):
        if one.marker and not one.marker.evaluate(platform):
            continue
        version = versions.get(canonicalize_name(one.name))
        if version is None or not one.specifier.contains(version):
            missing.append(str(one))
        for extra_ in one.extras:
            of_extra = [
                f"{inner.name}{inner.specifier}"
                for inner in map(Requirement, requires(one.name) or [])
                if inner.marker
                and "extra" in str(inner.marker)
                and inner.marker.evaluate({**platform, "extra": extra_})
            ]
            missing += unmet(of_extra, versions, platform)
    return missing


def dry_run(*arguments: str) -> list[str]:
    """Return the commands that make would run."""
    command = ["make", "--dry-run", "--directory", str(ROOT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.replace("\\\n", "").splitlines()


def unlocked(commands: Iterable[str]) -> list[str]:
    """Return the commands that would install, or build with, files without a locked hash."""
    return [
        one
        for one in commands
        if (re.search(r"\bpip\b.* install ", one) and not re.search(LOCKED, one))
        or ("-m build " in one and "--no-isolation" not in one)
    ]


class TestLocks:
    @pytest.mark.parametrize("name", [*LOCKS, "peers", "lock"])
    def test_every_requirement_is_one_version_with_hashes(self, name: str) -> None:
        """No options either, such as another index."""
        pins = locked(name)

        assert pins
        for pin, hashes in pins.items():
            assert re.fullmatch(r"==[\w.]+", str(pin.specifier)), pin
            assert not pin.url
            assert hashes, pin
            assert all(re.fullmatch("[0-9a-f]{64}", one) for one in hashes), pin

    @pytest.mark.parametrize("name", LOCKS)
    def test_pyproject_is_satisfied_everywhere(self, name: str) -> None:
        """On each supported Python and platform, by exactly one version."""
        extras, groups = LOCKS[name]
        wanted = [*PROJECT["dependencies"], *itertools.chain(*map(extra, extras))]
        wanted += itertools.chain(*map(group, groups))
        pins = locked(name)

        for platform in PLATFORMS:
            assert unmet(wanted, installed(pins, platform), platform) == []

    @pytest.mark.parametrize("name", ["lock", "peers"])
    def test_groups_alone_are_satisfied(self, name: str) -> None:
        """They are environments without s1crets."""
        pins = locked(name)

        for platform in PLATFORMS:
            assert unmet(group(name), installed(pins, platform), platform) == []

    @pytest.mark.parametrize("name", ["runtime", "demo", "bench"])
    def test_smaller_locks_agree_with_the_one_for_development(self, name: str) -> None:
        """One environment is extended from one to the other."""
        everything = {f"{pin.name}{pin.specifier}": one for pin, one in locked("dev").items()}
        names = {pin.name for pin in locked("dev")}
        pins = {f"{pin.name}{pin.specifier}": one for pin, one in locked(name).items()}
        if name == "bench":  # has packages of its own
            pins = {pin: one for pin, one in pins.items() if pin.partition("==")[0] in names}

        assert [pin for pin, hashes in pins.items() if everything.get(pin) != hashes] == []

    def test_build_requirements_are_locked(self) -> None:
        """Nothing is built in isolation, where pip and build would install what is newest."""
        for platform in PLATFORMS:
            for name in ("demo", "dev", "docs", "bench"):
                versions = installed(locked(name), platform)
                assert unmet(PYPROJECT["build-system"]["requires"], versions) == []

    def test_the_demo_has_no_tools_and_no_other_services(self) -> None:
        """The extra `server` of moto alone would be 130 MB."""
        names = {canonicalize_name(pin.name) for pin in locked("demo")}
        own = [one for one in PYPROJECT["dependency-groups"]["dev"] if isinstance(one, str)]
        tools = {canonicalize_name(Requirement(one).name) for one in own}

        assert names & tools <= {"packaging", "pyyaml"}  # which hatchling and moto need
        assert names.isdisjoint({"cfn-lint", "docker", "sympy", "networkx", "fastapi", "pydantic"})

    def test_what_is_wrong_is_found(self) -> None:
        """The checks of this class can fail."""
        assert unmet(["six>=1.17", "Six_x"], {"six": "1.16"}) == ["six>=1.17", "Six_x"]
        assert unmet(["moto[ssm]"], {"moto": "5.2"}) == ["PyYAML>=5.1"]
        assert unlocked(
            [
                ".venv/bin/pip install six",
                "python -m pip install --quiet -c lock .",
                "python -m build --outdir dist .",
                "python -m pip install --require-hashes -r lock",
                "python -m build --no-isolation .",
            ]
        ) == [
            ".venv/bin/pip install six",
            "python -m pip install --quiet -c lock .",
            "python -m build --outdir dist .",
        ]


class TestMake:
    @pytest.mark.parametrize(
        ("target", "locks"),
        [
            ("demo", ["demo"]),
            ("bench", ["bench"]),
            ("test", ["demo", "dev"]),
            ("check", ["demo", "dev"]),
            ("docs", ["docs"]),
            ("build", ["demo", "dev"]),
            ("lock", ["lock"]),
        ],
    )
    def test_a_target_installs_its_locks(
        self, target: str, locks: list[str], tmp_path: Path
    ) -> None:
        """And nothing whose hash was not checked; pip shows its progress."""
        commands = dry_run(target, f"VENV={tmp_path}/venv")
        installs = [one for one in commands if " install " in one]
        files = [name for one in installs for name in re.findall(r" requirements/(\w+).txt$", one)]

        assert files == locks
        assert unlocked(commands) == []
        assert not [one for one in installs if re.search(r" (-q|--quiet)\b", one)]

    def test_a_test_run_extends_the_environment_of_the_demo(self, tmp_path: Path) -> None:
        """Which is not made again; nothing is installed twice."""
        (tmp_path / "demo.ready").touch()
        commands = dry_run("demo", "test", f"VENV={tmp_path}")

        assert [re.findall(r"\w+\.txt", one) for one in commands if "--require-hashes" in one] == [
            ["dev.txt"]
        ]
        (tmp_path / "dev.ready").touch()
        assert not [one for one in dry_run("demo", "test", f"VENV={tmp_path}") if "pip" in one]

    def test_nothing_else_installs_without_hashes(self) -> None:
        """CI, and the environment of the alternatives in the benchmarks."""
        assert unlocked((ROOT / ".ci/run").read_text().splitlines()) == []
        assert '"--require-hashes"' in (ROOT / "benchmarks/run.py").read_text()


class TestPyPI:
    def test_the_project_has_links_and_authors(self) -> None:
        """Those that PyPI shows with an icon of their own."""
        urls: dict[str, str] = PROJECT["urls"]

        assert {"Homepage", "Documentation", "Source", "Issues", "Changelog"} <= urls.keys()
        assert all(url.startswith(urls["Source"]) for url in urls.values())
        assert PROJECT["authors"] == [{"name": "The s1crets developers"}]

    def test_links_and_images_of_the_readme_are_absolute(self) -> None:
        """PyPI has the text alone; each link into the repository leads to a file that exists."""
        source = PROJECT["urls"]["Source"]
        pages = f"{source}/blob/main/"
        images = source.replace("//github.com/", "//raw.githubusercontent.com/") + "/main/"
        links, problems = targets(README)
        for label, url in links:
            prefix = images if label.startswith("!") else pages
            if url.startswith((source, images)):
                path = ROOT / url.removeprefix(prefix)
                problems += [] if url.startswith(prefix) and path.is_file() else [url]
            elif label.startswith("!") or not url.startswith("https://"):
                problems.append(url)

        assert links
        assert problems == []

    def test_what_is_wrong_is_found(self) -> None:
        """The checks of this class can fail."""
        text = (
            "[a](LICENSE) [b] ![c] [d]\n\n`[e]` [b]: x\n\n[b]: https://e.org\n[f]: https://e.org\n"
        )

        assert targets(text) == (
            [("[a]", "LICENSE"), ("[b]", "https://e.org")],
            ["![c]", "[d]", "[f]"],
        )


def targets(text: str) -> tuple[list[tuple[str, Any]], list[str]]:
    """Return links with their targets, and labels without a target or a use."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"`[^`]*`", "", prose)
    definitions = dict(re.findall(r"^(\[[^\]]+\]): (\S+)$", prose, re.MULTILINE))
    prose = re.sub(r"^\[[^\]]+\]: \S+$", "", prose, flags=re.MULTILINE)
    links = re.findall(r"(!?\[[^\]]+\])\(([^)\s]+)\)", prose)
    labels = dict.fromkeys(re.findall(r"!?\[[^\]]+\](?!\()", prose))
    links += [
        (one, definitions[one.lstrip("!")]) for one in labels if one.lstrip("!") in definitions
    ]
    used = {one.lstrip("!") for one in labels}
    dangling = [one for one in labels if one.lstrip("!") not in definitions]
    return links, [*dangling, *(one for one in definitions if one not in used)]
