"""A run and a real broker (Debian's mosquitto), killed, revived, encrypted, picky."""

from __future__ import annotations

import json
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge_runtime.errors import OutputError
from edge_runtime.outputs import mqtt
from edge_runtime.outputs.mqtt import open_mqtt
from edge_runtime.outputs.mqtt_client import MAX_EVENTS, MqttOptions
from edge_runtime.outputs.mqtt_topics import parse_broker
from edge_runtime.pipeline import stats
from edge_runtime.pipeline.stats import Status
from edge_runtime.results import Decision, Drift, Event, FaceResult, FrameResult
from edge_runtime.sources import Frame
from tests.system.broker import MISSING, MOSQUITTO, Broker, free_port
from tests.waiting import until

paho = pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
pytestmark = [
    pytest.mark.skipif(MOSQUITTO is None, reason=MISSING),
    # paho leaves the socket of a refused handshake to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
BLACK = Frame(np.zeros((8, 8, 3), np.uint8), 0, 0.0, "camera")
SHARE = {"happy": 0.9, "sad": 0.1}


class Listener:
    """Another client, which notes what it hears."""

    def __init__(self, port: int, set_up: Callable[[Any], None] | None = None) -> None:
        self.heard: list[tuple[str, str, bool]] = []
        self._subscribed = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._note
        self._client.reconnect_delay_set(0.1, 0.2)
        if set_up:
            set_up(self._client)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    def _note(self, _client: Any, _data: Any, message: Any) -> None:
        self.heard.append((message.topic, message.payload.decode(), message.retain))

    def of(self, topic: str) -> list[str]:
        return [payload for name, payload, _ in self.heard if name == topic]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    one = Broker(tmp_path, "allow_anonymous true")
    one.start()
    yield one
    one.kill()


@contextmanager
def listening(port: int, **more: Any) -> Iterator[Listener]:
    listener = Listener(port, **more)
    try:
        yield listener
    finally:
        listener.close()


def status() -> Status:
    source = SimpleNamespace(
        name="camera", kind="camera", live=True, fps=25.0, dropped=0, reopened=0
    )
    source.skipped, source.lost = 0, None
    spec = SimpleNamespace(
        labels=tuple(SHARE), architecture="tiny", format="tflite-int8"
    )
    return Status(source=source, classifier=SimpleNamespace(spec=spec), detector="haar")


def answer(number: int, *, event: bool = True) -> FrameResult:
    face = FaceResult(
        (1, 1, 4, 4), 1.0, "happy", 0.9, SHARE, 1, Decision("happy", 0.9, SHARE, 0.0)
    )
    kind: Any = "expression_changed"
    events = (Event(kind, 1, float(number), "happy", "sad", 0.9),) if event else ()
    return FrameResult(
        number, float(number), "camera", (face,), 1.0, 1.0, 0.1, 9.0, True, events
    )


def options(port: int, **more: Any) -> MqttOptions:
    return MqttOptions(parse_broker(f"mqtt://127.0.0.1:{port}/home/door"), **more)


def event_numbers(listener: Listener) -> list[int]:
    documents = [json.loads(one) for one in listener.of("home/door/events")]
    return [int(one["time_s"]) for one in documents]


def test_broker_hears_availability_state_events_and_discovery(broker: Broker) -> None:
    with listening(broker.port) as listener:
        with open_mqtt(options(broker.port), status()) as sink:
            until(lambda: listener.of("home/door/availability") == ["online"])
            sink.write(BLACK, answer(5))
            until(lambda: listener.of("home/door/events"))
            until(lambda: listener.of("home/door/state"))
        until(lambda: listener.of("home/door/availability") == ["online", "offline"])
    with listening(broker.port) as late:  # Home Assistant, started again meanwhile
        until(lambda: late.of("home/door/availability") == ["offline"])
        event = json.loads(listener.of("home/door/events")[0])
        assert (event["event"], event["label"]) == ("expression_changed", "happy")
        state = json.loads(listener.of("home/door/state")[0])
        assert (state["expression"], state["faces"], state["face"]) == (
            "happy",
            1,
            "ON",
        )
        topics = [topic for topic, _, _ in listener.heard]
        found = [topic for topic in topics if topic.startswith("homeassistant/")]
        assert "homeassistant/sensor/home_door/expression/config" in found
        config = json.loads(listener.of(found[0])[0])
        assert config["availability_topic"] == "home/door/availability"
        assert config["options"] == ["happy", "sad", "uncertain", "none"]


def test_late_listener_finds_what_is_retained(broker: Broker) -> None:
    with open_mqtt(options(broker.port), status()) as sink:
        until(lambda: sink.counts()["error"] is None)
        sink.write(BLACK, answer(1))
        time.sleep(0.3)
        with listening(broker.port) as late:
            until(lambda: late.of("home/door/state"))
            retained = {topic for topic, _, retain in late.heard if retain}
    assert {"home/door/availability", "home/door/state"} <= retained
    assert "home/door/events" not in retained
    assert "homeassistant/binary_sensor/home_door/face/config" in retained


def test_discovery_can_be_left_out(broker: Broker) -> None:
    with listening(broker.port) as listener:
        with open_mqtt(options(broker.port, discovery=None), status()):
            until(lambda: listener.of("home/door/availability"))
            time.sleep(0.2)
        assert not [one for one in listener.heard if "homeassistant" in one[0]]


@pytest.mark.parametrize(("fps", "seconds"), [(25.0, 30), (0.1, 75)])
def test_sensors_of_a_slow_camera_do_not_expire_between_its_frames(
    broker: Broker, fps: float, seconds: int
) -> None:
    slow = status()
    slow.source.fps = fps  # type: ignore[misc]
    topic = "homeassistant/sensor/home_door/expression/config"
    with listening(broker.port) as listener, open_mqtt(options(broker.port), slow):
        until(lambda: listener.of(topic))
    assert json.loads(listener.of(topic)[0])["expire_after"] == seconds


def watching() -> Status:
    one = status()
    one.include("drift", dict)
    return one


def drift_answer(number: int, *names: str) -> FrameResult:
    drift = Drift(float(number), names, tuple(f"{name} is odd" for name in names))
    return replace(answer(number, event=False), drift=drift)


def test_drift_is_told_once_for_each_change(broker: Broker) -> None:
    with listening(broker.port) as listener:
        with open_mqtt(options(broker.port), watching()) as sink:
            until(lambda: len(listener.of("home/door/drift")) == 1)
            for number in range(3):
                sink.write(BLACK, answer(number))
            sink.write(BLACK, drift_answer(3, "frame_brightness"))
            for number in range(4, 7):
                sink.write(BLACK, answer(number))
            sink.write(BLACK, drift_answer(7))
            until(lambda: len(listener.of("home/door/drift")) == 3)
        until(lambda: "offline" in listener.of("home/door/availability"))
        told = [json.loads(text) for text in listener.of("home/door/drift")]
    assert [one["drift"] for one in told] == ["OFF", "ON", "OFF"]
    assert told[1]["reasons"] == ["frame_brightness is odd"]
    assert {one["schema"] for one in told} == {"fer-edge/drift/1"}
    with listening(broker.port) as late:
        until(lambda: late.of("home/door/drift"))
        topic = "homeassistant/binary_sensor/home_door/drift/config"
        until(lambda: late.of(topic))
    assert json.loads(late.of("home/door/drift")[0])["drift"] == "OFF"
    assert json.loads(late.of(topic)[0])["state_topic"] == "home/door/drift"


def test_drift_is_told_again_to_a_broker_that_forgot_it(broker: Broker) -> None:
    with open_mqtt(options(broker.port), watching()) as sink:
        sink.write(BLACK, drift_answer(1, "frame_brightness"))
        with listening(broker.port) as listener:
            until(lambda: listener.of("home/door/drift"))
        broker.kill()
        until(lambda: sink.counts()["error"])
        broker.start()
        until(lambda: sink.counts()["error"] is None)
        with listening(broker.port) as late:
            until(lambda: late.of("home/door/drift"))
        assert json.loads(late.of("home/door/drift")[-1])["drift"] == "ON"


def test_full_queue_of_events_does_not_keep_drift_back(broker: Broker) -> None:
    with open_mqtt(options(broker.port), watching()) as sink:
        until(lambda: sink.counts()["error"] is None)
        with broker.frozen():
            for number in range(3 * MAX_EVENTS):
                sink.write(BLACK, answer(number))
            assert sink.counts()["dropped_events"]
            sink.write(BLACK, drift_answer(1, "frame_brightness"))
        with listening(broker.port) as late:
            until(lambda: '"ON"' in "".join(late.of("home/door/drift")))


def test_change_of_the_drift_waits_for_a_broker(broker: Broker) -> None:
    broker.kill()
    with open_mqtt(options(broker.port), watching()) as sink:
        sink.write(BLACK, drift_answer(1, "labels"))
        broker.start()
        with listening(broker.port) as listener:
            until(lambda: listener.of("home/door/drift"))
    documents = [json.loads(text) for text in listener.of("home/door/drift")]
    assert [one["quantities"] for one in documents] == [["labels"]]


def test_run_that_does_not_watch_says_nothing_about_drift(broker: Broker) -> None:
    with listening(broker.port) as listener:
        with open_mqtt(options(broker.port), status()) as sink:
            sink.write(BLACK, answer(1))
            until(lambda: listener.of("home/door/state"))
        until(lambda: "offline" in listener.of("home/door/availability"))
    assert not [topic for topic, _, _ in listener.heard if "drift" in topic]


def test_without_frames_there_is_no_face_until_they_come_again(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats, "STALE_S", 0.5)
    monkeypatch.setattr(mqtt, "STATE_EVERY_S", 0.1)

    def faces() -> list[tuple[str, int, str]]:
        documents = map(json.loads, listener.of("home/door/state"))
        return [(one["face"], one["faces"], one["expression"]) for one in documents]

    with (
        listening(broker.port) as listener,
        open_mqtt(options(broker.port), status()) as sink,
    ):
        until(lambda: sink.counts()["error"] is None)
        sink.write(BLACK, answer(1))
        until(lambda: faces() == [("ON", 1, "happy"), ("OFF", 0, "none")])
        time.sleep(1)
        assert len(faces()) == 2  # told once
        sink.write(BLACK, answer(2))
        until(lambda: faces()[2:] == [("ON", 1, "happy"), ("OFF", 0, "none")])


def test_end_does_not_wait_for_what_was_confirmed_at_once(broker: Broker) -> None:
    taken = []
    for _ in range(5):
        with open_mqtt(options(broker.port), status()) as sink:
            until(lambda one=sink: one.counts()["error"] is None)
            publish = sink._client.publish

            def publish_and_wait(*given: Any, _real: Any = publish, **more: Any) -> Any:
                info = _real(*given, **more)
                info.wait_for_publish(5)  # the broker was faster than this thread
                return info

            sink._client.publish = publish_and_wait
            sink.write(BLACK, answer(1))
            started = time.monotonic()
        taken.append(time.monotonic() - started)
    assert statistics.median(taken) < 0.3, taken


def test_last_will_says_offline_when_the_run_is_killed(
    broker: Broker, tiny_model_path: Path
) -> None:
    command = [sys.executable, "-m", "edge_runtime", "run", str(tiny_model_path)]
    command += ["--source", "fake:scene?fps=5&size=160x120", "--faces", "none"]
    command += ["--mqtt", f"mqtt://127.0.0.1:{broker.port}/home/door"]
    with listening(broker.port) as listener:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            until(lambda: listener.of("home/door/state"), 60)
            process.kill()
        until(lambda: listener.of("home/door/availability") == ["online", "offline"])


def test_events_wait_for_a_broker_that_was_killed(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    with open_mqtt(options(broker.port), status()) as sink:
        with listening(broker.port) as before:
            until(lambda: sink.counts()["error"] is None)
            sink.write(BLACK, answer(0))
            until(lambda: event_numbers(before) == [0])
        broker.kill()
        until(lambda: sink.counts()["error"])
        started = time.perf_counter()
        for number in range(1, 101):
            sink.write(BLACK, answer(number))
        blocked_s = time.perf_counter() - started
        broker.start()
        with listening(broker.port) as after:
            until(lambda: len(set(event_numbers(after))) >= 100, 45)
            assert sorted(set(event_numbers(after))) == list(range(1, 101))
            until(lambda: "online" in after.of("home/door/availability"))
    assert blocked_s < 1
    assert sink.counts()["dropped_events"] == 0
    assert caplog.text.count("trying again") == 1


def test_beyond_its_bound_events_are_dropped_and_counted(tmp_path: Path) -> None:
    with open_mqtt(options(free_port()), status()) as sink:
        for number in range(1200):
            sink.write(BLACK, answer(number))
        assert sink.counts()["dropped_events"] == 200
        started = time.monotonic()
    assert time.monotonic() - started < 1


def test_password_comes_from_a_file_and_stays_out_of_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    users = tmp_path / "users"
    subprocess.run(
        ["mosquitto_passwd", "-c", "-b", str(users), "me", "hunter2hunter2"], check=True
    )
    broker = Broker(tmp_path, "allow_anonymous false", f"password_file {users}")
    broker.start()
    url = f"mqtt://me@127.0.0.1:{broker.port}/home/door"
    file = tmp_path / "password"
    given = MqttOptions(parse_broker(url), file)
    file.write_text("wrong-one\n")
    try:
        with open_mqtt(given, status()) as sink:
            until(lambda: "user 'me'" in (sink.counts()["error"] or ""))
            file.write_text("hunter2hunter2\n")  # it is read again
            until(lambda: sink.counts()["error"] is None)
        with open_mqtt(given, status()) as sink:
            until(lambda: sink.counts()["error"] is None)
    finally:
        broker.kill()
    assert "hunter2" not in caplog.text
    assert "wrong-one" not in caplog.text


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Returns the key and the certificate of a broker at localhost."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return key, certificate


def test_encrypted_broker_is_believed_only_with_its_certificate(
    tmp_path: Path,
) -> None:
    key, certificate = make_certificate(tmp_path)
    broker = Broker(
        tmp_path,
        "allow_anonymous true",
        f"certfile {certificate}",
        f"keyfile {key}",
    )
    broker.start()
    address = parse_broker(f"mqtts://localhost:{broker.port}/home/door")
    try:
        with open_mqtt(MqttOptions(address), status()) as stranger:
            until(lambda: "--mqtt-ca" in stranger.counts()["error"])
        other = parse_broker(f"mqtts://127.0.0.1:{broker.port}/home/door")
        with open_mqtt(MqttOptions(other, ca_file=certificate), status()) as sink:
            until(lambda: "another name" in sink.counts()["error"])
        plain = parse_broker(f"mqtt://localhost:{broker.port}/home/door")
        with open_mqtt(MqttOptions(plain), status()) as sink:
            until(lambda: "mqtts://" in sink.counts()["error"])
        with open_mqtt(MqttOptions(address, ca_file=certificate), status()) as sink:
            until(lambda: sink.counts()["error"] is None)
    finally:
        broker.kill()


def test_broker_that_asks_for_a_certificate_is_named_as_such(tmp_path: Path) -> None:
    key, certificate = make_certificate(tmp_path)
    broker = Broker(
        tmp_path,
        "require_certificate true",
        f"cafile {certificate}",
        f"certfile {certificate}",
        f"keyfile {key}",
    )
    broker.start()
    address = parse_broker(f"mqtts://localhost:{broker.port}/home/door")
    try:
        with open_mqtt(MqttOptions(address, ca_file=certificate), status()) as sink:
            until(lambda: "ask its clients for a certificate" in sink.counts()["error"])
    finally:
        broker.kill()


@pytest.mark.parametrize("allowed", ["read #", "write #", "readwrite other/#"])
def test_broker_that_passes_nothing_on_is_reported(
    tmp_path: Path,
    allowed: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(mqtt, "SILENCE_S", 1.0)
    rules = tmp_path / "rules"
    rules.write_text(f"topic {allowed}\n")
    rules.chmod(0o600)
    broker = Broker(tmp_path, "allow_anonymous true", f"acl_file {rules}")
    broker.start()
    try:
        with open_mqtt(options(broker.port), status()) as sink:
            until(lambda: "does not pass it on" in (sink.counts()["error"] or ""))
            time.sleep(2)
    finally:
        broker.kill()
    assert caplog.text.count("read and write home/door/#") == 1


def test_broker_that_passes_it_on_is_not_reported(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mqtt, "SILENCE_S", 600.0)
    with open_mqtt(options(broker.port), status()) as sink:
        until(lambda: sink.counts()["error"] is None)
        until(lambda: sink._heard_by_s is None)  # heard: nothing will be reported
        assert sink.counts()["error"] is None
    assert "pass" not in caplog.text


@contextmanager
def silent_port() -> Iterator[int]:
    """Yields a port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_port_that_takes_the_connection_and_says_nothing_is_reported(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "SILENCE_S", 0.5)
    with silent_port() as port, open_mqtt(options(port), status()) as sink:
        until(lambda: "does not answer as a broker" in sink.counts()["error"])
    assert caplog.text.count("does not answer as a broker") == 1


def test_broker_without_tls_is_reported(broker: Broker) -> None:
    address = parse_broker(f"mqtts://127.0.0.1:{broker.port}/home/door")
    with open_mqtt(MqttOptions(address), status()) as sink:
        until(lambda: "mqtt://" in sink.counts()["error"])


def test_reason_that_changes_is_reported_each_once(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    with open_mqtt(options(broker.port), status()) as sink:
        until(lambda: sink.counts()["error"] is None)
        broker.kill()
        until(lambda: "nobody listens" in (sink.counts()["error"] or ""))
        time.sleep(4)
    warnings = [one.getMessage() for one in caplog.records]
    assert len(warnings) == 2
    assert "connection lost: the broker or the line ended it" in warnings[0]
    assert "still no connection: nobody listens" in warnings[1]


def test_late_last_will_is_answered(broker: Broker) -> None:
    with listening(broker.port) as listener:
        with open_mqtt(options(broker.port), status()):
            until(lambda: listener.of("home/door/availability") == ["online"])
            listener._client.publish("home/door/availability", "offline", retain=True)
            until(
                lambda: (
                    listener.of("home/door/availability")
                    == ["online", "offline", "online"]
                )
            )
            with listening(broker.port) as late:
                until(lambda: late.of("home/door/availability") == ["online"])
        until(lambda: listener.of("home/door/availability")[-1] == "offline")
        time.sleep(0.5)  # which is not answered
        assert listener.of("home/door/availability")[-1] == "offline"


def test_second_run_below_one_prefix_is_reported(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    with open_mqtt(options(broker.port), status()) as first:
        until(lambda: first.counts()["error"] is None)
        with open_mqtt(options(broker.port), status()) as second:
            until(lambda: second.counts()["error"] is None)
            until(lambda: "another run publishes below 'home/door'" in caplog.text)
        time.sleep(1)  # the second one's "offline" is answered by the first
    assert caplog.text.count("another run publishes") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="its abstract sockets")
def test_second_run_with_the_default_prefix_is_refused(broker: Broker) -> None:
    address = parse_broker(f"mqtt://127.0.0.1:{broker.port}")
    with open_mqtt(MqttOptions(address), status()):
        refused = pytest.raises(OutputError, match="another run on this machine")
        with refused, open_mqtt(MqttOptions(address), status()):
            pass
    with open_mqtt(MqttOptions(address), status()) as again:
        until(lambda: again.counts()["error"] is None)
