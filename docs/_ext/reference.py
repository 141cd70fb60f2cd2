"""Reference pages from the code: constructor options as parameters, and the command from click."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, get_type_hints

import click
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from s1crets.cache.options import CacheArgs
from s1crets.cli import main
from s1crets.providers.aws.options import ProviderOptions, StsArgs
from s1crets.providers.simple import SimpleOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sphinx.application import Sphinx

OPTIONS = {one.__name__: one for one in (ProviderOptions, SimpleOptions, CacheArgs, StsArgs)}


def described(options: type) -> dict[str, tuple[str, str]]:
    """Return each option of a TypedDict with its description and its default, if it has one.

    The default stands alone between a semicolon and a full stop.
    """
    section = inspect.cleandoc(options.__doc__ or "").partition("Attributes:\n")[2]
    found = {}
    for name, text in re.findall(r"^    (\w+): (.*(?:\n     .*)*)", section, re.MULTILINE):
        joined = " ".join(text.split())
        default = re.search(r"; ([\w.'{}-]+?)\.(?= |$)", joined)
        description = joined.replace(default[0], ".", 1) if default else joined
        found[name] = (description, default[1] if default else "")
    missing = options.__annotations__.keys() ^ found.keys()
    if missing:
        raise ValueError(f"{options.__name__}: {missing} must be annotated and described")
    return found


def options_of(method: Any) -> type | None:
    """Return the TypedDict that a constructor takes as `**options`."""
    for parameter in inspect.signature(method).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            name = re.fullmatch(r"Unpack\[(\w+)\]", str(parameter.annotation))
            return OPTIONS.get(name[1]) if name else None
    return None


def constructor(_app: Sphinx, what: str, _name: str, obj: Any, *args: Any) -> Any:
    """Return a constructor's signature with its options and their defaults."""
    signature = args[1]
    if what != "class" or not signature or not (options := options_of(obj)):
        return None
    named = [
        f"{name}={default or ('{}' if name.endswith('_args') else 'None')}"
        for name, (_, default) in described(options).items()
    ]
    own = re.sub(r"\*, |\*\*options.*", "", signature.strip("()"))
    return f"(*, {own}{', '.join(named)})", None


def docstring(_app: Sphinx, what: str, _name: str, obj: Any, _options: Any, lines: Any) -> None:
    """Document the options of a constructor as its arguments; make code blocks of fences."""
    options = options_of(obj) if what == "class" and obj.__init__ is not object.__init__ else None
    text = "\n".join(lines)
    if options:
        rows = [
            f"    {name}: {description}" + (f" Default: {default}." if default else "")
            for name, (description, default) in described(options).items()
        ]
        text = re.sub(r"^    options: .*$", lambda _: "\n".join(rows), text, flags=re.MULTILINE)
    fence = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
    text = fence.sub(
        lambda found: (
            f"\n{found[1]}.. code-block:: {found[2]}\n\n"
            + re.sub("^(?=.)", "    ", found[3], flags=re.MULTILINE)
        ),
        text,
    )
    lines[:] = text.splitlines()


def skipped(_app: Sphinx, _what: str, name: str, *_: Any) -> bool | None:
    """Leave out the tests of the contract suite."""
    return True if name.startswith("test_") else None


class Options(SphinxDirective):
    """Table of a TypedDict's options: name, default, meaning."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        options = OPTIONS[self.arguments[0]]
        hints = {one: _type(hint) for one, hint in get_type_hints(options).items()}
        lines = [".. list-table::", "   :header-rows: 1", "   :widths: 22 12 66", ""]
        lines += ["   * - Option", "     - Default", "     - Meaning"]
        for name, (description, default) in described(options).items():
            meaning = description[0].upper() + description[1:]
            lines += [f"   * - ``{name}``", f"     - {f'``{default}``' if default else ''}"]
            lines += [f"     - {meaning} {f'*({hints[name]})*' if hints[name] else ''}"]
        return parsed(self, lines)


def _type(hint: Any) -> str:
    text = hint.__name__ if isinstance(hint, type) else str(hint)
    return "" if text in ("Any", "typing.Any") or "Args" in text else text.replace("[str]", "")


class Command(SphinxDirective):
    """Every command with its options, from click; those that all have come first."""

    def run(self) -> list[nodes.Node]:
        """Return a section for each command."""
        group = click.Context(main, info_name="s1crets")
        common = [one for one in main.params if one.name != "version"]
        sections = []
        if common:
            sections.append(self._section("Options of every command", options_of_command(common)))
        for name in main.list_commands(group):
            command = main.get_command(group, name)
            if command and not command.hidden:
                known = {one.name for one in common}
                sections.append(self._section(f"s1crets {name}", lines_of(command, group, known)))
        return sections

    def _section(self, title: str, lines: list[str]) -> nodes.section:
        section = nodes.section(ids=[nodes.make_id(title)], names=[title])
        section += nodes.title(text=title)
        self.state.document.note_explicit_target(section, section)
        section.extend(parsed(self, lines))
        return section


def lines_of(command: click.Command, parent: click.Context, known: set[str | None]) -> list[str]:
    """Return a command's usage, help and own options as reStructuredText."""
    context = click.Context(command, info_name=command.name, parent=parent)
    usage = " ".join(["$ s1crets", str(command.name), *command.collect_usage_pieces(context)])
    own = [one for one in command.get_params(context) if one.name not in known]
    return [
        *(".. code-block:: console", "", f"   {usage}", ""),
        *text_of(command.help or ""),
        *(f".. program:: s1crets {command.name}", ""),
        *options_of_command([one for one in own if one.name != "help"], context),
    ]


def options_of_command(
    parameters: Sequence[click.Parameter], context: click.Context | None = None
) -> list[str]:
    """Return options as reStructuredText."""
    lines = []
    for parameter in parameters:
        record = parameter.get_help_record(context or click.Context(main))
        if record and record[1]:
            lines += [f".. option:: {record[0]}", "", f"   {escaped(record[1])}", ""]
    return lines


class CommandEpilog(SphinxDirective):
    """What the help of every command ends with: exit codes, and the environment."""

    def run(self) -> list[nodes.Node]:
        """Return it as it is printed."""
        text = (main.epilog or "").replace("\b\n", "").strip()
        return [nodes.literal_block(text, text, language="text")]


def text_of(text: str) -> list[str]:
    r"""Return a help text as reStructuredText; a paragraph after `\b` is one of code."""
    lines: list[str] = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        kept = paragraph.removeprefix("\b\n")
        if kept == paragraph:
            lines += [*escaped(paragraph).splitlines(), ""]
            continue
        title, *examples = kept.splitlines()
        lines += [title, "", ".. code-block:: sh", ""]
        lines += [*(f"   {line.strip()}" for line in examples), ""]
    return lines


def escaped(text: str) -> str:
    """Return a text whose asterisks and bars are themselves; code and options are code."""

    def of_part(part: str) -> str:
        if part.startswith("`"):
            return f"``{' '.join(part.strip('`').split())}``"
        part = re.sub(r"([*|])|_(?=\W|$)", lambda found: "\\" + found[0], part)
        return re.sub(r"(?<![\w-])--[a-z][a-z-]*", lambda found: f"``{found[0]}``", part)

    return "".join(map(of_part, re.split(r"(`[^`]+`)", text)))


def parsed(directive: SphinxDirective, lines: list[str]) -> list[nodes.Node]:
    """Return reStructuredText as nodes, on a page of Markdown."""
    block = StringList(["``````{eval-rst}", *lines, "``````"], source="reference")
    container = nodes.Element()
    directive.state.nested_parse(block, 0, container)
    return list(container.children)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives and the hooks of autodoc."""
    app.add_directive("options", Options)
    app.add_directive("command", Command)
    app.add_directive("command-epilog", CommandEpilog)
    app.connect("autodoc-process-signature", constructor)
    app.connect("autodoc-skip-member", skipped)
    app.connect("autodoc-process-docstring", docstring, priority=1)  # before napoleon
    return {"parallel_read_safe": True}
