"""Where the images are that a CSV lists."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from pathlib import Path, PurePosixPath

from edge_runtime.errors import DatasetError
from train.data.listing.stored_files import StoredFile, list_folder, stored_file


class ImagesBelow:
    """The images below a CSV's folder, by the names that it has for them.

    Many lists leave out the folder, the suffix, or both: ``train.csv`` with ``id1``,
    which is ``train/id1.jpg``.
    """

    def __init__(self, folder: Path) -> None:
        """Takes the CSV's folder; it is searched when a name is not in it."""
        self._folder = folder

    def find(self, name: str) -> StoredFile:
        """Returns the image of a name; reading it fails where there is none.

        Raises:
            DatasetError: There are several.
        """
        path = self._folder / name
        if "/" in name or _is_file(path):
            return stored_file(path, name)
        found = self._by_name.get(name, [])
        if len(found) > 1:
            raise DatasetError(
                f"{name} may be {found[0].path} or {found[1].path}: write the folder"
                " into the CSV"
            )
        return found[0] if found else stored_file(path, name)

    @cached_property
    def _by_name(self) -> dict[str, list[StoredFile]]:
        found = defaultdict[str, list[StoredFile]](list)
        try:
            images = list_folder(self._folder).images
        except DatasetError:  # a folder nearby that cannot be read may be another's
            images = []
        for image in images:
            name = PurePosixPath(image.parts[-1])
            for each in {name.name, name.stem}:
                found[each].append(image)
        return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # far too long for a name
        return False
