"""Results as tables and plots: the targets, all cases, the curves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cases import Took

    Curves: TypeAlias = Mapping[str, Mapping[str, Sequence[tuple[int, Took]]]]

HERE = Path(__file__).parent
OURS = "#0b6e4f"
OTHERS = ["#c8553d", "#3d6fb4", "#8a6bb1", "#b07d2b"]
LINE_HEIGHT = 15  # pixels between the labels of two lines


class Figure(NamedTuple):
    """What the fastest rounds say, and every round: what else runs on a machine only adds."""

    best: float
    rounds: Sequence[float]


@dataclass
class Result:
    """A case: what each implementation took in each round, and the requests of the last round."""

    took: dict[str, list[Took]]
    requests: dict[str, dict[str, int]]
    is_far: bool = False  # seconds count too
    is_compared: bool = True  # with its first implementation

    def number(self, name: str, unit: str) -> Figure:
        """Return what an implementation took."""
        found = [one[unit] for one in self.took[name]]
        return Figure(min(found), found)

    def ratio(self, name: str, other: str, unit: str) -> Figure:
        """Return the ratio of two implementations."""
        ours, theirs = self.number(name, unit), self.number(other, unit)
        pairs = zip(ours.rounds, theirs.rounds, strict=False)
        return Figure(ours.best / theirs.best, [one / two for one, two in pairs])


Results: TypeAlias = "Mapping[str, Result]"


class Target(NamedTuple):
    """A measurement, the largest number that is good enough, and what finds the number."""

    what: str
    most: float
    case: str
    find: Callable[[Result], Figure]
    unit: str = "x"
    is_cpu: bool = True  # and not a time that is mostly waited


def ratio(name: str, other: str, unit: str = "cpu") -> Callable[[Result], Figure]:
    """Return what finds a ratio."""
    return lambda result: result.ratio(name, other, unit)


def number(name: str, unit: str = "cpu") -> Callable[[Result], Figure]:
    """Return what finds a number."""
    return lambda result: result.number(name, unit)


def difference(name: str, other: str) -> Callable[[Result], Figure]:
    """Return what finds how much more CPU time one takes than the other."""

    def find(result: Result) -> Figure:
        ours, theirs = result.number(name, "cpu"), result.number(other, "cpu")
        pairs = zip(ours.rounds, theirs.rounds, strict=True)
        return Figure(ours.best - theirs.best, [one - two for one, two in pairs])

    return find


SPEED = 0.012  # seconds of CPU of `python -c pass`, where the targets in seconds were set
COLD, START = "process with one get", "start of a process"
TARGETS = [
    Target("awaited uncached get / aiobotocore, Parameter Store", 0.60,
           "uncached get, Parameter Store", ratio("s1crets", "aiobotocore")),
    Target("awaited uncached get / aiobotocore, Secrets Manager", 0.60,
           "uncached get, Secrets Manager", ratio("s1crets", "aiobotocore")),
    Target("blocking uncached get / aiobotocore awaited", 0.85,
           "uncached blocking get", ratio("s1crets", "aiobotocore, awaited")),
    Target("1,000 concurrent gets / batches by hand", 1.0,
           "1,000 concurrent gets", ratio("s1crets", "aiobotocore, batches by hand")),
    Target("get_many of 1,000 / batches by hand", 0.75,
           "get_many, 1,000 names", ratio("s1crets", "aiobotocore, batches by hand")),
    Target("get_by_path of 1,000 at 20 ms, parallel / paginator, time", 0.3,
           "get_by_path, 1,000 names",
           ratio("s1crets, parallel", "aiobotocore's paginator", "wall")),
    Target("longest event loop stall in the first get / aiobotocore", 0.3,
           "longest stall in the first get", ratio("s1crets", "aiobotocore", "wall")),
    Target("sync hit / s1crets 0.0.12", 0.8, "sync hit, text", ratio("s1crets", "s1crets 0.0.12")),
    Target("async hit / bare coroutine", 2.5,
           "async hit, text", ratio("s1crets", "bare coroutine")),
    Target("JSON hit / s1crets 0.0.12", 0.33,
           "hit, JSON of four fields", ratio("s1crets", "s1crets 0.0.12")),
    Target("disk hit / diskcache itself", 1.3, "disk hit", ratio("s1crets", "diskcache itself")),
    Target("disk hit, encrypted / diskcache itself", 1.5,
           "disk hit", ratio("s1crets, encrypted", "diskcache itself")),
    Target("Redis hit, encrypted / redis-py's get", 2.0,
           "Redis hit, encrypted", ratio("s1crets", "redis-py's get")),
    Target("each of 200 Redis hits at once", 25e-6,
           "each of 200 Redis hits at once", number("s1crets"), "s"),
    Target("1,000 cold names, more on disk than in memory", 0.3, "1,000 cold names, stored",
           difference("s1crets, encrypted on disk", "s1crets, in memory"), "s"),
    Target("script with one get / aiobotocore", 1.1, COLD,
           ratio("s1crets", "aiobotocore")),
    Target("s1crets get / script with aiobotocore", 1.1, COLD,
           ratio("command s1crets", "aiobotocore")),
    Target("s1crets get, warm --cache-dir", 0.13, START, number("s1crets get, warm disk"), "s"),
    Target("s1crets --help", 0.12, START, number("s1crets --help"), "s"),
    Target("import s1crets.providers.aws, more than asyncio", 0.06, START,
           difference("import s1crets.providers.aws", "import asyncio"), "s"),
    Target("4,000 names at 40 requests a second, time", 9.5,
           "4,000 names, 40 requests a second", number("s1crets", "wall"), "s", is_cpu=False),
    Target("4,000 names at 40 requests a second, throttled", 20,
           "4,000 names, 40 requests a second", number("s1crets", "throttled"), ""),
]  # fmt: skip


def shown(value: float, unit: str) -> str:
    """Return a number with its unit."""
    if unit != "s":
        return f"{value:.2f} {unit}".strip() if unit else f"{value:g}"
    for size, name in ((1.0, "s"), (1e-3, "ms")):
        if value >= size:
            return f"{value / size:.3g} {name}"
    return f"{value * 1e6:.3g} µs"


def spread(figure: Figure, unit: str) -> str:
    """Return a figure with the extremes of the rounds."""
    best, rounds = shown(figure.best, unit), figure.rounds
    extremes = f" ({shown(min(rounds), unit)} to {shown(max(rounds), unit)})"
    return best + extremes if len(rounds) > 1 else best


def target_table(results: Results) -> list[str]:
    """Return all measurements that have a target, as lines of Markdown.

    Seconds of CPU are compared at the speed of the machine where their targets were set, which
    the start of Python tells, if that was measured.
    """
    lines = ["| measurement | target | result | reached |", "|---|---|---|---|"]
    started = results[START].number("python -c pass", "cpu") if START in results else None
    slower = started.best / SPEED if started else 0.0
    for target in TARGETS:
        if target.case in results:
            figure = target.find(results[target.case])
            result, best = spread(figure, target.unit), figure.best
            is_scaled = target.unit == "s" and target.is_cpu
            if is_scaled and slower:
                best /= slower
                result = f"{shown(best, 's')}; here {result}"
            reached = "yes" if best <= target.most else "no"
            if is_scaled and not slower:
                reached = "unknown"
            most = shown(target.most, target.unit)
            lines.append(f"| {target.what} | ≤ {most} | {result} | {reached} |")
    if started:
        lines.append("")
        lines.append(
            f"Targets in CPU time were set where `python -c pass` takes {shown(SPEED, 's')}. Here "
            f"it takes {spread(started, 's')}: results are divided by {slower:.2f} to compare them."
        )
    return lines


def instruction_table(results: Results) -> list[str]:
    """Return ratios of instructions with their targets, and all numbers, as lines of Markdown."""
    lines = ["| measurement | target | result | reached |", "|---|---|---|---|"]
    for target in TARGETS:
        if target.case in results and target.unit == "x":
            found = target.find(results[target.case]).best
            reached = "yes" if found <= target.most else "no"
            lines.append(f"| {target.what} | ≤ {target.most:.2f} x | {found:.2f} x | {reached} |")
    lines += ["", "| case | implementation | thousand instructions |", "|---|---|---|"]
    for case, result in results.items():
        for name, (took,) in result.took.items():
            lines.append(f"| {case} | {name} | {took['cpu'] / 1000:,.1f} |")
    return lines


def table(results: Results) -> list[str]:
    """Return all cases, each compared with its first implementation, as lines of Markdown."""
    lines = [
        "| case | implementation | CPU time | the first one is | time | requests |",
        "|---|---|---|---|---|---|",
    ]
    for case, result in results.items():
        first = next(iter(result.took))
        for name, rounds in result.took.items():
            if not rounds:
                continue  # left out by `quick`
            units = {"cpu", "wall", "MB"} & rounds[0].keys()
            unit = "cpu" if "cpu" in units else units.pop()
            took = spread(result.number(name, unit), "MB" if unit == "MB" else "s")
            others = result.is_compared and name != first
            compared = spread(result.ratio(first, name, unit), "x") if others else ""
            seconds = spread(result.number(name, "wall"), "s") if result.is_far else ""
            cpu, seconds = ("", took) if unit == "wall" else (took, seconds)
            counts = result.requests.get(name, {})
            requests = ", ".join(f"{count} {what}" for what, count in counts.items())
            lines.append(f"| {case} | {name} | {cpu} | {compared} | {seconds} | {requests} |")
    return lines


class Curve(NamedTuple):
    """The texts of a curve, and the unit that it shows."""

    title: str
    x: str
    y: str
    unit: str = "cpu"
    scale: float = 1e6


CURVES = {
    "cold names": Curve("Cold names, 20 ms away", "names", "seconds", "wall", 1),
    "entries": Curve("A hit", "entries in the cache", "µs of CPU"),
    "threads": Curve("A hit, several threads at once", "threads", "µs of CPU"),
    "tasks": Curve("Concurrent gets that go to AWS", "tasks", "µs of CPU for each"),
    "paths": Curve("invalidate(name)", "paths in the cache", "µs of CPU"),
}


def curve_table(curves: Curves) -> list[str]:
    """Return the points of all curves as lines of Markdown."""
    lines = []
    for name, found in curves.items():
        curve = CURVES[name]
        sizes = sorted({size for points in found.values() for size, _ in points})
        lines += ["", f"| {curve.title}: {curve.y} | " + " | ".join(f"{n:,}" for n in sizes) + " |"]
        lines += ["|---" * (len(sizes) + 1) + "|"]
        for implementation, points in found.items():
            numbers = {size: one[curve.unit] * curve.scale for size, one in points}
            took = {n: f"{one:.3g}" if one < 1000 else f"{one:,.0f}" for n, one in numbers.items()}  # noqa: PLR2004
            texts = [took.get(size, "") for size in sizes]
            lines.append(f"| {implementation} | " + " | ".join(texts) + " |")
    return lines[1:]


def plot_hits(results: Results) -> None:
    """Draw the CPU time of hits as bars."""
    plt = _pyplot()
    cases = ["sync hit, text", "async hit, text", "hit, JSON of four fields", "disk hit"]
    figure, grid = plt.subplots(2, 2, figsize=(9, 4.2))
    for axes, case in zip(grid.flat, cases, strict=True):
        result = results[case]
        took = [result.number(name, "cpu").best * 1e6 for name in result.took]
        colours = [OURS if n.split(",")[0] == "s1crets" else "#b8b8b8" for n in result.took]
        bars = axes.barh(list(result.took), took, color=colours, height=0.65)
        axes.bar_label(bars, [f"{one:.2g}" for one in took], padding=3)
        axes.set_title(f"{case}, µs", loc="left", fontsize=10, fontweight="bold")
        axes.set_xlim(0, max(took) * 1.15)
        axes.set_xticks([])
        axes.invert_yaxis()
        axes.tick_params(left=False)
        axes.spines[["top", "right", "bottom"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(HERE / "hits.svg")


def plot_curves(curves: Curves) -> None:
    """Draw cold reads alone, and the other curves side by side."""
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(8, 4.4))
    _draw(axes, CURVES["cold names"], curves["cold names"])
    figure.savefig(HERE / "cold.svg", bbox_inches="tight")
    figure, grid = plt.subplots(2, 2, figsize=(11, 7))
    for axes, name in zip(grid.flat, [one for one in CURVES if one != "cold names"], strict=True):
        _draw(axes, CURVES[name], curves[name])
    figure.tight_layout()
    figure.savefig(HERE / "curves.svg", bbox_inches="tight")


def _draw(axes: Any, curve: Curve, found: Mapping[str, Sequence[tuple[int, Took]]]) -> None:
    """Draw lines, each with its name at its end."""
    others = iter(OTHERS)
    ends = []
    for name, points in found.items():
        sizes = [size for size, _ in points]
        numbers = [took[curve.unit] * curve.scale for _, took in points]
        colour = OURS if name == "s1crets" else next(others)
        width = 2.5 if name == "s1crets" else 1.5
        axes.loglog(sizes, numbers, marker="o", markersize=4, color=colour, linewidth=width)
        ends.append((sizes[-1], numbers[-1], name, colour))
    axes.set(xlabel=curve.x, ylabel=curve.y)
    axes.set_title(curve.title, loc="left", fontsize=11, fontweight="bold")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    low, high = axes.get_ylim()
    if high / low < 100:  # noqa: PLR2004  # or noise would fill the plot
        axes.set_ylim(low / 3, high * 3)
    sizes = sorted({size for points in found.values() for size, _ in points})
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.set_xlim(right=sizes[-1] * (sizes[-1] / sizes[0]) ** 0.4)  # room for the names
    axes.yaxis.set_major_formatter(lambda number, _: f"{number:,g}")
    axes.minorticks_off()
    lowest: dict[int, float] = {}  # of the labels at one end, from the lowest to the highest
    for size, last, name, colour in sorted(ends, key=lambda end: end[1]):
        _, y = axes.transData.transform((size, last))
        lowest[size] = max(y, lowest[size] + LINE_HEIGHT) if size in lowest else y
        up = (lowest[size] - y) * 72 / axes.figure.dpi
        axes.annotate(
            name, (size, last), (8, up), textcoords="offset points", color=colour, fontsize=9,
            va="center",
        )  # fmt: skip


def _pyplot() -> Any:
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    return plt
