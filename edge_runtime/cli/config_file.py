"""Configuration files: TOML whose keys are the names of the flags.

``threads = 2`` means ``--threads 2``. Tables may group the keys; their names are
ignored. Values are checked as on the command line; typed flags take precedence.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_runtime.errors import ConfigError
from edge_runtime.model_file.metadata import OUTPUTS
from edge_runtime.untrusted import read_bounded, refuse_control

MAX_CONFIG_BYTES = 1 << 20
MEASURED_WITH = "measured-with"  # a table of tuning files that holds no flags
_NOT_IN_A_FILE = frozenset({"help", "config", "print-config"})


def read_toml(path: Path) -> dict[str, Any]:
    """Returns a TOML file's document.

    Raises:
        ConfigError: It cannot be read, or is not TOML.
    """
    import tomllib  # here: most runs have no such file

    try:
        # Editors of Windows put a mark before the text.
        return tomllib.loads(read_bounded(path, MAX_CONFIG_BYTES).decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(
            f"expected a configuration file, got {str(path)!r}: {error.strerror}"
        ) from error
    except (ValueError, RecursionError) as error:  # no UTF-8, or no TOML
        raise ConfigError(f"{path} is not a TOML file: {error}") from error


def read_config(path: Path) -> dict[str, Any]:
    """Returns the keys and values of a file, those of its tables among them.

    Raises:
        ConfigError: It cannot be read, is not TOML, or has a key twice.
    """
    document = read_toml(path)
    document.pop(MEASURED_WITH, None)
    values: dict[str, Any] = {}
    for key, value in _flat(document):
        if key in values:
            raise ConfigError(f"{path}: {key} occurs twice, in two tables")
        values[key] = value
    return values


def _flat(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value)
        else:
            yield key, value


def flag_values(parser: argparse.ArgumentParser, path: Path) -> dict[str, Any]:
    """Returns a file's values by their names in the parsed arguments.

    Raises:
        ConfigError: It cannot be read, has a key that is not a flag of the command, a
            flag under two names, or a value that the flag does not accept.
    """
    actions, values = _actions(parser), {}
    for key, value in read_config(path).items():
        action = actions.get(key)
        if action is None:
            from edge_runtime.utils.suggestions import nearest

            hint = nearest(key.replace("_", "-"), actions) or "; --help lists them"
            raise ConfigError(f"{path}: {key} is not a flag of this command{hint}")
        destination = _destination(action, value)
        if destination in values:
            raise ConfigError(f"{path}: {key} occurs twice, under two names")
        try:
            values[destination] = _converted(action, value)
        except (ValueError, TypeError, argparse.ArgumentTypeError) as error:
            raise ConfigError(f"{path}: {key}: {error}") from error
    source = str(values.get("source", ""))
    if "://" in source and "@" in source:
        from edge_runtime.utils.files import warn_if_public

        warn_if_public(path, "the camera's password in")
    return values


def as_words(values: Mapping[str, Any]) -> list[str]:
    """Returns the text among the values of a file as it is typed.

    Args:
        values: From ``flag_values``.
    """
    texts = {key: value for key, value in values.items() if isinstance(value, str)}
    return [f"--{key.replace('_', '-')}={text}" for key, text in texts.items()]


def _destination(action: argparse.Action, value: Any) -> str:
    """Returns where a value goes: ``output`` may also be what the model gives."""
    said = action.dest == "output" and value in OUTPUTS
    return "model_output" if said else action.dest


def print_config(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> str:
    """Returns the effective configuration as TOML; unset keys are comments."""
    lines = ["# python -m edge_runtime run --config FILE"]
    values, texts = parser.parse_args(arguments), _as_typed(parser, arguments)
    for group in parser._action_groups:  # argparse has no public interface for it
        rows = [
            _row(action, getattr(values, action.dest), getattr(texts, action.dest))
            for action in group._group_actions
            if _key(action) not in _NOT_IN_A_FILE
        ]
        if rows:
            lines += ["", f"# {group.title}", *rows]
    return "\n".join(lines)


def _as_typed(
    parser: argparse.ArgumentParser, arguments: Sequence[str]
) -> argparse.Namespace:
    """Returns the arguments as text, before their types convert them."""
    saved = [(action, action.type, action.choices) for action in parser._actions]
    try:
        for action, _, _ in saved:
            action.type = action.choices = None
        return parser.parse_args(arguments)
    finally:
        for action, kind, choices in saved:
            action.type, action.choices = kind, choices


def _actions(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    actions = {
        key: action
        for action in parser._actions
        for key in (_key(action), *(name[2:] for name in _long_names(action)))
    }
    return {key: actions[key] for key in actions if key not in _NOT_IN_A_FILE}


def _long_names(action: argparse.Action) -> list[str]:
    return [name for name in action.option_strings if name.startswith("--")]


def _key(action: argparse.Action) -> str:
    """Returns a flag's name without its dashes, or a positional argument's name."""
    longest = max(action.option_strings, key=len, default=action.dest)
    return longest.lstrip("-")


def _converted(action: argparse.Action, value: Any) -> Any:
    """Returns a TOML value as a default of the flag: checked, text unconverted.

    Raises:
        ValueError: It has a wrong type, or the flag does not accept it.
    """
    if action.nargs == 0:  # a switch
        if not isinstance(value, bool):
            raise ValueError(f"expected true or false, got {_shown(value)}")
        return value
    if isinstance(action.default, list) or action.nargs in ("*", "+"):
        values = value if isinstance(value, list) else [value]
        return [_converted_value(action, item) for item in values]
    if isinstance(value, list) and "," in str(action.metavar):  # such as A,B,C
        value = _joined(value)
    return _converted_value(action, value)


def _joined(values: list[Any]) -> str:
    """Returns a list as the text of a flag such as ``--labels A,B,C``."""
    if not values:
        raise ValueError("expected at least one, got an empty list")
    if not all(isinstance(item, str) and "," not in item for item in values):
        raise ValueError(f"expected a list of text without commas, got {values!r}")
    return ",".join(values)


def _converted_value(action: argparse.Action, value: Any) -> Any:
    if isinstance(value, list):
        raise ValueError(f"expected one value, got {value!r}")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"expected text or a number, got {_shown(value)}")
    # Such as paths of a service, which become a part of its unit.
    refuse_control(str(value), "text", ValueError)
    converted = action.type(str(value)) if callable(action.type) else str(value)
    numeric = isinstance(converted, int | float)
    if numeric and isinstance(value, str):
        raise ValueError(f"expected a number without quotes, got {value!r}")
    # "source = 0" is a camera; a path or free text is never a number.
    if not numeric and isinstance(value, float):
        raise ValueError(f"expected text in quotes, got {value!r}")
    if isinstance(converted, Path) and isinstance(value, int):
        raise ValueError(f"expected a path in quotes, got {value!r}")
    if action.choices is not None and converted not in action.choices:
        known = ", ".join(map(str, action.choices))
        raise ValueError(f"expected one of {known}, got {value!r}")
    # argparse converts a default that is text as it does typed text.
    return converted if numeric else str(value)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if hasattr(value, "isoformat"):
        return f"the date or time {value}"
    return repr(value)


def _row(action: argparse.Action, value: Any, text: Any) -> str:
    """Returns the line of a flag: numbers as they are, all else as typed."""
    shown = value if isinstance(value, int | float) else text
    if shown is None or shown == []:
        text = " ".join((action.help or "").split()).replace("%%", "%")
        return f"# {_key(action)} =  # {text}"
    return f"{_key(action)} = {_toml(shown)}"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    # JSON strings are TOML strings, except for one control character.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
