"""An address is what its answer says: a stream, a still, a file, a refusal."""

from __future__ import annotations

import base64
import gc
import hashlib
import re
import shutil
import socketserver
import ssl
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from urllib.request import parse_http_list, parse_keqv_list

import cv2
import numpy as np
import pytest

from edge_runtime.errors import SourceError
from edge_runtime.sources import CameraSettings, http, http_login, open_source
from edge_runtime.sources.address import diagnose
from edge_runtime.sources.base import Clock
from edge_runtime.sources.mjpeg import MjpegReader

Answer = Callable[[BaseHTTPRequestHandler], None]
QUICK = CameraSettings(stall_s=1.0)


@contextmanager
def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Yields host and port of a server that answers every request like this."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                answer(self)
            except OSError:  # whoever asked has gone
                return

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def picture(number: int, suffix: str = ".jpg") -> bytes:
    noise = np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8)
    return bytes(cv2.imencode(suffix, noise)[1])


def head(handler: BaseHTTPRequestHandler, kind: str, length: int | None = None) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", kind)
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()


def stream(
    handler: BaseHTTPRequestHandler,
    kind: str = "multipart/x-mixed-replace; boundary=b",
    part: str = "image/jpeg",
    pause_s: float = 0.01,
    pictures: int = 1000,
) -> None:
    head(handler, kind)
    for number in range(pictures):
        handler.wfile.write(f"--b\r\nContent-Type: {part}\r\n\r\n".encode())
        handler.wfile.write(picture(number) + b"\r\n")
        time.sleep(pause_s)


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        ("multipart/x-mixed-replace; boundary=b", "image/jpeg"),
        ("multipart/x-mixed-replace;boundary=--b", "image/jpg"),
        ("multipart/mixed", "image/pjpeg"),
        ("application/octet-stream", "image/jpeg"),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "HTTP"])
def test_stream_of_images_is_a_camera(kind: str, part: str, scheme: str) -> None:
    answer = partial(stream, kind=kind, part=part)
    with (
        serving(answer) as host,
        open_source(f"{scheme}://{host}/video", settings=QUICK) as source,
    ):
        frames = list(islice(source, 3))
    assert (source.kind, source.live, source.name) == (
        "camera",
        True,
        f"http://{host}/...",
    )
    assert frames[0].image.shape == (48, 64, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
@pytest.mark.parametrize("kind", ["image/jpeg", "image/jpg"])
def test_still_is_polled(kind: str, suffix: str) -> None:
    asked = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(time.monotonic())
        data = picture(len(asked), suffix)
        head(handler, kind, len(data))
        handler.wfile.write(data)

    settings = QUICK._replace(fps=10.0)
    with (
        serving(answer) as host,
        open_source(f"http://{host}/snap.cgi", settings=settings) as source,
    ):
        started = time.monotonic()
        frames = list(islice(source, 4))
    assert (source.kind, source.live, source.fps) == ("camera", True, 10.0)
    assert time.monotonic() - started > 0.2
    assert len(frames) == 4
    assert len(asked) >= 4  # one request, one image


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage\r\n\r\n",
        b"",
        b"HTTP/1.1 200 " + b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnone",
    ],
    ids=["no HTTP", "nothing", "line too long", "cut off", "broken chunks"],
)
def test_still_is_asked_for_again_after_an_answer_that_is_none(answer: bytes) -> None:
    asked = []

    def broken_once(handler: BaseHTTPRequestHandler) -> None:
        asked.append(0)
        if len(asked) == 2:
            handler.wfile.write(answer)
            return
        data = picture(len(asked))
        head(handler, "image/jpeg", len(data))
        handler.wfile.write(data)

    settings = QUICK._replace(fps=10.0)
    with (
        serving(broken_once) as host,
        open_source(f"http://{host}/snap.jpg", settings=settings) as source,
    ):
        assert len(list(islice(source, 3))) == 3


def still(handler: BaseHTTPRequestHandler, number: int) -> None:
    data = picture(number)
    head(handler, "image/jpeg", len(data))
    handler.wfile.write(data)


@pytest.mark.parametrize("has_length", [True, False])
def test_still_that_comes_byte_by_byte_is_polled(has_length: bool) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        data = picture(int(10 * time.monotonic()))
        head(handler, "image/jpeg", len(data) if has_length else None)
        handler.wfile.write(data[:1])
        time.sleep(0.2)
        handler.wfile.write(data[1:])

    settings = CameraSettings(stall_s=20.0, fps=20.0)
    with (
        serving(answer) as host,
        open_source(f"http://{host}/snap", settings=settings) as source,
    ):
        assert len(list(islice(source, 3))) == 3
    assert source.reopened == 0


def test_still_whose_connection_stays_open_is_polled() -> None:
    over = threading.Event()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        head(handler, "image/jpeg")
        handler.wfile.write(picture(int(10 * time.monotonic())))
        handler.wfile.flush()
        over.wait(20)

    settings = CameraSettings(stall_s=4.0, fps=20.0)
    with (
        serving(answer) as host,
        open_source(f"http://{host}/snap", settings=settings) as source,
    ):
        assert len(list(islice(source, 4))) == 4
        assert source.reopened == 0
        over.set()


@pytest.mark.parametrize("has_length", [True, False])
def test_still_that_trickles_is_given_up(has_length: bool) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        data = picture(1)
        head(handler, "image/jpeg", len(data) if has_length else None)
        handler.wfile.write(data[:100])
        for number in range(100, len(data)):
            handler.wfile.write(data[number : number + 1])
            time.sleep(0.1)

    with (
        serving(answer) as host,
        pytest.raises(SourceError, match=r"--stall-after|cut off"),
        open_source(f"http://{host}/snap", settings=QUICK),
    ):
        pass


def test_still_that_is_renewed_rarely_is_not_opened_again() -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        still(handler, 1)

    settings = CameraSettings(stall_s=10.0, fps=20.0, frozen_s=0.3)
    with (
        serving(answer) as host,
        open_source(f"http://{host}/snap.jpg", settings=settings) as source,
    ):
        assert len(list(islice(source, 25))) == 25
    assert source.reopened == 0


def test_still_slower_than_the_stall_time_is_no_loss() -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        still(handler, int(10 * time.monotonic()))

    settings = CameraSettings(stall_s=2.0, fps=0.4)
    with (
        serving(answer) as host,
        open_source(f"http://{host}/snap.jpg", settings=settings) as source,
    ):
        assert len(list(islice(source, 3))) == 3
    assert source.reopened == 0


def test_slow_camera_within_the_stall_time_is_no_loss() -> None:
    settings = CameraSettings(stall_s=4.0, frozen_s=0.0)
    with (
        serving(partial(stream, pause_s=2.5)) as host,
        open_source(f"http://{host}/v", settings=settings) as source,
    ):
        assert len(list(islice(source, 3))) == 3
    assert source.reopened == 0


def test_video_at_an_address_is_a_file_with_an_end(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    for number in range(9):
        writer.write(cv2.imdecode(np.frombuffer(picture(number), np.uint8), 1))
    writer.release()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        data = path.read_bytes()
        head(handler, "video/x-msvideo", len(data))
        handler.wfile.write(data)

    with serving(answer) as host, open_source(f"http://{host}/clip.avi") as source:
        frames = list(source)
    assert (source.kind, source.live, source.frame_count) == ("video", False, 9)
    assert [frame.index for frame in frames] == list(range(9))
    assert frames[0].name == f"http://{host}/..."


def test_images_that_came_meanwhile_leave_out_those_before_them() -> None:
    sent = threading.Event()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        stream(handler, pause_s=0.0, pictures=20)
        sent.set()
        time.sleep(20)

    with serving(answer) as host:
        reader = http.open_http(f"http://{host}/v", QUICK, Clock())
        assert isinstance(reader, MjpegReader)
        assert sent.wait(20)
        images = [
            cv2.imdecode(np.frombuffer(picture(n), np.uint8), 1) for n in range(20)
        ]
        numbers, passed_over = list[int](), 0
        while 19 not in numbers:
            image = reader.read()
            numbers += [n for n in range(20) if np.array_equal(image, images[n])]
            passed_over += reader.passed_over
        reader.close()
    assert numbers[0] > 0, "an old image"
    assert len(numbers) + passed_over == 20


def bare_stream(handler: BaseHTTPRequestHandler) -> None:
    """JPEG images one after the other, as of  rpicam-vid --codec mjpeg --listen."""
    head(handler, "image/jpeg")
    for number in range(1000):
        handler.wfile.write(picture(number))
        time.sleep(0.05)


def piece_of_video(path: Path) -> bytes:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MPG2"), 25.0, (64, 48))
    for number in range(30):
        writer.write(cv2.imdecode(np.frombuffer(picture(number), np.uint8), 1))
    writer.release()
    return path.read_bytes()


@pytest.mark.parametrize(
    "kind", ["video/mp2t", "application/octet-stream", "text/plain"]
)
@pytest.mark.parametrize("name", ["clip.ts", "clip.mjpeg"])
def test_video_of_which_only_the_bytes_are_counted_is_a_file(
    tmp_path: Path, name: str, kind: str
) -> None:
    data = b"".join(picture(number) for number in range(30))
    if name == "clip.ts":
        data = piece_of_video(tmp_path / name)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        head(handler, kind, len(data))
        handler.wfile.write(data)

    with (
        serving(answer) as host,
        open_source(f"http://{host}/{name}", settings=QUICK) as source,
    ):
        assert (source.kind, source.live) == ("video", False)
        frames = list(source)
    assert len(frames) >= 27  # FFmpeg keeps the last ones of a cut stream
    assert frames[-1].timestamp_s == pytest.approx((len(frames) - 1) / 25, abs=0.01)


@pytest.mark.parametrize("has_end", [False, True], ids=["live", "file"])
def test_playlist_of_a_live_video_has_its_pace_and_one_with_an_end_is_a_file(
    tmp_path: Path, has_end: bool
) -> None:
    piece = piece_of_video(tmp_path / "piece.ts")
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.2,\npiece.ts\n"
    playlist += "#EXT-X-ENDLIST\n" * has_end

    def answer(handler: BaseHTTPRequestHandler) -> None:
        data = piece if handler.path == "/piece.ts" else playlist.encode()
        head(handler, "application/vnd.apple.mpegurl", len(data))
        handler.wfile.write(data)

    with (
        serving(answer) as host,
        open_source(f"http://{host}/live.m3u8", settings=QUICK) as source,
    ):
        frames = list(islice(source, 20))
        assert (source.kind, source.live) == (
            ("video", False) if has_end else ("camera", True)
        )
    times_s = [frame.timestamp_s for frame in frames]
    assert times_s[-1] - times_s[0] >= 0.7, "they came in a burst"


def test_images_without_parts_between_them_are_a_stream() -> None:
    asked = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(0)
        bare_stream(handler)

    with (
        serving(answer) as host,
        open_source(f"http://{host}/v", settings=QUICK) as source,
    ):
        assert len(list(islice(source, 5))) == 5
    assert (len(asked), source.reopened) == (1, 0)


@pytest.mark.parametrize("after", [b"", b"\r\n", bytes(500)])
def test_still_of_unknown_length_is_polled(after: bytes) -> None:
    asked = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(0)
        head(handler, "image/jpeg")
        handler.wfile.write(picture(len(asked)) + after)

    settings = QUICK._replace(fps=10.0)
    with (
        serving(answer) as host,
        open_source(f"http://{host}/snap", settings=settings) as source,
    ):
        assert len(list(islice(source, 3))) == 3
    assert len(asked) >= 3


@pytest.mark.parametrize("suffix", [".png", ".webp", ".bmp"])
def test_still_is_known_by_its_content(suffix: str) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        head(handler, "application/octet-stream")
        handler.wfile.write(picture(1, suffix))

    settings = QUICK._replace(fps=10.0)
    with (
        serving(answer) as host,
        open_source(f"http://{host}/snap", settings=settings) as source,
    ):
        assert len(list(islice(source, 3))) == 3
    assert source.reopened == 0


@pytest.mark.parametrize(
    ("kind", "data", "reason"),
    [
        ("text/html", b"<html>log in</html>", "a page .text/html., no video"),
        ("application/json", b"{}", "a page .application/json., no video"),
        ("image/jpeg", b"<html>offline</html>", "text, such as a web page"),
        ("image/svg+xml", b"<svg/>", "text, such as a web page"),
        ("image/heic", b"\0\0\0\x18ftypheic" + bytes(99), "HEIC"),
    ],
)
def test_answer_that_is_no_picture_is_named(
    kind: str, data: bytes, reason: str
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        head(handler, kind, len(data))
        handler.wfile.write(data)

    with (
        serving(answer) as host,
        pytest.raises(SourceError, match=f"{reason}.*look up the path"),
        open_source(f"http://{host}/x", settings=QUICK),
    ):
        pass


@pytest.mark.parametrize("proxy_answers", [True, False])
def test_proxy_in_between_is_named(
    proxy_answers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(refuse(502)) as proxy:
        place = proxy if proxy_answers else "127.0.0.1:9"
        monkeypatch.setenv("http_proxy", f"http://me:s3cret@{place}")
        monkeypatch.setenv("no_proxy", "other.host")
        with (
            pytest.raises(
                SourceError, match=r"http://127\.0\.0\.1:.*no_proxy="
            ) as caught,
            open_source("http://127.0.0.2:1/v", settings=QUICK),
        ):
            pass
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("stall_s", [0.1, 20.0])
def test_first_picture_may_take_the_stall_time(
    stall_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        head(handler, "multipart/x-mixed-replace; boundary=b")
        time.sleep(4)
        stream(handler)

    monkeypatch.setattr(http, "OPEN_TIMEOUT_S", 2.0)
    expected = pytest.raises(SourceError, match=r"no picture within 2 s")
    with (
        serving(answer) as host,
        expected if stall_s < 1 else nullcontext(),
        open_source(f"http://{host}/v", settings=CameraSettings(stall_s=stall_s)) as it,
    ):
        assert next(iter(it)).image.shape == (48, 64, 3)


def refuse(status: int) -> Answer:
    return lambda handler: handler.send_error(status)


def lacks_images(handler: BaseHTTPRequestHandler) -> None:
    head(handler, "multipart/x-mixed-replace; boundary=b")
    while True:
        handler.wfile.write(b"--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n" * 20)
        time.sleep(0.01)


def cuts_images_off(handler: BaseHTTPRequestHandler) -> None:
    head(handler, "multipart/x-mixed-replace; boundary=b")
    while True:
        handler.wfile.write(b"--b\r\n\r\n" + picture(1)[:-2] + b"\r\n")
        time.sleep(0.01)


def cuts_the_image_off(handler: BaseHTTPRequestHandler) -> None:
    data = picture(1)
    head(handler, "image/jpeg", len(data))
    handler.wfile.write(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (refuse(401), "user and password"),
        (refuse(403), r"refusal \(403\)"),
        (refuse(404), r"no such path \(404\)"),
        (refuse(500), "HTTP status 500"),
        (lambda handler: head(handler, "text/html", 0), "not a video"),
        (lacks_images, r"expected frames from 'http://127\..*no JPEG image"),
        (cuts_images_off, "or none that is whole"),
        (cuts_the_image_off, r"no valid frame: .*cut off"),
        (lambda handler: head(handler, "image/jpeg", 0), r"no valid frame: .*empty"),
    ],
    ids=["401", "403", "404", "500", "html", "text", "ends", "half", "empty"],
)
def test_reason_is_told_without_the_password(answer: Answer, part: str) -> None:
    settings = CameraSettings(stall_s=4.0, fps=50.0)
    with serving(answer) as host:
        url = f"http://me:s3cret@{host}/x"
        with (
            pytest.raises(SourceError, match=part) as caught,
            open_source(url, settings=settings),
        ):
            pass
    assert "s3cret" not in str(caught.value)


def test_user_and_password_are_sent_decoded() -> None:
    seen = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        kind, _, text = handler.headers.get("Authorization", "").partition(" ")
        if kind != "Basic":
            handler.send_response(401)
            handler.send_header("WWW-Authenticate", 'Basic realm="camera"')
            handler.end_headers()
            return
        seen.append(base64.b64decode(text).decode())
        stream(handler)

    with (
        serving(answer) as host,
        open_source(f"http://me:a%23b%2Fc%40d@{host}/v?q=1", settings=QUICK) as source,
    ):
        assert next(iter(source)).image.shape == (48, 64, 3)
    assert seen == ["me:a#b/c@d"]


def asking(handler: BaseHTTPRequestHandler, challenge: str) -> None:
    handler.send_response(401)
    handler.send_header("WWW-Authenticate", challenge)
    handler.end_headers()


@pytest.mark.parametrize("kind", ["", "Basic", "Digest"])
def test_polled_camera_gets_the_password_only_as_it_asked_for_it(kind: str) -> None:
    sent: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        credentials = handler.headers.get("Authorization", "")
        sent.append(credentials.partition(" ")[0])
        if kind and not credentials:
            asking(handler, f'{kind} realm="cam", nonce="n"')
        else:
            still(handler, len(sent))

    settings = CameraSettings(fps=50, stall_s=20)
    user = "me:s3cret@" if kind else ""
    with (
        serving(answer) as host,
        open_source(f"http://{user}{host}/v", settings=settings) as source,
    ):
        assert len(list(islice(source, 4))) == 4
    assert set(sent) == {"", kind}
    if kind == "Basic":
        assert sent.count("") == 1, "asked for it each time"


def test_camera_with_the_tls_of_long_ago_is_read(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate")
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-subj"]
    command += ["/CN=cam", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.set_ciphers("DEFAULT:@SECLEVEL=0")
    tls.load_cert_chain(certificate, key)
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        tls.minimum_version = tls.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        serving(stream, tls) as host,
        open_source(f"https://{host}/v", settings=QUICK) as source,
    ):
        assert next(iter(source)).image.shape == (48, 64, 3)


def test_https_where_there_is_none_is_named() -> None:
    with (
        serving(stream) as host,
        pytest.raises(SourceError, match=r"no TLS .*write http://"),
        open_source(f"https://{host}/v", settings=QUICK),
    ):
        pass


def test_cookie_and_the_name_of_a_program_that_a_camera_asks_for_are_sent() -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.headers["User-Agent"].startswith("Python"):
            handler.send_error(403)
        elif handler.headers.get("Cookie") == "seen=1":
            stream(handler)
        else:
            handler.send_response(302)
            handler.send_header("Set-Cookie", "seen=1; Path=/")
            handler.send_header("Location", handler.path)
            handler.end_headers()

    with (
        serving(answer) as host,
        open_source(f"http://{host}/v", settings=QUICK) as source,
    ):
        assert next(iter(source)).image.shape == (48, 64, 3)


def test_cookies_do_not_become_more_and_more() -> None:
    seen: list[int] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers.get("Cookie", "").count("="))
        data = picture(len(seen))
        handler.send_response(200)
        for number in range(15):
            handler.send_header("Set-Cookie", f"c{len(seen)}-{number}=1")
        handler.send_header("Content-Type", "image/jpeg")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    settings = CameraSettings(stall_s=2.0, fps=50.0)
    with (
        serving(answer) as host,
        open_source(f"http://{host}/v", settings=settings) as source,
    ):
        assert len(list(islice(source, 5))) == 5
    assert 0 < max(seen) <= http_login.MOST_COOKIES


def leading_to(
    handler: BaseHTTPRequestHandler, place: str, then: Callable[[], None]
) -> None:
    if handler.path == "/there" and "Authorization" in handler.headers:
        then()
    elif handler.path == "/there":
        asking(handler, 'Basic realm="camera"')
    else:
        handler.send_response(302)
        handler.send_header("Location", place)
        handler.end_headers()


def test_password_goes_along_where_a_camera_leads_to_another_path() -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        leading_to(handler, "/there", lambda: stream(handler))

    with (
        serving(answer) as host,
        open_source(f"http://me:s3cret@{host}/v", settings=QUICK) as source,
    ):
        assert next(iter(source)).image.shape == (48, 64, 3)


def test_password_does_not_go_along_to_another_place_which_is_named() -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        port = handler.headers["Host"].partition(":")[2]
        there = f"http://localhost:{port}/there"
        leading_to(handler, there, lambda: pytest.fail("the password was sent"))

    with (
        serving(answer) as host,
        pytest.raises(SourceError, match=r"a redirect to http://localhost:\d+/"),
        open_source(f"http://me:s3cret@{host}/v", settings=QUICK),
    ):
        pass


@pytest.mark.parametrize("place", ["/v", "rtsp://127.0.0.1/?password=s3cret"])
def test_redirect_that_leads_nowhere_is_one_line(place: str) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        leading_to(handler, place, lambda: None)

    with (
        serving(answer) as host,
        pytest.raises(SourceError, match=r"a redirect in a circle") as caught,
        open_source(f"http://{host}/v", settings=QUICK),
    ):
        pass
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


SHA256, MD5 = (
    f'Digest realm="cam", qop="auth", algorithm={name}, nonce="n"'
    for name in ("SHA-256", "md5")
)


@pytest.mark.parametrize(
    ("challenges", "digest"),
    [
        ([SHA256], sha256),
        ([SHA256, MD5], sha256),
        ([MD5, SHA256], sha256),
        (['Basic realm="cam"', MD5], md5),
        (
            ["Negotiate", 'Digest realm="cam", nonce="n", algorithm=SHA-512-256', MD5],
            md5,
        ),
        (["NTLM", 'Digest realm="cam", nonce="n"'], md5),
        (['Digest realm="cam", nonce="n", opaque='], md5),
        (['Digest Realm="cam", nonce=n, stale=, algorithm=', "Digest"], md5),
        (['Digest realm="cam", nonce="n", domain="a, b", =, odd, opaque=""'], md5),
    ],
)
def test_best_known_challenge_is_answered(
    challenges: list[str], digest: Callable[[str], str]
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        kind, _, text = handler.headers.get("Authorization", "").partition(" ")
        given = parse_keqv_list(parse_http_list(text)) if kind == "Digest" else {}
        middle = f":{given.get('nc')}:{given.get('cnonce')}:auth" * ("qop" in given)
        secret, asked = digest("m\u00e9:cam:s3cret"), digest("GET:/v?q=1")
        if given.get("response") == digest(f"{secret}:n{middle}:{asked}"):
            stream(handler)
            return
        handler.send_response(401)
        for challenge in challenges:
            handler.send_header("WWW-Authenticate", challenge)
        handler.end_headers()

    with (
        serving(answer) as host,
        open_source(f"http://m%C3%A9:s3cret@{host}/v?q=1", settings=QUICK) as source,
    ):
        assert next(iter(source)).image.shape == (48, 64, 3)


@pytest.mark.parametrize(
    "challenge",
    [
        *("Bearer", "Negotiate", 'Digest algorithm="x"', "Digest", "Digest ="),
        *('Digest realm="cam", nonce=', 'Digest realm="cam", nonce="n"'),
    ],
)
@pytest.mark.parametrize("user", ["", "me:s3cret@"])
def test_challenge_without_an_answer_is_a_refusal(challenge: str, user: str) -> None:
    passwords = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        passwords.extend(handler.headers.get_all("Authorization", []))
        handler.send_response(401)
        handler.send_header("WWW-Authenticate", challenge)
        handler.end_headers()

    with (
        serving(answer) as host,
        pytest.raises(SourceError, match=r"a refusal \(401\)"),
        open_source(f"http://{user}{host}/v", settings=QUICK),
    ):
        pass
    assert len(passwords) <= 1, "cameras lock an account after a few wrong passwords"
    gc.collect()  # a connection that was left open is an error here


def test_nonce_that_was_too_old_is_not_a_wrong_password() -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if 'nonce="new"' in handler.headers.get("Authorization", ""):
            stream(handler)
            return
        nonce = (
            'nonce="new", stale=TRUE'
            if "Authorization" in handler.headers
            else 'nonce="old"'
        )
        handler.send_response(401)
        handler.send_header("WWW-Authenticate", f'Digest realm="cam", {nonce}')
        handler.end_headers()

    with (
        serving(answer) as host,
        open_source(f"http://me:s3cret@{host}/v", settings=QUICK) as source,
    ):
        assert next(iter(source)).image.shape == (48, 64, 3)


@pytest.mark.parametrize(
    "url",
    [
        "http://cam:pa@ss/w#rd@127.0.0.1:1/v",
        "http://cam:12#4@127.0.0.1:1/v",
        "rtsp://cam:a#b@127.0.0.1:1/v",
        "rtsp://cam:a?b@127.0.0.1:1/v",
        "https://cam:a/b@camera.local/v",
    ],
)
def test_sign_in_a_password_is_named_instead_of_the_host(url: str) -> None:
    assert "# as %23" in diagnose(url)
    with pytest.raises(SourceError, match="write @ as %40"), open_source(url):
        pass


@pytest.mark.parametrize(
    ("user", "status", "reason"),
    [
        ("", "401 Unauthorized", "asks for a user"),
        ("me:s3cret@", "401 Unauthorized", "user and password"),
        ("me:s3cret@", "404 Not Found", r"no such path \(404\)"),
        ("", "200 OK", "check path"),
        ("", "", "check path"),
    ],
)
def test_refusal_of_an_rtsp_camera_is_named_and_gets_no_password_for_it(
    user: str, status: str, reason: str
) -> None:
    asked = []

    class Camera(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked.append(self.rfile.readline())
            self.wfile.write(f"RTSP/1.0 {status}\r\nCSeq: 1\r\n\r\n".encode())

    with socketserver.TCPServer(("127.0.0.1", 0), Camera) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        host = f"127.0.0.1:{server.server_address[1]}"
        assert re.search(reason, diagnose(f"rtsp://{user}{host}/live?x=1"))
    assert asked == [f"DESCRIBE rtsp://{host}/live?x=1 RTSP/1.0\r\n".encode()]


@pytest.mark.parametrize("url", ["http:///v", "rtsp://:554/v"])
def test_address_without_a_host_is_named(url: str) -> None:
    with pytest.raises(SourceError, match="got no host: write"), open_source(url):
        pass


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("rtsp://a..b/x", "host name"),
        ("http://.x/", "host name"),
        (f"http://{70 * 'a'}.local/", "host name"),
        ("rtsp://[x/y", "no host"),
        ("http://[::1/", "no host"),
        ("http://h:99999/", "65535"),
        ("rtsp://h:x/", "65535"),
        ("file://[x", "write its path"),
        ("FILE://[x]y/z.png", "write its path"),
        (f"/dev/{300 * 'a'}", "does not exist"),
        (f"file:///dev/{300 * 'b'}", "does not exist"),
    ],
    ids=lambda text: text[:20],
)
def test_address_that_is_none_is_one_line_with_the_true_reason(
    address: str, reason: str
) -> None:
    with (
        pytest.raises(SourceError, match=reason) as caught,
        open_source(address, settings=QUICK),
    ):
        pass
    assert "password write" not in str(caught.value)
