"""Command lines that report a mistake in one line, as all other errors."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import io
import logging
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TextIO

from edge_runtime.errors import INTERRUPTED_EXIT_CODE, FerEdgeError
from edge_runtime.untrusted import one_line

InvalidValue = argparse.ArgumentTypeError  # what readers of values raise


class CommandLine(argparse.ArgumentParser):
    """An ``ArgumentParser`` that does not print its usage with each error.

    Flags may not be abbreviated, and the help keeps the lines of its examples. The
    parsers of its commands are of this class, too.

    Attributes:
        missing_flags: Why there is no such flag, by flags that people look for.
    """

    def __init__(self, **settings: Any) -> None:
        """Takes the arguments of ``ArgumentParser``, as do the commands' parsers."""
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        settings.setdefault("allow_abbrev", False)
        self.missing_flags: Mapping[str, str] = {}
        super().__init__(**settings)

    def parse_known_args(  # type: ignore[override]  # always returns []
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Returns the parsed arguments and an empty list.

        Ends the program where an argument is unknown: here its command is still known,
        for the message. Mistyped flags are reported first, before required ones that
        are missing.
        """
        words = list(sys.argv[1:] if args is None else args)
        self._check_words(words)
        parsed, unknown = super().parse_known_args(words, namespace)
        if unknown:
            flags = [flag for each in self._actions for flag in each.option_strings]
            is_flag = unknown[0].startswith("-")
            hint = self._hint(unknown[0], flags) if is_flag else ""
            if "--data" in flags and not is_flag and Path(unknown[0]).exists():
                hint = f": did you mean --data {unknown[0]}?"
            self.error(f"unknown {unknown[0]!r}{hint}")
        return parsed, []

    def _check_words(self, words: Sequence[str]) -> None:
        flags = [flag for action in self._actions for flag in action.option_strings]
        commands = [
            name
            for action in self._actions
            if isinstance(action, argparse._SubParsersAction)
            for name in action.choices
        ]
        for word in words:
            if word == "--" or (commands and not word.startswith("-")):
                if commands and word not in commands:
                    hint = self._hint(word, commands)
                    if "run" in commands and Path(word).suffix in (".tflite", ".onnx"):
                        hint = f": did you mean run {word}?"
                    self.error(f"unknown {word!r}{hint}")
                return  # the rest belongs to the command, or is not a flag
            if word.startswith("--") and word.split("=")[0] not in flags:
                self.error(f"unknown {word!r}{self._hint(word, flags)}")

    def _hint(self, word: str, known: Sequence[str]) -> str:
        from edge_runtime.utils.suggestions import nearest  # here: after a mistake

        reason = self.missing_flags.get(word.split("=")[0])
        return f": {reason}" if reason else nearest(word, known)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Prints help or an error; a closed pipe is ignored (``--help | head``)."""
        stream = file or sys.stderr
        try:
            super()._print_message(message, stream)
            stream.flush()
        except BrokenPipeError:
            _drop(stream)

    def error(self, message: str) -> NoReturn:
        """Prints one line and ends the program."""
        self.exit(
            FerEdgeError.exit_code,
            f"error: {one_line(message)} (see {self.prog} --help)\n",
        )


def add_commands(
    parser: argparse.ArgumentParser, commands: Mapping[str, str], typed: str = ""
) -> None:
    """Adds commands to a command line.

    Args:
        parser: Of the command line.
        commands: ``"module:function"`` by name: the function adds the command.
        typed: The name that was typed: of a known command nothing else is imported.
    """
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in [typed] if typed in commands else commands:
        module, function = commands[name].split(":")
        getattr(importlib.import_module(module), function)(subparsers)


def add_command(
    commands: Any,
    name: str,
    call: Callable[[argparse.Namespace], int],
    text: str,
    examples: str,
    *,
    aliases: Sequence[str] = (),
) -> CommandLine:
    """Returns the parser of a new command.

    Args:
        commands: From ``add_subparsers``.
        name: As it is typed.
        call: Runs the command and returns the exit code.
        text: What it does, for the help, without a full stop.
        examples: Text below the help.
        aliases: Other names of the command.
    """
    parser: CommandLine = commands.add_parser(
        name,
        aliases=aliases,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=examples,
    )
    parser.set_defaults(call=call)
    return parser


@cache
def invocation(program: str = "edge_runtime") -> str:
    """Returns ``python -m PROGRAM``, with the path of this Python where needed.

    The path is needed where ``python`` is another one, as in a virtual environment that
    is not activated; below the current folder it is relative.

    Args:
        program: The package that is run.
    """
    python = Path(sys.executable)
    for folder in os.get_exec_path():
        first = Path(folder, "python")
        if os.access(first, os.X_OK):
            if first.parent == python.parent:
                return f"python -m {program}"
            break
    with contextlib.suppress(OSError, ValueError):  # no current folder, or elsewhere
        python = python.relative_to(Path.cwd())
    return f"{shlex.quote(str(python))} -m {program}"


def typed(words: Sequence[str], names: Mapping[str, str]) -> list[str]:
    """Returns flags and their values as they were typed.

    Args:
        words: The arguments of a command line; of a flag typed twice the last counts.
        names: Flags that take a value; each becomes the name that it has here.
    """
    given: dict[str, list[str]] = {}
    for position, word in enumerate(words):
        flag, separator, value = word.partition("=")
        if flag in names:
            values = [value] if separator else words[position + 1 : position + 2]
            given[names[flag]] = [names[flag], *values]
    return [part for parts in given.values() for part in parts]


def as_typed(words: Sequence[str], names: Mapping[str, str]) -> str:
    """Returns what ``typed`` returns, as text for a shell, each part after a space."""
    return "".join(f" {shlex.quote(part)}" for part in typed(words, names))


def exit_code_of(command: Callable[[], int]) -> int:
    """Runs a command and returns its exit code, reporting expected errors in one line.

    A ``FerEdgeError`` becomes one line on stderr and its own exit code; Ctrl-C
    becomes 130; a closed pipe (``... | head``) ends quietly; a full disk, too little
    memory and a current folder that was deleted are one line, too. Anything else is a
    bug and keeps its traceback. What the console's encoding lacks is printed as an
    escape sequence.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = command()
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a closed pipe is expected
        return code
    except FerEdgeError as error:
        logging.getLogger(__name__).debug("details", exc_info=True)
        _report(one_line(" ".join(str(error).split())))
        return error.exit_code
    except KeyboardInterrupt:
        _report("interrupted", kind="")
        return INTERRUPTED_EXIT_CODE
    except BrokenPipeError:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            try:
                stream.flush()  # what could not be written is still there
            except OSError:
                _drop(stream)
        return 0
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not _is_anywhere():
            _report("the current folder was deleted: change to another one with  cd")
            return FerEdgeError.exit_code
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _drop(sys.stdout)
        where = error.filename or "stdout or a temporary file"
        _report(f"{where} cannot be written: {error.strerror}")
        return FerEdgeError.exit_code
    except Exception as error:
        if not _is_lack_of_memory(error):
            raise
        detail = " ".join(str(error).split())[:200]
        _report(
            f"not enough memory{f' ({detail})' if detail else ''}: close other"
            " programs, or ask for less, such as smaller images or batches"
        )
        return FerEdgeError.exit_code


def _is_anywhere() -> bool:
    """Returns whether there is a current folder, below which relative paths are."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _report(message: str, kind: str = "error: ") -> None:
    """Prints a line on stderr; a closed stderr is ignored."""
    try:
        print(f"{kind}{message}", file=sys.stderr, flush=True)
    except OSError:
        _drop(sys.stderr)


def _is_lack_of_memory(error: Exception) -> bool:
    """Returns whether an error of Python or a library is a lack of memory."""
    names = {each.__name__ for each in type(error).__mro__}
    libraries = {"ResourceExhaustedError", "OutOfMemoryError"}
    return (
        isinstance(error, MemoryError)
        or bool(names & libraries)
        or "RESOURCE_EXHAUSTED" in str(error)[:200]
    )


def _drop(stream: TextIO | None) -> None:
    """Points a stream nowhere: Python flushes it at exit and would raise again."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # type: ignore[union-attr]
