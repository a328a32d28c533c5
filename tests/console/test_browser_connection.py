"""A real browser on a real console: slow ones, none, and programs that end and come back."""

import signal
import time

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from .conftest import PROMPTS, STAMP, Page


def test_a_browser_that_does_not_read_slows_nobody(page, open_page):
    other = open_page()
    other.until("window.rmpsamConsole?.state.frame", "a frame")
    # It acknowledges nothing any more: as one whose network stands still.
    other.evaluate("window.rmpsamConsole.connection.send = () => {}")
    number = "Number(document.getElementById('stamp').dataset.number)"
    page.frames(5)
    stuck = other.evaluate(number)
    page.frames(30)
    assert other.evaluate(number) <= stuck + 1
    assert page.evaluate(number) > stuck + 20


def test_nothing_is_subscribed_to_while_nobody_looks(world, open_page, wait_for):
    page = open_page()
    page.until("window.rmpsamConsole?.state.frame?.ids", "a frame")
    part = "window.rmpsamConsole.state.status.parts.find((one) => one.name === 'outputs')"
    page.until(f"Number({part}?.values['subscribers of /rmpsam/panoptic']) === 1", "a subscriber")
    page.evaluate(
        """(() => {
            const { connection } = window.rmpsamConsole;
            connection.send({type: "view", camera: null, quality: "low", side: 0, paused: true});
            connection.send = () => {}; // else the page would look again
        })()"""
    )
    page.until(f"Number({part}.values['subscribers of /rmpsam/panoptic']) === 0", "silence")


def test_the_page_comes_back_after_the_node(world, page):
    assert world.node.end(signal.SIGKILL) != 0
    page.until("document.getElementById('node_state').textContent === 'not running'", "absence")
    world.start_node()
    page.until("document.getElementById('node_state').textContent === 'active'", "the node")
    before = page.evaluate(STAMP)
    page.until(
        f"window.rmpsamConsole.state.frame.ids && {STAMP} > '{before}'", "masks of the new node"
    )


def test_the_page_comes_back_after_the_console(launch, world, chromium, wait_for):
    port = 18170 + int(time.time()) % 1000
    console = launch("rmpsam_console", {"port": port, "require_token": False})
    page = Page(chromium, console.url, wait_for)
    page.until("window.rmpsamConsole?.state.frame", "a frame")
    assert console.end() == 0
    page.until("document.getElementById('link').dataset.state === 'lost'", "the loss")
    console = launch("rmpsam_console", {"port": port, "require_token": False})
    console.url  # noqa: B018
    page.until("document.getElementById('link').dataset.state === 'live'", "the connection")
    page.frames(3)
    page.context.close()  # the loss is an error of its log
    assert console.end() == 0


def test_an_old_token_is_asked_for_anew(open_page, world):
    page = open_page(world.console.url[:-5])
    page.until("document.getElementById('entry').open", "the question")
    assert "wrong token" in page.text_content("#entry_reason")
    page.fill("#entry_token", world.console.url)
    page.press("#entry_token", "Enter")
    page.until("window.rmpsamConsole.state.frame", "a frame")
    assert not page.evaluate("document.getElementById('entry').open")


def test_cameras_are_switched(launch, footage, chromium, wait_for):
    remappings = {"image": "front/image"}, {"image": "rear/image"}
    node = launch(
        "fake_node",
        {"cameras": "front,rear"},
        {"__node": "two", "front/image": "/front/image", "rear/image": "/rear/image"},
    )
    cameras = [
        launch("camera_source", {"source": footage, "loop": True, "width": width}, mapping)
        for mapping, width in zip(remappings, (320, 160), strict=True)
    ]
    console = launch("rmpsam_console", {"port": 0, "node": "/two"})
    page = Page(chromium, console.url, wait_for)
    page.until("window.rmpsamConsole?.state.frame?.ids", "a frame")
    assert page.text_content("#size") == "320 \u00d7 240"
    page.click("#cameras button:has-text('rear')")
    page.until(
        "document.getElementById('size').textContent === '160 \u00d7 240'", "the other camera"
    )
    page.mouse.click(*page.place(5, 3))
    page.until("window.rmpsamConsole.state.points.size === 1", "an answer")
    page.click("#cameras button:has-text('front')")
    page.until(
        "document.getElementById('size').textContent === '320 \u00d7 240'", "the first camera"
    )
    assert page.locator(PROMPTS).count() == 0
    page.close()
    for program in (console, *cameras, node):
        program.kill()
