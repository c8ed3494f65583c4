"""A detector is fetched only as the very file it should be."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edge_runtime.__main__ import main
from edge_runtime.cli.fetch_detector import YUNET_URL, fetch
from edge_runtime.detection.factory import (
    MAX_YUNET_BYTES,
    YUNET_FILE,
    YUNET_SHA256,
    data_folder,
)
from edge_runtime.errors import OutputError, SourceError

CONTENT = b"the detector" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Served(BaseHTTPRequestHandler):
    """Gives the right file, another one, too much, a redirection or an error."""

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/right")
            self.end_headers()
            return
        bodies = {
            "/right": CONTENT,
            "/wrong": CONTENT[:-1],
            "/endless": bytes(MAX_YUNET_BYTES + 2),
        }
        body = bodies.get(self.path)
        self.send_response(200 if body else 404)
        self.end_headers()
        if body:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Served) as served:
        thread = threading.Thread(target=served.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{served.server_address[1]}"
        served.shutdown()
        thread.join()


@pytest.mark.parametrize("place", ["right", "moved"])
def test_right_file_is_kept(server: str, tmp_path: Path, place: str) -> None:
    path = tmp_path / "new" / "face.onnx"
    fetch(f"{server}/{place}", path, sha256=SHA256, force=False)
    assert path.read_bytes() == CONTENT
    assert [one.name for one in path.parent.iterdir()] == ["face.onnx"]


@pytest.mark.parametrize("place", ["wrong", "endless"])
def test_another_file_is_refused_and_leaves_nothing(
    server: str, tmp_path: Path, place: str
) -> None:
    with pytest.raises(SourceError, match=f"expected a file with sha256 {SHA256}"):
        fetch(f"{server}/{place}", tmp_path / "face.onnx", sha256=SHA256, force=False)
    assert list(tmp_path.iterdir()) == []


def test_existing_file_is_kept_without_force(server: str, tmp_path: Path) -> None:
    path = tmp_path / "face.onnx"
    path.write_bytes(b"mine")
    with pytest.raises(OutputError, match="--force"):
        fetch(f"{server}/right", path, sha256=SHA256, force=False)
    with pytest.raises(SourceError):
        fetch(f"{server}/wrong", path, sha256=SHA256, force=True)
    assert path.read_bytes() == b"mine"
    fetch(f"{server}/right", path, sha256=SHA256, force=True)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("place", ["/missing", "ftp://host/file", "file:///etc/hosts"])
def test_place_that_gives_nothing_is_an_error(
    server: str, tmp_path: Path, place: str
) -> None:
    url = server + place if place.startswith("/") else place
    with pytest.raises(SourceError, match=r"download|expected a --url"):
        fetch(url, tmp_path / "face.onnx", sha256=SHA256, force=False)
    assert list(tmp_path.iterdir()) == []


def test_server_that_is_not_there_is_one_line_and_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert main(["fetch-detector", "--url", "http://127.0.0.1:9/face.onnx"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"copy it to {data_folder()}" in told
    assert not data_folder().exists()


def test_published_file_is_pinned() -> None:
    assert YUNET_URL.startswith("https://")
    assert YUNET_URL.endswith("/" + YUNET_FILE)
    assert len(bytes.fromhex(YUNET_SHA256)) == 32


@pytest.mark.parametrize("value", ["", "relative/folder"])
def test_data_folder_is_an_absolute_path(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", value)
    assert data_folder().is_absolute()
