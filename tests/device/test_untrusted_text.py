"""Text from others stays text: in units, log lines, tables, CSV and topics."""

import csv
import io
import logging
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.__main__ import main
from edge_runtime.cli.doctor import table
from edge_runtime.doctor.finding import Finding
from edge_runtime.errors import ConfigError, FerEdgeError, OutputError
from edge_runtime.model_file.container import attach, read_model_file
from edge_runtime.outputs.documents import csv_header, csv_row
from edge_runtime.outputs.mqtt_topics import (
    discovery_messages,
    discovery_prefix,
    parse_broker,
)
from edge_runtime.results import FaceResult, FrameResult
from edge_runtime.systemd.journal import JournalFormatter, LineFormatter
from edge_runtime.systemd.unit import Unit, system_unit, user_unit
from edge_runtime.untrusted import has_control, one_line, refuse_control
from edge_runtime.utils.text_table import align

HOSTILE = {
    "line break": "a\nb",
    "return": "a\rb",
    "vertical tab": "a\vb",
    "form feed": "a\fb",
    "separator": "a\x1eb",
    "line of Unicode": "a\u2028b",
    "next line": "a\x85b",
    "escape": "a\x1b[2Jb",
    "escape of eight bits": "a\x9b31mb",
    "backspace": "a\bb",
    "null": "a\0b",
    "right to left": "a\u202egpj.b",
    "isolated": "a\u2067b",
    "mark": "a\u200fb",
    "byte order mark": "a\ufeffb",
    "invisible tag": "a\U000e0041b",
    "no UTF-8": os.fsdecode(b"a\xffb"),
}
FORMATTED = {
    "Persian": "\u0628\u06cc\u200c\u0637\u0631\u0641",
    "Sinhala": "\u0dc1\u0dca\u200d\u0dbb\u0dd3",
    "Hindi": "\u0915\u094d\u200d\u0937",
    "family": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "soft hyphen": "Donau\u00addampf",
    "end of verse": "\u06dd\u0661",
}
hostile = pytest.mark.parametrize("text", HOSTILE.values(), ids=list(HOSTILE))


@hostile
def test_control_characters_are_refused_and_escaped(text):
    assert has_control(text)
    with pytest.raises(ConfigError, match="without line breaks") as raised:
        refuse_control(text, "a path", ConfigError)
    assert not has_control(str(raised.value))
    assert not has_control(one_line(text))


@pytest.mark.parametrize(
    "text",
    ["", "plain.jpg", "Zoë", "写真　フォルダ", "a b\\n=", "😀", *FORMATTED.values()],
)
def test_other_text_is_left_as_it_is(text):
    assert one_line(text) == refuse_control(text, "a path", ConfigError) == text


@given(st.text())
def test_any_text_becomes_one_line_that_can_be_written(text):
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert line.encode() or not text


# --- units ----------------------------------------------------------------------------


@hostile
@pytest.mark.parametrize("where", ["python", "config", "reads", "writable"])
def test_path_with_a_control_character_is_in_no_unit(where, text):
    paths = {"python": Path("/usr/bin/python"), "config": Path("/etc/a.toml")}
    path = Path("/srv") / text.replace("\0", "\x01")
    paths |= {where: (path,) if where in ("reads", "writable") else path}
    with pytest.raises(ConfigError, match="systemd unit"):
        Unit(**paths)


KEYS = ("csv", "events", "record", "watch", "model", "detector-model", "mqtt-ca")


@pytest.mark.parametrize("user", [False, True], ids=["system", "user"])
@pytest.mark.parametrize("key", KEYS)
def test_configuration_writes_no_line_of_the_unit(tmp_path, capsys, key, user):
    value = f"{tmp_path}/x\\nExecStartPre=+/nonexistent --as-root\\n#"
    config = tmp_path / "c.toml"
    config.write_text(f'source = "fake:scene"\n{key} = "{value}"\n')
    more = ["--user"] if user else []
    command = ["install-service", "--config", str(config), "--to", str(tmp_path)]
    assert main([*command, *more]) == 2
    assert not list(tmp_path.glob("*.service"))
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_every_setting_of_a_unit_is_one_of_its_own():
    unit = Unit(Path("/usr/bin/python"), Path("/etc/a b.toml"))
    for text in (system_unit(unit), user_unit(unit)):
        lines = [line for line in text.splitlines() if line and line[0] not in "#["]
        assert all(re.match("[A-Z][A-Za-z]+=", line) for line in lines)


# --- log lines and the terminal -------------------------------------------------------


@hostile
@pytest.mark.parametrize("formatter", [LineFormatter, JournalFormatter])
@pytest.mark.parametrize("values", [True, False], ids=["values", "as-a-whole"])
def test_message_is_one_line_of_the_log(formatter, text, values):
    message, given = ("file %s", (text,)) if values else (f"file {text}", ())
    record = logging.LogRecord("a", logging.WARNING, "", 0, message, given, None)
    line = formatter("%(message)s").format(record)
    assert not has_control(line)
    assert line.startswith("<4>file") or formatter is LineFormatter


def test_traceback_keeps_its_lines_and_escapes_what_they_hold():
    try:
        raise ValueError("\x1b[31mred")
    except ValueError:
        record = logging.LogRecord("a", 40, "", 0, "it", (), sys.exc_info())
    text = LineFormatter("%(message)s").format(record)
    assert len(text.splitlines()) > 3
    assert "\\x1b[31mred" in text
    assert "\x1b" not in text


def test_error_and_usage_are_one_line_without_escapes(capsys):
    assert main(["run", "a\x1b[31m\nb.tflite"]) == 2
    with pytest.raises(SystemExit):
        main(["check", "--expect", "\x1b[31m\n"])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert not any(map(has_control, lines))


def test_cell_of_a_table_stays_in_its_line():
    text = align([("a\nverdict: is tflite-int8", "\x1b[2J")], left=2)
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text


@hostile
def test_camera_may_call_itself_anything(text):
    lines = table([Finding("camera", "warn", text, f"unplug {text}")]).splitlines()
    assert len(lines) == 2
    assert not any(map(has_control, lines))


def test_report_of_a_model_file_has_no_escape_of_its_metadata(
    tmp_path, capsys, tiny_model_path
):
    file = read_model_file(tiny_model_path)
    document = {
        **file.document,
        "architecture": "\x1b[2Jtiny\nverdict: is tflite-int8",
        "origin": {"run\x1b[31m": "a\nb\x9b1m"},
    }
    path = tmp_path / "a.tflite"
    path.write_bytes(attach(file.model, document, "tflite"))
    main(["check", str(path)])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x9b" not in out
    assert out.count("\nverdict:") == 1


def test_name_of_a_picture_is_one_line_of_the_results(
    tmp_path, capsys, tiny_model_path
):
    for name in ("a\n<2>CRITICAL forged\x1b[31m.png", "b.png"):
        cv2.imwrite(str(tmp_path / "x.png"), np.zeros((48, 48), np.uint8))
        (tmp_path / "x.png").rename(tmp_path / name)
    command = ["run", str(tiny_model_path), "--faces", "none", "--source"]
    assert main([*command, str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert not [line for line in out.splitlines() if line.startswith("<2>")]


def test_name_of_a_watched_file_is_one_line_of_the_log(tmp_path):
    command = [sys.executable, "-m", "edge_runtime", "run", "--source", "fake:scene"]
    command += ["--faces", "none", "--watch", str(tmp_path), "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            time.sleep(0.5)
            (tmp_path / "x accepted\n<2>CRITICAL\x1b[31m.tflite").write_bytes(b"x")
            assert process.stderr is not None
            line = process.stderr.readline()
            while "refused" not in line:
                assert line, "it ended"
                line = process.stderr.readline()
        finally:
            process.kill()
    assert line.startswith("WARNING: model update: x accepted\\n<2>CRITICAL\\x1b[31m")


@hostile
def test_name_of_an_image_stays_in_the_summary_of_its_set(tmp_path, text):
    from train.data.dataset import load
    from train.data.summary import summarize

    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for number in range(4):
            pixels = np.full((48, 48), 20 * number + len(label), np.uint8)
            cv2.imwrite(str(tmp_path / label / f"{number}.png"), pixels)
    name = text.replace("\0", "\1")
    (tmp_path / "cat" / f"{name}.png").write_bytes(b"no picture")
    (tmp_path / "cat" / f"{name}.wav").write_bytes(b"no picture")
    lines = summarize(load(tmp_path)).splitlines()
    assert not any(map(has_control, lines))
    assert len([line for line in lines if line.startswith("skipped 1 ")]) == 1


# --- CSV ------------------------------------------------------------------------------

FORMULAS = (
    '=HYPERLINK("http://x")',
    "+1+1",
    "-1+1",
    "@SUM(1)",
    "=cmd|' /C calc'!A0",
    "\t=1",
    "\r=1",
    " =1",
    '"=1',
    "\uff1d1+1",
    "\uff20SUM(1)",
)
SECOND_CELLS = (
    "x;=cmd|'/C calc'!A0",
    'x;"=1"',
    "x; \u00a0=1",
    "x;;;-1+1",
    "=1;@SUM(1)",
    "x;\uff0b1",
)


@pytest.mark.parametrize("text", FORMULAS)
def test_label_or_name_is_no_formula(text):
    face = FaceResult((1, 2, -3, 4), 0.5, text, 0.9, {text: 0.9, "b": 0.1})
    result = FrameResult(0, 0.0, text, (face,), 1.0, 1.0, 1.0)
    rows = [csv_header([text, "b"]), csv_row(result, face, [text, "b"])]
    head, row = csv.reader(io.StringIO("\n".join(rows)))
    cells = [head[-2], row[head.index("source")], row[head.index("label")]]
    assert all(cell[0] not in "=+-@\t\r" for cell in cells)
    assert row[head.index("width")] == "-3"  # a number stays a number


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("text", (*FORMULAS, *SECOND_CELLS))
def test_no_cell_is_a_formula_whichever_separator_the_spreadsheet_has(text, separator):
    face = FaceResult((1, 2, 3, 4), 0.5, text, 0.9, {text: 0.9, "b": 0.1})
    result = FrameResult(0, 0.0, text, (face,), 1.0, 1.0, 1.0)
    lines = [csv_header([text, "b"]), csv_row(result, face, [text, "b"])]
    for row in csv.reader(lines, delimiter=separator):
        for cell in row:
            assert cell.strip(' "\t\r\u00a0')[:1] not in tuple(
                "=+-@\uff1d\uff0b\uff0d\uff20"
            )


@pytest.mark.parametrize("text", ["a-b", "a;b", "x = y", "'=1", "C++", "me@home"])
def test_other_names_are_as_they_are_in_csv(text):
    face = FaceResult((1, 2, 3, 4), 0.5, text, 0.9, {text: 0.9})
    row = csv_row(FrameResult(0, 0.0, text, (face,), 1.0, 1.0, 1.0), face, [text])
    assert next(csv.reader([row])).count(text) == 2


@hostile
def test_row_of_csv_is_one_line(text):
    face = FaceResult((1, 2, 3, 4), 0.5, "a", 0.9, {"a": 0.9})
    result = FrameResult(0, 0.0, text, (face,), 1.0, 1.0, 1.0)
    assert len(csv_row(result, face, ["a"]).splitlines()) == 1


# --- topics ---------------------------------------------------------------------------

NO_PREFIX = (
    "ha/#",
    "+/ha",
    "#",
    "$SYS",
    "a b",
    "a\u3000b",
    "",
    "/",
    "x" * 201,
    "é" * 101,
)


@pytest.mark.parametrize("text", [*NO_PREFIX, *HOSTILE.values()])
def test_what_is_no_topic_is_no_prefix(text):
    with pytest.raises(OutputError):
        discovery_prefix(text)
    url = "mqtt://host/" + text
    if text.strip("/") and "#" not in text:  # else there is none, or no such address
        with pytest.raises(OutputError):
            parse_broker(url)


def test_prefix_in_a_flag_is_checked_before_the_run(capsys):
    command = ["run", "--source", "fake:scene", "--mqtt", "mqtt://127.0.0.1:9"]
    assert main([*command, "--mqtt-discovery", "ha/#"]) == 2
    assert "expected a topic prefix" in capsys.readouterr().err


def test_user_of_a_broker_has_no_control_character():
    with pytest.raises(FerEdgeError, match="a user of --mqtt"):
        parse_broker("mqtt://me%0aDISCONNECT@host/x")


def test_every_topic_that_is_announced_is_one():
    prefix = discovery_prefix("/home/assistant/")
    assert prefix is not None
    broker = parse_broker("mqtt://host/кухня/a.b")
    topics = discovery_messages(broker, prefix, ("#", "+", "=1"), "tiny")
    assert all(topic.startswith("home/assistant/") for topic in topics)
    assert not [topic for topic in topics if set("#+ ") & set(topic)]


def test_none_announces_nothing():
    assert discovery_prefix("none") is None
