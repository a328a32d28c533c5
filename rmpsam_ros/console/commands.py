"""Requests of a browser; any that is not in the table is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from rmpsam_ros.console.checks import MAX_ID, MAX_NAME, Invalid, Request
from rmpsam_ros.console.console import Console
from rmpsam_ros.console.dataset import DatasetError
from rmpsam_ros.console.encoding import QUALITIES, SIDES
from rmpsam_ros.console.frame_message import pack_masks
from rmpsam_ros.console.frames import nanoseconds
from rmpsam_ros.console.ros.calls import CallError
from rmpsam_ros.console.ros.lifecycle import TRANSITIONS, change_state
from rmpsam_ros.console.ros.prompts import CODES, Prompt
from rmpsam_ros.console.session import Session
from rmpsam_ros.console.wire import finish
from rmpsam_ros.node.input.images import ImageError

MAX_ANSWERS = 32  # of a browser that are remembered with their images
Command = Callable[[Session, Request], Awaitable["dict[str, Any] | Masks"]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A mask that a browser's prompt got, and the image that it belongs to."""

    camera: str
    stamp: int
    image: Any
    mask: Any


@dataclass(frozen=True, slots=True)
class Masks:
    """A reply with masks."""

    header: dict[str, Any]
    masks: list[Any]


def welcome(console: Console) -> dict[str, Any]:
    """Return the first message to a browser."""
    return {
        "type": "welcome",
        "node": console.settings.node,
        "read_only": console.settings.read_only,
        "transitions": TRANSITIONS,
        "qualities": list(QUALITIES),
        "sides": SIDES,
    }


async def work_on(session: Session, request: Request, number: int) -> None:
    """Do what a browser asks for and reply, whatever happens."""
    try:
        command = COMMANDS.get(request.type)
        if command is None:
            raise Invalid(f"there is no request {request.type!r}")
        if session.console.settings.read_only and request.type not in READING:
            raise Invalid("this console only shows: it was started with read_only")
        result = await command(session, request)
    except (Invalid, CallError, DatasetError, ImageError, ValueError) as error:
        session.refuse(number, str(error))
    except asyncio.CancelledError:
        session.refuse(number, "cancelled")
        raise
    except Exception as error:
        session.console.node.get_logger().error(
            f"{request.type} failed: {type(error).__name__}: {error}"
        )
        session.refuse(number, f"{type(error).__name__} in the console; its log has more")
    else:
        head = {"type": "reply", "id": number, "ok": True}
        if isinstance(result, Masks):
            session.reply(finish(pack_masks({**head, **result.header}, result.masks)))
        else:
            session.reply({**head, **result})


# Prompts ----------------------------------------------------------------------------------------


def _camera(session: Session) -> str:
    if session.camera is None:
        raise Invalid("no camera is looked at")
    return session.camera


def _check(answer: Any) -> None:
    if answer.code:
        raise Invalid(f"{CODES.get(answer.code, answer.code)}: {answer.message}")


async def _prompt(session: Session, request: Request) -> Masks:
    """Ask for the mask of clicks and boxes on exactly the image of a stamp."""
    camera, console = _camera(session), session.console
    prompt = Prompt(
        request.stamp(),
        request.text("object_id", MAX_ID),
        request.points(),
        request.boxes(),
        request.flag("track"),
    )
    image = console.node.feeds[camera].store.image(prompt.stamp)
    known = session.answers.get(prompt.object_id)
    if image is None and known is not None and known.stamp == prompt.stamp:
        image = known.image
    answer = await console.prompts.add(camera, prompt)
    _check(answer)
    stamp = nanoseconds(answer.header.stamp)
    session.answers.pop(answer.object_id, None)
    session.answers[answer.object_id] = Answer(camera, stamp, image, answer.mask)
    while len(session.answers) > MAX_ANSWERS:
        del session.answers[next(iter(session.answers))]
    return Masks({"object_id": answer.object_id, "stamp": str(stamp)}, [answer.mask])


async def _remove(session: Session, request: Request) -> dict[str, Any]:
    object_id = request.text("object_id", MAX_ID)
    _check(await session.console.prompts.remove(_camera(session), object_id))
    session.answers.pop(object_id, None)
    return {}


async def _clear(session: Session, request: Request) -> dict[str, Any]:
    answer = await session.console.prompts.clear(_camera(session))
    _check(answer)
    session.answers.clear()
    return {"removed": answer.removed}


async def _list(session: Session, request: Request) -> Masks:
    answer = await session.console.prompts.list(_camera(session))
    _check(answer)
    return Masks({}, answer.masks)


async def _rename(session: Session, request: Request) -> dict[str, Any]:
    name = request.text("name", MAX_NAME).strip()
    session.console.rename(request.text("object_id", MAX_ID), name)
    for other in session.console.sessions:
        other.status_due()
    return {}


async def _everything(session: Session, request: Request) -> Masks:
    """Ask for masks of everything, and pass them on as they are found."""

    def tell(feedback: Any) -> None:
        header = {
            "type": "progress",
            "id": request["id"],
            "stamp": str(nanoseconds(feedback.header.stamp)),
            "done": feedback.done,
            "total": feedback.total,
        }
        session.tell(finish(pack_masks(header, feedback.masks)))

    answer = await session.console.prompts.everything(
        _camera(session), request.stamp(), request.integer("points_per_side", 0, 64), tell
    )
    _check(answer)
    header = {"stamp": str(nanoseconds(answer.header.stamp)), "message": answer.message}
    return Masks(header, answer.masks)


# The node ---------------------------------------------------------------------------------------


async def _parameters(session: Session, request: Request) -> dict[str, Any]:
    return {"parameters": await session.console.parameters.read()}


async def _set_parameter(session: Session, request: Request) -> dict[str, Any]:
    name = request.text("name", 200)
    reason = await session.console.parameters.change(name, request["value"])
    if reason:
        raise Invalid(reason)
    return {"parameters": await session.console.parameters.read()}


async def _transition(session: Session, request: Request) -> dict[str, Any]:
    reason = await change_state(session.console.node.calls, request.text("transition", 40))
    if reason:
        raise Invalid(reason)
    return {}


# Data set ---------------------------------------------------------------------------------------


async def _collect(session: Session, request: Request) -> dict[str, Any]:
    """Put the image of a stamp with the masks of its prompted objects into the data set."""
    camera, stamp, console = _camera(session), request.stamp(), session.console
    store = console.node.feeds[camera].store
    answers = {
        object_id: answer
        for object_id, answer in session.answers.items()
        if (answer.camera, answer.stamp) == (camera, stamp)
    }
    masks = {mask.object_id: mask for mask in store.prompted_at(stamp)}
    masks |= {object_id: answer.mask for object_id, answer in answers.items()}
    image = store.image(stamp) or next(
        (answer.image for answer in answers.values() if answer.image is not None), None
    )
    if image is None:
        raise Invalid("this image is not kept any more; hold a newer one and mark it")
    loop = asyncio.get_running_loop()
    added = await loop.run_in_executor(
        console.workers,
        console.dataset.add,
        stamp,
        image,
        list(masks.values()),
        console.names,
        console.node.mono16_white,
    )
    return {"objects": added, "dataset": console.dataset.summary()}


async def _record(session: Session, request: Request) -> dict[str, Any]:
    console = session.console
    if request.flag("on"):
        console.dataset.begin_video()
        console.recording = _camera(session)
    else:
        console.recording = None
    for other in console.sessions:
        other.status_due()
    return {}


async def _discard(session: Session, request: Request) -> dict[str, Any]:
    session.console.recording = None
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(session.console.workers, session.console.dataset.clear)
    return {"dataset": session.console.dataset.summary()}


READING = {"parameters", "list"}
COMMANDS: dict[str, Command] = {
    "prompt": _prompt,
    "remove": _remove,
    "clear": _clear,
    "list": _list,
    "rename": _rename,
    "everything": _everything,
    "parameters": _parameters,
    "set_parameter": _set_parameter,
    "transition": _transition,
    "collect": _collect,
    "record": _record,
    "discard": _discard,
}
