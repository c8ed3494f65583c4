"""Where the trials are recorded: a journal file, or a database for many machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.errors import ConfigError, RunError, missing_in_checkout
from edge_runtime.untrusted import one_line

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

JOURNAL = "journal.log"
NOT_FOUND = "Record does not exist."  # Optuna's KeyError
CONNECT_S = 10
# A network that is gone is noticed after so long; a query may take as long.
SILENCE_S = 30
TABLE_TRIES = 8
POSTGRESQL = ("postgresql://", "postgres://")
_DRIVER = "postgresql+psycopg://"  # version 3, whatever is installed beside it


def open_storage(given: str | None, folder: Path) -> BaseStorage:
    """Returns the storage of a search.

    Args:
        given: URL of a database, or path of a journal file; None for the journal in
            the folder of the search.
        folder: That folder; made where a journal is in it.

    Raises:
        RunError: It refuses, or is none.
        ConfigError: The URL is none.
        MissingDependencyError: The driver of the database is not installed.
    """
    if given and _is_url(given):
        return _open_database(given)
    from train.search.journal import open_journal  # here: --help needs no Optuna

    return open_journal(Path(given) if given else folder / JOURNAL)


def _is_url(given: str) -> bool:
    return "://" in given or given.startswith(("postgresql:", "postgres:"))


def _open_database(url: str) -> BaseStorage:
    from optuna.storages import RDBStorage

    for prefix in POSTGRESQL:
        if url.startswith(prefix):
            url = _DRIVER + url.removeprefix(prefix)
    settings = _POSTGRESQL_SETTINGS if url.startswith(_DRIVER) else {}
    try:
        with refusals(url):
            return _with_tables(
                partial(RDBStorage, url, engine_kwargs={"connect_args": dict(settings)})
            )
    except (_NoUrlError, ValueError) as error:
        raise _is_none(url, _reason(error)) from error
    except RuntimeError as error:
        raise RunError(
            f"the storage {_hidden(url)} has tables of another version of Optuna: name"
            f" another database ({_reason(error)})"
        ) from error
    except ImportError as error:
        if not url.startswith(_DRIVER):
            raise _is_none(url, "its driver is not installed") from error
        raise missing_in_checkout(error.name or "psycopg", "search", error) from error


def _is_none(url: str, reason: str) -> ConfigError:
    return ConfigError(
        f"expected --storage as in postgresql://USER@HOST/DATABASE, got"
        f" {_hidden(url)!r}: {reason}"
    )


def _with_tables(connect: Callable[[], BaseStorage]) -> BaseStorage:
    """Returns the storage; of workers that make its tables at once, one succeeds."""
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    for _ in range(TABLE_TRIES - 1):
        try:
            return connect()
        except (IntegrityError, ProgrammingError):
            time.sleep(1.0)
    return connect()


_POSTGRESQL_SETTINGS = {
    "connect_timeout": CONNECT_S,
    "keepalives_idle": SILENCE_S // 2,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 1000 * SILENCE_S,
    "options": f"-c statement_timeout={1000 * SILENCE_S}",
}


class _NoUrlError(Exception):
    """Text that is not a URL of a database."""


@contextmanager
def refusals(given: str | None) -> Iterator[None]:
    """Turns what goes wrong with a storage into one line, without its password.

    Args:
        given: As for ``open_storage``.

    Raises:
        RunError: It refuses, or is gone, or the search was deleted from it.
    """
    # What else goes wrong with a journal is a line already.
    database = given if given and _is_url(given) else None
    try:
        with _refusals_of(database) if database else nullcontext():
            yield
    except KeyError as error:
        if error.args != (NOT_FOUND,):
            raise
        raise RunError(
            "the search was deleted from the storage: begin another, with another"
            " --name"
        ) from error


@contextmanager
def _refusals_of(url: str) -> Iterator[None]:
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    try:
        yield
    except ArgumentError as error:  # also an unknown kind of database
        raise _NoUrlError(str(error)) from error
    except (StorageInternalError, SQLAlchemyError) as error:
        raise RunError(
            f"the storage {_hidden(url)} refuses: {_reason(error)}: the same command"
            " continues when it answers"
        ) from error


def _hidden(url: str) -> str:
    """Returns a URL without its password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        text = make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return url.split("://")[0] + "://..."
    return text.replace(_DRIVER, POSTGRESQL[0])


def _reason(error: BaseException) -> str:
    """Returns the database's own words: the first line of the innermost error."""
    while error.__cause__ is not None:
        error = error.__cause__
    original = getattr(error, "orig", None) or error
    words = [line.strip() for line in str(original).splitlines() if line.strip()]
    return one_line((words or [type(original).__name__])[0])
