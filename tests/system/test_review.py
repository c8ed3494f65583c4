"""The page to label crops: keyboard, undo, a lost network, two people, a phone."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from edge_runtime import Classifier
from edge_runtime.outputs.base import CollectLimits
from edge_runtime.outputs.collection import crop_files
from edge_runtime.outputs.collection.crop_folder import CropFolder
from tests.device.outputs.test_collection import crop
from tests.system.test_web import (
    TOKEN,
    Served,
    browser,
    in_tab,
    needs_browser,
    serving,
)
from tests.waiting import until

COUNT = 24
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def labels(tiny_model_path: Path) -> tuple[str, ...]:
    return Classifier.load(tiny_model_path).spec.labels


class Shown(Served):
    """A run with crops to label."""

    crops: Path

    def reviews(self) -> dict[str, Any]:
        """Returns the review of each crop by its number, as it is on the disk."""
        found = {}
        for name in crop_files.crop_names(self.crops):
            document = crop_files.read_document(self.crops, name)
            found[crop_files.number_of(name)] = document["review"]
        return found

    def counts(self) -> Counter[str]:
        given = [review for review in self.reviews().values() if review]
        return Counter(str(review["label"]) for review in given)


def collecting(
    stack: ExitStack,
    folder: Path,
    model: Path,
    labels: tuple[str, ...],
    *more: str,
    count: int = COUNT,
) -> Shown:
    crops = CropFolder(folder / "crops", CollectLimits())
    for number in range(count):
        answer = labels[number % 2]
        shares = dict.fromkeys(labels, 0.05) | {answer: 0.7}
        score = 1 - number / 100  # in this order
        crops.store(crop(number, score=score, label=answer, probabilities=shares))
    crops.close()
    # One crop a day: no other comes in between.
    flags = ("--collect", str(crops.path), "--collect-every", "86400", *more)
    served = stack.enter_context(serving(folder, model, *flags))
    shown = Shown(served.process, served.port, served.log)
    shown.crops = crops.path
    return shown


@pytest.fixture
def shown(
    tmp_path: Path, tiny_model_path: Path, labels: tuple[str, ...]
) -> Iterator[Shown]:
    with ExitStack() as stack:
        yield collecting(stack, tmp_path, tiny_model_path, labels)


# --- with the keyboard -------------------------------------------------------------

READY = "!document.getElementById('accept').disabled"
FIRST = "document.getElementById('crop').getAttribute('src')"
PROGRESS = "document.getElementById('progress').textContent"


async def press(tab: Any, key: str, **more: Any) -> None:
    code = {"Enter": 13, "Backspace": 8}.get(key, ord(key[0].upper()))
    for kind in ("keyDown", "keyUp"):
        await tab.call(
            "Input.dispatchKeyEvent",
            type=kind,
            key=key,
            windowsVirtualKeyCode=code,
            **more,
        )


async def click(tab: Any, query: str) -> None:
    await tab.ask(f"document.querySelector({json.dumps(query)}).click()")


@needs_browser
def test_twenty_crops_are_labelled_with_the_keyboard(
    shown: Shown, labels: tuple[str, ...]
) -> None:
    async def visit(tab: Any) -> None:
        await tab.size(1200, 900)
        await tab.go(f"{shown.url}review")
        await tab.until(READY)
        for number in range(20):
            before = await tab.ask(FIRST)
            await press(tab, ("Enter", "3", "x", "Enter")[number % 4])
            await tab.until(f"{READY} && {FIRST} !== {json.dumps(before)}")
        await tab.until(f"{PROGRESS}.startsWith('4 to label, 15 labelled, 5 disc')")
        assert all(one.startswith(shown.url) for one in tab.requested), tab.requested
        assert tab.complaints == []

    in_tab(visit)
    until(lambda: sum(shown.counts().values()) == 20)
    expected = Counter({"None": 5, labels[2]: 5})
    expected.update(labels[n % 2] for n in range(20) if n % 4 in (0, 3))
    assert shown.counts() == expected


@needs_browser
def test_address_with_a_password_for_a_proxy_is_as_any_other(shown: Shown) -> None:
    async def visit(tab: Any) -> None:
        await tab.go(shown.url.replace("//", "//me:s3cret@"))
        health = "document.getElementById('health').textContent"
        await tab.until(f"{health}.startsWith('live')")
        await tab.go(shown.url.replace("//", "//me:s3cret@") + "review")
        await tab.until(READY)
        await press(tab, "Enter")
        await tab.until(f"{PROGRESS}.includes('1 labelled')")

    in_tab(visit)


@needs_browser
def test_browser_that_allows_no_storage_shows_both_pages(shown: Shown) -> None:
    denied = "{ get() { throw new DOMException('denied', 'SecurityError'); } }"
    names = "['localStorage', 'sessionStorage']"
    script = f"{names}.forEach((n) => Object.defineProperty(window, n, {denied}))"

    async def visit(tab: Any) -> None:
        await tab.call("Page.addScriptToEvaluateOnNewDocument", source=script)
        await tab.go(shown.url)
        health = "document.getElementById('health').textContent"
        await tab.until(f"{health}.startsWith('live')")
        await tab.go(f"{shown.url}review")
        await tab.until(READY)
        await press(tab, "Enter")
        await tab.until(f"{PROGRESS}.includes('1 labelled')")
        assert tab.complaints == []

    in_tab(visit)


@needs_browser
def test_undo_brings_the_crop_back_and_its_label_is_gone(
    shown: Shown, labels: tuple[str, ...]
) -> None:
    async def visit(tab: Any) -> None:
        await tab.go(f"{shown.url}review")
        await tab.until(READY)
        first = await tab.ask(FIRST)
        await press(tab, "Enter")
        await press(tab, "2")
        await tab.until(f"{PROGRESS}.includes('2 labelled')")
        await press(tab, "u")
        await press(tab, "Backspace")
        await tab.until(f"{PROGRESS}.includes('24 to label, 0 labelled')")
        assert await tab.ask(FIRST) == first
        assert await tab.ask("document.getElementById('undo').disabled")
        await press(tab, "4")
        await tab.until(f"{PROGRESS}.includes('1 labelled')")

    in_tab(visit)
    until(lambda: shown.counts() == Counter({labels[3]: 1}))
    assert shown.reviews()[1]["label"] == labels[3]


async def offline(tab: Any, lost: bool) -> None:
    await tab.call(
        "Network.emulateNetworkConditions",
        offline=lost,
        latency=0,
        downloadThroughput=-1,
        uploadThroughput=-1,
    )


@needs_browser
def test_answers_of_a_lost_network_are_sent_when_it_is_back(shown: Shown) -> None:
    async def visit(tab: Any) -> None:
        await tab.go(f"{shown.url}review")
        await tab.until(READY)
        await press(tab, "Enter")
        await tab.until(f"{PROGRESS}.includes('1 labelled')")
        pictures = "performance.getEntriesByType('resource')"
        pictures += ".filter((one) => one.name.endsWith('.jpg'))"
        await tab.until(f"{pictures}.length >= 8")
        await offline(tab, True)
        for _ in range(5):  # those at hand
            await tab.until(READY)
            await press(tab, "Enter")
        text = "document.getElementById('network').innerText"
        await tab.until(f"{text}.includes('5 answers wait')")
        await press(tab, "u")
        await press(tab, "1")
        assert sum(shown.counts().values()) == 1
        await offline(tab, False)
        await tab.until(f"{PROGRESS}.includes('18 to label, 6 labelled')")
        await tab.until("document.getElementById('network').hidden")

    in_tab(visit)
    until(lambda: sum(shown.counts().values()) == 6)
    assert [n for n, review in shown.reviews().items() if review] == [1, 2, 3, 4, 5, 6]


@needs_browser
def test_answers_of_a_closed_page_are_sent_by_the_next_one(shown: Shown) -> None:
    async def visit(tab: Any) -> None:
        await tab.go(f"{shown.url}review")
        await tab.until(READY)
        await offline(tab, True)
        await press(tab, "Enter")
        await press(tab, "Enter")
        await tab.until(
            "Object.entries(localStorage).some(([name, value]) =>"
            " name.startsWith('review-pending') && JSON.parse(value).length === 2)"
        )
        await offline(tab, False)
        await tab.go(f"{shown.url}static/style.css")
        await tab.until("document.contentType === 'text/css'")
        await tab.ask("sessionStorage.clear()")  # as another tab
        await tab.go(f"{shown.url}review?again")
        await tab.until(f"{PROGRESS}.includes('22 to label, 2 labelled')")

    in_tab(visit)
    assert sum(shown.counts().values()) == 2


@needs_browser
def test_answers_of_another_device_behind_the_same_proxy_are_left_alone(
    shown: Shown,
) -> None:
    theirs = "'review-pending-/cam2/review-somebody'"

    async def visit(tab: Any) -> None:
        await tab.go(f"{shown.url}static/style.css")
        await tab.until("document.contentType === 'text/css'")
        await tab.ask(f"localStorage.setItem({theirs}, '[{{}}]')")
        await tab.go(f"{shown.url}review")
        await tab.until(READY)
        await press(tab, "Enter")
        await tab.until(f"{PROGRESS}.includes('1 labelled')")
        assert await tab.ask(f"localStorage.getItem({theirs})") == "[{}]"
        assert await tab.ask("localStorage.length") == 1

    in_tab(visit)


@needs_browser
def test_answers_wait_for_a_run_that_collects_again(shown: Shown) -> None:
    refuse = """
        const real = fetch;
        globalThis.refuses = true;
        globalThis.fetch = (url, options) => refuses && options.method === "POST"
            ? Promise.resolve(new Response("nothing is collected", { status: 404 }))
            : real(url, options);
    """

    async def visit(tab: Any) -> None:
        await tab.go(f"{shown.url}review")
        await tab.until(READY)
        await tab.ask(refuse)
        await press(tab, "Enter")
        text = "document.getElementById('network').innerText"
        await tab.until(f"{text}.includes('not accepted yet: 1 answer waits')")
        await tab.ask("globalThis.refuses = false")
        await tab.until(f"{PROGRESS}.includes('1 labelled')")

    in_tab(visit)
    assert sum(shown.counts().values()) == 1


@needs_browser
def test_crop_is_not_answered_before_its_picture_is_there(shown: Shown) -> None:
    async def visit(tab: Any) -> None:
        await tab.call("Network.setBlockedURLs", urls=["*.jpg"])
        await tab.go(f"{shown.url}review")
        await tab.until("document.querySelectorAll('#labels button').length")
        await tab.until(f"{FIRST}.endsWith('.jpg')")
        for key in ("Enter", "1", "x"):
            await press(tab, key)
        await click(tab, "#labels button")
        await click(tab, "#accept")
        assert await tab.ask("document.getElementById('crop').hidden")
        assert await tab.ask("document.getElementById('undo').disabled")
        await tab.call("Network.setBlockedURLs", urls=[])
        await tab.until(READY)  # asked for again
        assert not await tab.ask("document.getElementById('crop').hidden")
        assert await tab.ask("document.getElementById('empty').hidden")
        await press(tab, "Enter")
        await tab.until(f"{PROGRESS}.includes('1 labelled')")

    in_tab(visit)
    assert sum(shown.counts().values()) == 1


@needs_browser
def test_crop_with_a_damaged_picture_is_passed_over(shown: Shown) -> None:
    first, second = crop_files.crop_names(shown.crops)[:2]
    (shown.crops / f"{first}.jpg").write_bytes(b"damaged")

    async def visit(tab: Any) -> None:
        await tab.go(f"{shown.url}review")
        await tab.until(READY)
        assert await tab.ask(FIRST) == f"api/review/{second}.jpg"
        await press(tab, "Enter")
        await tab.until(f"{PROGRESS}.includes('1 labelled')")

    in_tab(visit)


@needs_browser
def test_enter_means_the_button_that_has_the_focus(
    shown: Shown, labels: tuple[str, ...]
) -> None:
    focused = "document.activeElement.title"

    async def visit(tab: Any) -> None:
        await tab.go(f"{shown.url}review")
        await tab.until(READY)
        await tab.ask("document.querySelector('#labels button:nth-child(3)').focus()")
        for number in (1, 2):
            await press(tab, "Enter", text="\r")
            await tab.until(f"{PROGRESS}.includes('{number} labelled')")
            assert await tab.ask(focused) == labels[2]
        await tab.until(READY)
        await tab.ask("document.getElementById('discard').focus()")
        await press(tab, "Enter", text="\r")
        await tab.until(f"{PROGRESS}.includes('2 labelled, 1 discarded')")

    in_tab(visit)
    assert shown.counts() == Counter({labels[2]: 2, "None": 1})


@needs_browser
def test_reload_is_the_same_person_and_a_duplicated_tab_another(shown: Shown) -> None:
    def people(tab: Any) -> set[str]:
        return {one for one in tab.requested if "/api/review?client=" in one}

    async def visit(tab: Any) -> None:
        await tab.go(f"{shown.url}review")
        await tab.until(READY)
        # A duplicated tab gets a copy of it.
        assert await tab.ask("sessionStorage.length") == 0
        await tab.ask("globalThis.before = true")
        await tab.call("Page.reload")
        await tab.until(f"!globalThis.before && {READY}")
        assert await tab.ask("sessionStorage.length") == 0
        assert len(people(tab)) == 1

    in_tab(visit)


@needs_browser
def test_two_people_label_each_crop_once(shown: Shown) -> None:
    async def label_all(tab: Any, key: str) -> None:
        await tab.go(f"{shown.url}review")
        await tab.until(READY)
        for _ in range(3 * COUNT):
            if await tab.ask(f"{PROGRESS}.startsWith('0 to label')"):
                return
            if await tab.ask(READY):
                await press(tab, key)
            await asyncio.sleep(0.15)

    async def both() -> None:
        async with browser.open_tab() as one, browser.open_tab() as two:
            await asyncio.gather(label_all(one, "1"), label_all(two, "2"))
            notes = [
                await tab.ask("document.getElementById('note').textContent")
                for tab in (one, two)
            ]
            assert not any("somebody else" in note for note in notes), notes

    asyncio.run(both())
    until(lambda: sum(shown.counts().values()) == COUNT)
    keys = [review["key"] for review in shown.reviews().values()]
    assert len(set(keys)) == COUNT
    assert len(shown.counts()) == 2  # both took part


@needs_browser
def test_phone_needs_no_sideways_scroll_and_labels_with_touch(
    shown: Shown, labels: tuple[str, ...], tmp_path: Path
) -> None:
    async def visit(tab: Any) -> None:
        await tab.size(360, 740, phone=True)
        await tab.go(f"{shown.url}review")
        await tab.until(READY)
        assert await tab.ask("document.documentElement.scrollWidth") <= 360
        small = await tab.ask(
            "[...document.querySelectorAll('.answer button')].filter((one) =>"
            " one.getBoundingClientRect().height < 44).length"
        )
        assert small == 0  # of a finger's size
        await click(tab, "#labels button:nth-child(2)")
        await click(tab, "#discard")
        await click(tab, "#undo")
        await tab.until(f"{PROGRESS}.includes('23 to label, 1 labelled, 0 disc')")
        await tab.screenshot(tmp_path / "phone.png")
        assert tab.complaints == []

    in_tab(visit)
    assert shown.counts() == Counter({labels[1]: 1})


@needs_browser
def test_page_says_that_crops_are_collected_and_leads_to_them(shown: Shown) -> None:
    async def visit(tab: Any) -> None:
        await tab.go(shown.url)
        await tab.until("!document.getElementById('review').hidden")
        kept = await tab.ask("document.getElementById('kept').textContent")
        assert kept == "collecting crops"
        await click(tab, "#review")
        await tab.until(READY)

    in_tab(visit)


# --- without a browser -------------------------------------------------------------


def post(shown: Served, answer: Any, headers: dict[str, str] = JSON) -> int:
    body = answer if isinstance(answer, str) else json.dumps(answer)
    return shown.send("POST", "/api/review", headers=headers, body=body)[0]


def first_of(shown: Served, **headers: str) -> str:
    status, body = shown.get("/api/review?client=somebody", **headers)
    assert status == 200
    name: str = json.loads(body)["crops"][0]["name"]
    return name


def test_answers_that_make_no_sense_are_refused(shown: Shown) -> None:
    name = first_of(shown)
    good = {"name": name, "label": None, "key": "key-key-1", "client": "somebody"}
    assert post(shown, good, {"Content-Type": "text/plain"}) == 415
    assert post(shown, good, {}) == 415
    for bad, status in (
        ("{", 400),
        ("[1]", 400),
        ("[" * 2000, 400),
        (good | {"key": "x"}, 400),
        (good | {"label": 7}, 400),
        (good | {"label": "no such label"}, 400),
        (good | {"name": "../../etc/passwd"}, 410),
        (good | {"name": 3}, 410),
    ):
        assert post(shown, bad) == status, bad
    assert not shown.counts()
    assert post(shown, good) == 200
    assert post(shown, good | {"key": "key-key-2"}) == 409
    for path in ("..%2f..%2fetc%2fpasswd", "x", name + "x"):
        assert shown.get(f"/api/review/{path}.jpg")[0] == 410


def test_token_guards_crops_and_labels(
    tmp_path: Path, tiny_model_path: Path, labels: tuple[str, ...]
) -> None:
    (tmp_path / "token.txt").write_text(f"{TOKEN}\n")
    token = ("--token-file", str(tmp_path / "token.txt"))
    with ExitStack() as stack:
        shown = collecting(stack, tmp_path, tiny_model_path, labels, *token, count=2)
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        name = first_of(shown, **bearer)
        status, body = shown.get(f"/api/review/{name}.jpg", **bearer)
        assert (status, body[:2]) == (200, b"\xff\xd8")
        _, _, headers = shown.send("GET", f"/api/review/{name}.jpg", headers=bearer)
        assert headers["Cache-Control"] == "no-store"  # not in a browser's folder
        assert shown.get(f"/api/review/{name}.jpg")[0] == 401
        assert shown.get("/api/review?client=somebody")[0] == 401
        answer = {"name": name, "label": None, "key": "key-key-1", "client": "somebody"}
        assert post(shown, answer) == 401
        status, _, headers = shown.send("GET", "/review", headers={})
        assert (status, headers["Location"]) == (303, "login")
        assert not shown.counts()


def test_without_collect_there_is_nothing_to_label(
    tmp_path: Path, tiny_model_path: Path
) -> None:
    with serving(tmp_path, tiny_model_path) as served:
        status, body = served.get("/api/review?client=somebody")
        assert status == 404
        assert b"--collect DIR" in body
