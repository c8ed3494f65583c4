"""The paths of ``/review``: crops to label, and the answers of people."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

from aiohttp import web

from edge_runtime.outputs.collection.review import AlreadyReviewedError, Review

Result = TypeVar("Result")

MAX_CROPS = 12  # of a request: what a page shows without waiting for the network
BODY_TIMEOUT_S = 5.0
# What a page makes up: its own name, and one for each answer.
_WORD = re.compile(r"[0-9a-zA-Z-]{8,64}")


class ReviewRoutes:
    """The handlers of ``/api/review``; there are none where nothing is collected."""

    def __init__(self, review: Review | None) -> None:
        """Takes the crops and their answers."""
        self._review = review

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Adds the paths to those of the page."""
        router.add_get("/api/review", self._next)
        router.add_post("/api/review", self._answer)
        router.add_get("/api/review/{name}.jpg", self._image, allow_head=False)

    async def _next(self, request: web.Request) -> web.Response:
        review = self._required()
        client = _word(request.query.get("client"))
        crops = await _call(lambda: review.next(client, MAX_CROPS))
        return await _document(review, crops=crops)

    async def _image(self, request: web.Request) -> web.Response:
        review, name = self._required(), request.match_info["name"]
        jpeg = await _call(lambda: review.folder.jpeg(name))
        return web.Response(body=jpeg, content_type="image/jpeg")

    async def _answer(self, request: web.Request) -> web.Response:
        """Notes an answer, or takes it back: of the one who asks, or nobody."""
        review = self._required()
        # Another site can make a browser send a form to this machine, but not JSON.
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="expected application/json\n")
        answer = await _read(request)
        name, key = str(answer.get("name")), _word(answer.get("key"))
        client, label = _word(answer.get("client")), answer.get("label")
        if answer.get("undo"):
            await _call(lambda: review.undo(name, key, client))
        elif label is None or isinstance(label, str):
            await _call(lambda: review.answer(name, label, key))
        else:
            raise web.HTTPBadRequest(text="expected a label, or null\n")
        return await _document(review)

    def _required(self) -> Review:
        if self._review is None:
            raise web.HTTPNotFound(
                text="nothing is collected: start the run with --collect DIR\n"
            )
        return self._review


async def _document(review: Review, **more: Any) -> web.Response:
    progress = await _call(review.progress)
    document = {**progress, "labels": list(review.labels()), **more}
    return web.Response(text=json.dumps(document), content_type="application/json")


async def _read(request: web.Request) -> dict[str, Any]:
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            answer = json.loads(await request.read())
    except (TimeoutError, ValueError, RecursionError, web.RequestPayloadError) as error:
        raise web.HTTPBadRequest(text="expected a JSON object\n") from error
    if not isinstance(answer, dict):
        raise web.HTTPBadRequest(text="expected a JSON object\n")
    return answer


async def _call(function: Callable[[], Result]) -> Result:
    """Returns what a function returns that reads or writes files, in a thread."""
    try:
        return await asyncio.to_thread(function)
    except AlreadyReviewedError as error:
        raise web.HTTPConflict(text="somebody else has labelled it\n") from error
    except KeyError as error:
        raise web.HTTPGone(text="it is not there any more\n") from error
    except FileNotFoundError as error:
        raise web.HTTPGone(text="it is not there any more\n") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise web.HTTPServiceUnavailable(text=f"{reason}\n") from error
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from error


def _word(value: Any) -> str:
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise web.HTTPBadRequest(text="expected client and key: 8 to 64 letters\n")
    return value
