"""The page of ``python -m train audit`` in a real browser."""

import asyncio

import cv2
import numpy as np
import pytest

from edge_runtime.untrusted import spreadsheet_cell
from train.audit.audit import audit
from train.audit.page import render_page
from train.data.left_out import leave_out_marked
from train.data.listing.image_files import open_listing
from train.networks import pretrained

browser = pytest.importorskip("tests.system.browser")
pytestmark = pytest.mark.skipif(
    browser.CHROMIUM is None, reason="no Chromium here: apt-get install chromium"
)
PHONE_WH = (390, 844)
SAVED = """(async () => {
  let saved = null;
  URL.createObjectURL = (blob) => { saved = blob; return "#"; };
  document.querySelector("#save button").click();
  return await saved.text();
})()"""


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A set with a picture and its copies, and its page on the disk."""
    monkeypatch.setattr(pretrained, "is_installed", lambda arch: False)
    rng = np.random.default_rng(3)
    for label in ("cat", '=dog, "the" <b>'):
        folder = tmp_path / "set" / label
        folder.mkdir(parents=True)
        for number in range(5):
            coarse = rng.integers(0, 256, (9, 12, 3), np.uint8)
            image = cv2.resize(coarse, (200, 150), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(folder / f"{number}.png"), image)
        cv2.imwrite(str(folder / "copy.png"), cv2.resize(image, (160, 120)))
    with open_listing(tmp_path / "set") as listing:
        html = render_page(audit(listing), "set")
    path = tmp_path / "audit.html"
    path.write_text(html, encoding="utf-8")
    return path


def test_what_is_ticked_is_in_the_saved_csv(page, tmp_path):
    async def visit():
        async with browser.open_tab() as tab:
            await tab.size(*PHONE_WH, phone=True)
            await tab.go(page.as_uri())
            await tab.until("document.getElementById('count').textContent === '2'")
            width = await tab.ask("document.documentElement.scrollWidth")
            broken = await tab.ask(
                "[...document.images].some((i) => i.complete && !i.naturalWidth)"
            )
            await tab.ask("document.querySelectorAll('input')[0].click()")
            count = await tab.ask("document.getElementById('count').textContent")
            text = await tab.ask(SAVED)
            return width, broken, count, text, tab.requested, tab.complaints

    width, broken, count, text, requested, complaints = asyncio.run(visit())
    assert width <= PHONE_WH[0]
    assert not broken
    assert count == "1"
    assert complaints == []
    outside = [each for each in requested if not each.startswith(("data:", "file:"))]
    assert outside == []
    table = tmp_path / "audit.csv"
    table.write_text(text, encoding="utf-8")
    with open_listing(tmp_path / "set") as listing:
        left_out = leave_out_marked(listing, str(table)).left_out
    assert len(left_out) == 1
    assert spreadsheet_cell(left_out[0]) in text.replace('""', '"')
