"""What a model looks at: everything that speaks of it uses the words of its file."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.cli.latency import _next as next_commands
from edge_runtime.__main__ import main
from edge_runtime.errors import MetadataError
from edge_runtime.model_file.container import attach, read_model_file
from edge_runtime.model_file.metadata import ModelSpec, check_word
from edge_runtime.outputs.mqtt import state_document
from edge_runtime.outputs.mqtt_topics import discovery_messages, parse_broker
from edge_runtime.pipeline.stats import Status
from edge_runtime.results import FACE_WORDS, Words, plural, words_of

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
BOTTLES = Words("bottle", "material")
CLIP = "fake:scene?size=96x96&fps=10&clock=virtual&frames=30&script=resize@2s=64x64"


def with_words(model: Path, folder: Path, words: Words) -> Path:
    file = read_model_file(model)
    assert file.document is not None
    spec = ModelSpec.from_document(file.document)
    spec = replace(spec, subject=words.subject, labels_are=words.labels_are)
    path = folder / "bottles.int8.tflite"
    path.write_bytes(attach(file.model, spec.to_document(), file.kind))
    return path


@pytest.fixture
def bottles(tiny_model_path: Path, tmp_path: Path) -> Path:
    return with_words(tiny_model_path, tmp_path, BOTTLES)


def run(model: Path, *flags: str) -> int:
    return main(["run", str(model), "--source", CLIP, *flags])


def test_file_keeps_its_words_and_older_ones_look_at_expressions(
    bottles: Path, tiny_model_path: Path
) -> None:
    spec = ModelSpec.from_document(read_model_file(bottles).document or {})
    assert (spec.subject, spec.labels_are) == ("bottle", "material")
    assert words_of(spec) == BOTTLES
    old = ModelSpec.from_document(read_model_file(tiny_model_path).document or {})
    assert (old.subject, words_of(old)) == (None, FACE_WORDS)
    assert "subject" not in old.to_document()


@pytest.mark.parametrize(
    "word", ["", "Face", "two\nlines", "a/b", "x" * 31, "{{ bad }}", "nr1", " "]
)
def test_other_than_a_word_is_refused(word: str, tiny_model_path: Path) -> None:
    with pytest.raises(MetadataError, match="small letters"):
        check_word(word)
    document = read_model_file(tiny_model_path).document or {}
    with pytest.raises(MetadataError):
        ModelSpec.from_document({**document, "subject": word, "labels_are": "label"})
    with pytest.raises(MetadataError, match="labels_are"):
        ModelSpec.from_document({**document, "subject": "face"})


def test_run_says_that_it_looks_for_faces_where_the_model_does_not(
    bottles: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "this model looks at one bottle, and run looks for faces: add  --faces none"
    for model, flags, expected in (
        (bottles, (), True),
        (bottles, ("--faces", "none"), False),
        (tiny_model_path, (), False),
    ):
        run(model, "--max-frames", "2", *flags)
        assert (said in capsys.readouterr().err) == expected


def test_example_sums_up_what_is_no_face(
    bottles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(bottles, "--faces", "none", "--json") == 0
    lines = capsys.readouterr().out
    command = [sys.executable, str(EXAMPLES / "read_json_lines.py")]
    done = subprocess.run(command, input=lines, capture_output=True, text=True)
    assert done.stdout.startswith("bottle 1: "), done.stderr


def test_next_commands_look_at_whole_images_where_the_model_does(
    bottles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(bottles)]) == 0
    assert f"run {bottles} --source 0 --faces none\n" in capsys.readouterr().out
    options = SimpleNamespace(models=[bottles], words=[], backend=("auto",))
    document = {"models": [{}], "results": [{"logits_ms": {"p50": 1.0}}]}
    assert next_commands(options, document).endswith(" --source 0 --faces none")


def test_json_events_and_text_use_the_words(
    bottles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = tmp_path / "events.jsonl"
    assert run(bottles, "--faces", "none", "--json", "--events", str(events)) == 0
    frames = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for frame in frames:
        assert frame["schema"] == "fer-edge/frame/4"
        assert (frame["subject"], frame["labels_are"]) == BOTTLES
        assert len(frame["objects"]) == 1
        assert "faces" not in frame
    kinds = {json.loads(line)["event"] for line in events.read_text().splitlines()}
    assert "object_appeared" in kinds
    assert kinds <= {"object_appeared", "label_changed", "object_left"}
    assert run(bottles, "--faces", "none") == 0
    told = capsys.readouterr()
    assert re.search(r"0\.00 s  \w+ \(\d+ %\)", told.out)
    assert re.search(r"^classified +30$", told.out, re.MULTILINE)
    said = re.sub(r"--faces none", "", told.out + told.err).lower()
    assert "face" not in said
    assert "expression" not in said


def test_face_model_has_the_events_of_before(
    tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tiny_model_path, "--json") == 0
    frames = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    kinds = {event["event"] for frame in frames for event in frame["events"]}
    assert "face_appeared" in kinds
    assert kinds <= {"face_appeared", "expression_changed", "face_left"}
    assert all("faces" in frame and "objects" not in frame for frame in frames)
    assert {(one["subject"], one["labels_are"]) for one in frames} == {FACE_WORDS}


def test_terminal_names_what_was_found(
    bottles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = "fake:scene?clock=virtual&frames=30"
    assert main(["run", str(bottles), "--source", scene]) == 0
    told = capsys.readouterr().out
    assert re.search(r"bottle #1 appeared: \w+ \(\d+ %\)", told)
    assert re.search(r"^bottles +\d+$", told, re.MULTILINE)
    assert re.search(r"^bottle appeared +1$", told, re.MULTILINE)


def test_nothing_speaks_of_faces_where_whole_frames_are_classified() -> None:
    spec = SimpleNamespace(labels=("cat", "dog"), architecture="tiny", format="x")
    classifier = SimpleNamespace(spec=spec)
    for detector, subject in (("none", "image"), ("haar", "face")):
        source: Any = None
        status = Status(source=source, classifier=classifier, detector=detector)
        assert status.words.subject == subject
    spec.labels = ("happy", "sad", "angry", "surprise", "neutral", "fear", "disgust")
    whole = Status(source=source, classifier=classifier, detector="none")
    assert whole.words == FACE_WORDS  # of a released model
    spec.subject, spec.labels_are = BOTTLES
    assert whole.words == BOTTLES


@pytest.mark.parametrize("pictures", [False, True])
def test_older_file_of_whole_frames_sends_no_face_events(
    pictures: bool,
    tiny_model_path: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = read_model_file(tiny_model_path)
    labels = [f"digit {number}" for number in range(7)]
    document = {**(file.document or {}), "labels": labels}
    path = tmp_path / "digits.tflite"
    path.write_bytes(attach(file.model, document, file.kind))
    source = "fake:scene?clock=virtual&frames=30&size=96x96"
    if pictures:
        source = str(tmp_path / "a.png")
        cv2.imwrite(source, np.full((96, 96, 3), 90, np.uint8))
    command = ["run", str(path), "--source", source, "--json", "--faces", "none"]
    for roi in ((), ("--roi", "0,0,50%,50%")):
        assert main([*command, *roi]) == 0
        text = capsys.readouterr().out
        frames = [json.loads(line) for line in text.splitlines()]
        assert all(frame["objects"] and frame["subject"] == "image" for frame in frames)
        assert pictures or "object_appeared" in text
        assert "face_" not in text


def test_home_assistant_is_told_in_the_words_of_the_model() -> None:
    broker = parse_broker("mqtt://host/home/bin")
    messages = discovery_messages(
        broker, "homeassistant", ("glass", "paper"), "bottles", BOTTLES
    )
    names = {topic.split("/", 1)[1]: entity for topic, entity in messages.items()}
    label = names["sensor/home_bin/label/config"]
    assert (label["name"], label["options"][:2]) == ("Material", ["glass", "paper"])
    assert label["value_template"] == "{{ value_json.label }}"
    assert names["sensor/home_bin/objects/config"]["name"] == "Bottles"
    assert names["binary_sensor/home_bin/object/config"]["name"] == "Bottle"
    events = names["event/home_bin/happening/config"]["event_types"]
    assert events == ["object_appeared", "label_changed", "object_left"]
    text = json.dumps(messages).lower()
    assert "face" not in text
    assert "expression" not in text
    state = state_document(None, 5.0, BOTTLES)
    assert (state["object"], state["objects"], state["label"]) == ("OFF", 0, "none")


def test_discovery_of_faces_is_that_of_before() -> None:
    broker = parse_broker("mqtt://host/home/door")
    messages = discovery_messages(broker, "ha", ("happy", "sad"), "fer2013")
    assert [topic.split("/")[1::2] for topic in messages] == [
        ["sensor", "expression"],
        ["sensor", "confidence"],
        ["sensor", "faces"],
        ["sensor", "fps"],
        ["sensor", "age"],
        ["binary_sensor", "face"],
        ["event", "happening"],
    ]
    names = [entity["name"] for entity in messages.values()]
    assert names[0::2] == ["Expression", "Faces", "Frame age", "Happening"]


def test_counters_are_called_by_the_words() -> None:
    pytest.importorskip("prometheus_client", reason="fer-edge[web] is not installed")
    from edge_runtime.web.metrics import Metrics
    from edge_runtime.web.state import PageState

    source = SimpleNamespace(name="0", kind="camera", live=True, fps=25.0, lost=None)
    source.dropped = source.reopened = source.skipped = 0
    spec = SimpleNamespace(labels=("a", "b"), architecture="tiny", format="x")
    spec.subject, spec.labels_are = BOTTLES
    classifier = SimpleNamespace(spec=spec)
    status = Status(source=source, classifier=classifier, detector="none")
    metrics = Metrics(lambda: status.words)
    metrics.read_from(PageState(status, metrics.observe).document)
    text = metrics.text().decode()
    assert "fer_edge_objects_total 0.0" in text
    assert "fer_edge_objects_classified_total" in text
    assert "face" not in text
    assert status.snapshot()["words"] == {
        "subject": "bottle",
        "subjects": "bottles",
        "labels_are": "material",
        "labels_are_plural": "materials",
    }


def test_check_says_what_a_model_looks_at(
    bottles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["check", str(bottles)])
    assert re.search(r"looks at +bottle; labels: material", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("word", "many"),
    [("face", "faces"), ("box", "boxes"), ("glass", "glasses"), ("dish", "dishes")],
)
def test_plural_follows_the_rules(word: str, many: str) -> None:
    assert plural(word) == many
    assert (plural("body"), plural("toy")) == ("bodies", "toys")


def test_words_of_faces_with_other_labels_are_mixed() -> None:
    words = Words("face", "age")
    assert words.event_kinds == ("face_appeared", "label_changed", "face_left")
    assert (words.thing, words.things, words.quality) == ("face", "faces", "label")
