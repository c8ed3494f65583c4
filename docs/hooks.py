"""Hooks of the documentation site: command reference, links into the checkout."""

from __future__ import annotations

import argparse
import importlib
import re
from html import escape
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = (
    *("edge_runtime", "train", "train.audit", "train.search"),
    *("export", "benchmarks"),
)
LINK = re.compile(r"\[([^\]\[]*)\]\((\.\.?/[^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds one generated page for each program."""
    for program in PROGRAMS:
        parser = importlib.import_module(f"{program}.__main__").build_parser()
        uri = f"reference/commands/{program}.md"
        files.append(File.generated(config, uri, content=command_page(parser)))
    return files


def on_page_markdown(
    markdown: str, page: Page, config: MkDocsConfig, files: Files
) -> str:
    """Returns the page with links to files outside of docs/ replaced by their paths.

    In the repository these links work; the site does not contain those files.

    Raises:
        PluginError: The checkout has no such file.
    """
    folder = (Path(config.docs_dir) / page.file.src_uri).parent

    def replace(match: re.Match[str]) -> str:
        text, target, _ = match.groups()
        path = (folder / target).resolve()
        if path.is_relative_to(config.docs_dir):
            return match.group()
        if not path.exists():
            raise PluginError(f"{page.file.src_uri}: {target} does not exist")
        name = f"`{path.relative_to(ROOT)}`"
        return name if text == path.name else f"{text} ({name})"

    return LINK.sub(replace, markdown)


def command_page(parser: argparse.ArgumentParser) -> str:
    """Returns the Markdown page of a program: its flags, or those of each command."""
    commands = _commands(parser)
    lines = [f"# {parser.prog}", "", escape(parser.description or "")]
    if commands is None:
        lines += _flags(parser, "##")
    else:
        for choice in commands._choices_actions:
            command = commands.choices[choice.dest.split()[0]]
            lines += ["", f"## {choice.metavar or choice.dest}", ""]
            lines += [_sentence(command.description or choice.help or "")]
            lines += ["", "```text", _usage(command), "```"]
            lines += _flags(command, "###")
            if command.epilog:
                lines += ["", "```text", command.epilog.strip(), "```"]
    if parser.epilog:
        lines += ["", "## Examples and exit codes", ""]
        lines += ["```text", parser.epilog.strip(), "```"]
    return "\n".join(lines) + "\n"


def _commands(
    parser: argparse.ArgumentParser,
) -> argparse._SubParsersAction[argparse.ArgumentParser] | None:
    """Returns the commands of a program; None where it has none."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return action
    return None


def _usage(parser: argparse.ArgumentParser) -> str:
    positional = [
        action.metavar or action.dest.upper()
        if action.nargs != "?"
        else f"[{action.metavar or action.dest.upper()}]"
        for action in parser._actions
        if not action.option_strings
    ]
    return " ".join([parser.prog, *map(str, positional), "[flags]"])


def _flags(parser: argparse.ArgumentParser, heading: str) -> list[str]:
    """Returns a table for each group of flags."""
    lines = []
    for group in parser._action_groups:
        actions = [
            action
            for action in group._group_actions
            if action.help != argparse.SUPPRESS
            and not isinstance(action, argparse._HelpAction)
        ]
        if not actions:
            continue
        lines += ["", f"{heading} {_sentence(group.title or '')}", ""]
        if group.description:
            lines += [group.description, ""]
        lines += ["| flag | what it does |", "|---|---|"]
        lines += [
            f"| {_name(action)} | {_help(parser, action)} |" for action in actions
        ]
    return lines


def _name(action: argparse.Action) -> str:
    value = ""
    if action.nargs != 0:
        value = str(
            action.metavar or "{" + ",".join(map(str, action.choices or ())) + "}"
        )
        if value == "{}":
            value = action.dest.upper()
        if action.nargs == "?":
            value = f"[{value}]"
    flags = ", ".join(action.option_strings)
    text = f"{flags} {value}".strip().replace("|", "\\|")
    return f"`{text}`"


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = parser._get_formatter()._expand_help(action) if action.help else ""
    return re.sub(r"([|*\[\]])", r"\\\1", escape(text, quote=False))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
