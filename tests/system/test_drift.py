"""Drift on the page, in a real browser, and in ``/metrics``."""

from __future__ import annotations

import asyncio
import http.client
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from edge_runtime import Classifier
from edge_runtime.drift.quantities import RANGE_BLOCK, RANGE_LEARNT
from edge_runtime.drift.watch import EVERY, DriftWatch
from edge_runtime.outputs.rendering import FrameRenderer
from edge_runtime.pipeline.stats import Status
from edge_runtime.results import FaceResult, FrameResult
from edge_runtime.sources import Frame

pytest.importorskip("aiohttp", reason="aiohttp is not installed")
pytest.importorskip("prometheus_client", reason="prometheus_client is not installed")
browser = pytest.importorskip("tests.system.browser")

LEARNT = RANGE_LEARNT * EVERY  # frames
ALARM = 4 * RANGE_BLOCK * EVERY  # at most: the block of the change, and three more
rng = np.random.default_rng(4)
NOISE = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
VIEW = np.asarray(cv2.GaussianBlur(NOISE, (0, 0), 1), np.uint8)


class Page(NamedTuple):
    port: int
    show: Callable[[np.ndarray, int], None]  # an image, for so many frames

    def metrics(self) -> str:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        line.request("GET", "/metrics")
        text = line.getresponse().read().decode()
        line.close()
        return text


@pytest.fixture
def page(tiny_model_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Page]:
    """The page of a run that is fed here, faster than any camera."""
    from edge_runtime.web.address import parse_address
    from edge_runtime.web.app import open_page

    source = SimpleNamespace(name="camera", kind="camera", live=True, fps=25.0)
    source.dropped = source.reopened = source.skipped = 0
    source.lost = None
    classifier = Classifier.load(tiny_model_path)
    status = Status(source=source, classifier=classifier, detector="none")
    watch = DriftWatch(classifier, detects=False)
    status.include("drift", watch.document)
    renderer = FrameRenderer(privacy=False, sequence=True, fps=lambda: status.fps)
    privacy = {"blurred": False, "recording": False}
    opened = open_page(
        parse_address("127.0.0.1:0"), renderer, status, token=None, privacy=privacy
    )
    label = classifier.spec.labels[0]
    face = FaceResult((0, 0, 160, 120), 1.0, label, 0.9, {label: 0.9}, 1)
    count = 0

    def show(image: np.ndarray, frames: int) -> None:
        nonlocal count
        for _ in range(frames):
            frame = Frame(image, count, count / 25, "camera")
            result = FrameResult(count, count / 25, "camera", (face,), 0.0, 0.0)
            result = watch.update(frame, result)
            status.update(result)
            state.write(frame, result)
            count += 1

    with opened as (state, _):
        match = re.search(r"page: \S+:(\d+)/", capsys.readouterr().err)
        assert match
        show(VIEW, 1)
        yield Page(int(match[1]), show)


def test_metrics_say_what_drifts(page: Page) -> None:
    assert 'fer_edge_drift{quantity="frame_brightness"} 0.0' in page.metrics()
    page.show(VIEW, LEARNT)
    page.show(VIEW // 4, ALARM)
    text = page.metrics()
    assert 'fer_edge_drift{quantity="frame_brightness"} 1.0' in text
    index = re.search(r'fer_edge_drift_psi\{quantity="frame_brightness"\} (\S+)', text)
    assert index and float(index[1]) > 1


@pytest.mark.skipif(
    browser.CHROMIUM is None, reason="no Chromium here: apt-get install chromium"
)
def test_page_shows_drift_and_its_end(page: Page, tmp_path: Path) -> None:
    async def visit() -> None:
        async with browser.open_tab() as tab:
            await tab.size(1280, 800)
            await tab.go(f"http://127.0.0.1:{page.port}/")
            said = "document.getElementById('drift-state').textContent"
            hidden = "document.getElementById('drifting').hidden"
            await tab.until(f"{said}.includes('learning')")
            assert await tab.ask(hidden)
            page.show(VIEW, LEARNT + 2 * RANGE_BLOCK * EVERY)
            await tab.until(f"{said} === 'steady'")
            page.show(VIEW // 4, ALARM)
            await tab.until(f"{said} === 'not as before' && !{hidden}")
            reasons = "document.getElementById('drift').textContent"
            assert "much darker than at first" in await tab.ask(reasons)
            await tab.screenshot(tmp_path / "drift.png", whole=True)
            page.show(VIEW, ALARM)
            await tab.until(f"{said} === 'steady' && {hidden}")
            await tab.size(360, 780, phone=True)
            wider = "document.documentElement.scrollWidth > innerWidth"
            assert not await tab.ask(wider)
            await tab.screenshot(tmp_path / "drift_phone.png", whole=True)
            assert tab.complaints == []

    asyncio.run(visit())
