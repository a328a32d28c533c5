"""A real browser on a real console beside the real node: the frame, hands and keys."""

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from .conftest import PROMPTS, STAMP


def test_the_page_shows_frames_tracks_and_no_token(page):
    page.frames(10)
    assert page.evaluate("location.hash") == ""
    assert page.text_content("#node_state") == "active"
    assert page.text_content("#size") == "320 \u00d7 240"
    segments = page.evaluate("[...window.rmpsamConsole.state.frame.segments.values()]")
    assert {one["name"] for one in segments} >= {"person"}
    page.until("document.querySelectorAll('#tracks tbody tr').length > 0", "a track")
    assert page.evaluate("window.rmpsamConsole.connection.roundTrip") < 5000


def test_the_image_is_drawn_with_its_masks(page):
    """Pixels of the canvas: camera image where there is no segment, tinted where there is."""
    page.click("#hold")
    read = """(place) => {
        const view = window.rmpsamConsole.view;
        view.draw();
        const [x, y] = view.toCanvas(...place);
        return [...view.context.getImageData(x, y, 1, 1).data];
    }"""
    corner, middle = [[300, 239], [2, 2]]
    with_layer = [page.evaluate(read, place) for place in (corner, middle)]
    page.click("[data-layer=panoptic]")
    page.click("[data-layer=tracks]")
    without = [page.evaluate(read, place) for place in (corner, middle)]
    assert page.evaluate("window.rmpsamConsole.state.frame.ids[239 * 320 + 300]") == 0
    assert with_layer[0] == without[0]
    assert with_layer[1] != without[1]
    page.click("[data-layer=panoptic]")
    page.click("[data-layer=tracks]")


def test_a_click_is_answered_on_the_frame_that_was_clicked(page):
    """The answer takes as long as several frames; its mask is that of the frame that was seen."""
    before = page.evaluate(STAMP)
    x, y = page.place(5, 3)
    page.mouse.move(x, y)
    page.mouse.down()
    clicked = page.evaluate(STAMP)
    assert int(clicked) >= int(before)
    page.frames(3)  # the button is let go later: still the frame that was seen is meant
    page.mouse.up()
    page.until("window.rmpsamConsole.state.points.size === 1", "an answer")
    ((_, given),) = page.evaluate("[...window.rmpsamConsole.state.points]")
    asked = int(given["stamp"])
    assert int(clicked) - 200_000_000 <= asked <= int(clicked)
    assert abs(given["points"][0][0] - 5) < 0.6 and abs(given["points"][0][1] - 3) < 0.6
    assert int(page.evaluate(STAMP)) > asked + 300_000_000, "newer frames passed meanwhile"
    # The node's own answer names the same image.
    answers = "[...window.rmpsamConsole.state.answers.values()]"
    stamps = page.evaluate(f"{answers}.map((one) => one.stamp)")
    assert not stamps or stamps == [given["stamp"]]
    page.until(f"document.querySelector('{PROMPTS}')?.dataset.state === 'tracked'", "following")


def test_without_following_the_frame_is_held(page):
    page.click("#follow")
    page.mouse.click(*page.place(5, 3))
    page.until("window.rmpsamConsole.state.answers.size === 1", "an answer")
    (answer,) = page.evaluate(
        "[...window.rmpsamConsole.state.answers.values()].map((one) => ({...one, bits: null}))"
    )
    assert answer["stamp"] == page.evaluate(STAMP)
    assert answer["box"] == [3, 2, 6, 3] and answer["state"] == "single"
    row = page.locator(PROMPTS)
    assert row.get_attribute("data-stamp") == answer["stamp"]
    assert "this frame" in row.text_content()
    # Followed afterwards, from the same clicks.
    row.locator("button.follow").click()
    page.until(f"document.querySelector('{PROMPTS}').dataset.state === 'tracked'", "following")
    page.click("#live")
    page.click("#follow")
    page.frames(3)


def test_a_box_and_refining_and_removing(page):
    # On one frame: in later ones the follower may have lost what the fake engine answers.
    page.keyboard.press("Space")
    page.until("window.rmpsamConsole.state.held", "the held frame")
    start, end = page.place(2, 1), page.place(40, 30)
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=4)
    page.mouse.up()
    page.until("window.rmpsamConsole.state.points.size === 1", "an answer")
    ((first, given),) = page.evaluate("[...window.rmpsamConsole.state.points]")
    assert len(given["boxes"]) == 1 and not given["points"]
    assert [round(value) for value in given["boxes"][0]] == [2, 1, 40, 30]
    # Background of the same object.
    page.keyboard.down("Shift")
    page.mouse.click(*page.place(30, 20))
    page.keyboard.up("Shift")
    page.until(
        "[...window.rmpsamConsole.state.points.values()][0].points.some((one) => one[2] === 0)",
        "the background click",
    )
    assert page.locator(PROMPTS).count() == 1
    assert page.locator(PROMPTS).get_attribute("data-key") == first
    page.keyboard.press("Delete")
    page.keyboard.press("Space")
    page.frames(10)  # one that was on its way may still show it
    page.until("document.querySelectorAll('#prompts tbody tr').length === 0", "removal")


def test_a_background_click_alone_is_refused_here(page):
    page.keyboard.down("Shift")
    page.mouse.click(*page.place(30, 20))
    page.keyboard.up("Shift")
    page.until("document.querySelector('.notice.error') !== null", "a reason")
    assert "select one first" in page.text_content(".notice.error")


def test_names_reach_other_browsers(page, open_page):
    page.mouse.click(*page.place(5, 3))
    page.until(f"document.querySelector('{PROMPTS}')", "an object")
    page.fill(f"{PROMPTS} input.name", "the red cup")
    page.keyboard.press("Enter")
    other = open_page()
    other.until(f"document.querySelector('{PROMPTS} input.name')?.value === 'the red cup'", "name")
    page.fill(f"{PROMPTS} input.name", "")
    page.keyboard.press("Enter")


def test_keyboard_alone_is_enough(page):
    page.focus("#canvas")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("window.rmpsamConsole.view.cross") == [155, 115]
    page.keyboard.press("Enter")
    page.until("window.rmpsamConsole.state.points.size === 1", "an answer")
    ((_, given),) = page.evaluate("[...window.rmpsamConsole.state.points]")
    assert given["points"] == [[155, 115, 1]]
    page.keyboard.press(" ")
    page.until("window.rmpsamConsole.state.held", "holding")
    page.keyboard.press(" ")
    page.keyboard.press("Delete")
    page.until("document.querySelectorAll('#prompts tbody tr').length === 0", "removal")


EVERYTHING = "window.rmpsamConsole.state.everything"
DONE = "document.getElementById('progress').hidden"
# Notes what is told and drawn meanwhile; with `cancel`, presses the button at the first masks.
WATCH = """(cancel) => {
    window.seen = [];
    new MutationObserver(() => {
        const bar = document.querySelector("#progress progress");
        const masks = window.rmpsamConsole.state.everything?.masks.length || 0;
        if (document.getElementById("progress").hidden) return;
        window.seen.push([bar.hasAttribute("value") ? bar.value : null, bar.max, masks]);
        if (cancel && masks) {
            cancel = false;
            document.getElementById("cancel").click();
        }
    }).observe(document.getElementById("progress_text"), {childList: true, subtree: true});
}"""


def test_everything_and_its_masks(page):
    page.evaluate(WATCH, False)
    page.keyboard.press("e")
    page.until(f"{EVERYTHING} !== null && {DONE}", "masks of everything")
    found = page.evaluate(
        f"({{stamp: {EVERYTHING}.stamp, boxes: {EVERYTHING}.masks.map((one) => one.box)}})"
    )
    assert found["stamp"] == page.evaluate(STAMP)
    assert len(found["boxes"]) == 80 and [16, 32, 12, 12] in found["boxes"]
    # Drawn as they come, and the bar tells the truth.
    seen = page.evaluate("window.seen")
    assert seen[0] == [None, 1, 0], "nothing is known at first"
    told = [tuple(one) for one in seen if one[0] is not None]
    assert {one[1] for one in told} == {80} and all(one[0] == one[2] for one in told)
    assert len(set(told)) > 5 and told == sorted(told)
    page.keyboard.press(" ")
    page.frames(2)


def test_cancelling_everything_frees_the_node_and_keeps_what_was_found(page):
    page.evaluate(WATCH, True)
    page.keyboard.press("e")
    page.until(f"{EVERYTHING}?.masks.length > 0 && {DONE}", "the end")
    assert 4 <= page.evaluate(f"{EVERYTHING}.masks.length") < 80
    assert "Cancelled" in page.text_content("#notices")
    # At once again: the node is not busy with what nobody waits for.
    page.keyboard.press("e")
    page.until(f"{EVERYTHING}?.masks.length === 80 && {DONE}", "all masks")
    page.keyboard.press(" ")
    page.frames(2)


@pytest.mark.parametrize("width", [390, 1280])
def test_everything_can_be_cancelled_at_any_width(open_page, width):
    page = open_page(viewport={"width": width, "height": 844})
    page.until("window.rmpsamConsole?.state.frame", "a frame")
    bar, button, text = page.evaluate(
        """() => {
            document.getElementById("progress").hidden = false;
            const text = document.getElementById("progress_text");
            text.textContent = "188 of 188 prompts, 188 masks, 128.3 s";
            return ["progress", "cancel", "progress_text"].map((name) => {
                const {left, right} = document.getElementById(name).getBoundingClientRect();
                return [left, right];
            });
        }"""
    )
    assert 0 <= bar[0] <= text[0] < text[1] <= button[0] < button[1] <= bar[1] <= width
    assert text[1] - text[0] > 120


def test_zoom_keeps_the_place_under_the_mouse(page):
    x, y = page.place(80, 60)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -600)
    page.until("window.rmpsamConsole.view.zoom > 1.5", "zoom")
    after = page.place(80, 60)
    assert abs(after[0] - x) < 3 and abs(after[1] - y) < 3
    page.keyboard.press("0")
    assert page.evaluate("window.rmpsamConsole.view.zoom") == 1


def test_touch(open_page):
    page = open_page(viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True)
    page.until("window.rmpsamConsole?.state.frame?.ids", "a frame")
    page.touchscreen.tap(*page.place(60, 40))
    page.until("window.rmpsamConsole.state.points.size === 1", "an answer")
    ((_, given),) = page.evaluate("[...window.rmpsamConsole.state.points]")
    assert abs(given["points"][0][0] - 60) < 2
    # Nothing sticks out sideways.
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.evaluate("window.rmpsamConsole.connection.ask('clear')")


@pytest.mark.parametrize("look", ["dark", "light"])
def test_everything_is_reachable_at_any_width(open_page, look):
    page = open_page(viewport={"width": 390, "height": 900}, color_scheme=look)
    page.until("window.rmpsamConsole?.state.frame", "a frame")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == look
    for width in (390, 768, 1280, 2560):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), width
        for tab in ("Classes", "Health", "Plots", "Parameters", "Data", "Objects"):
            page.click(f"[role=tab]:has-text('{tab}')")
    unnamed = page.evaluate(
        """[...document.querySelectorAll('button, input, select, canvas')].filter((one) =>
            !one.textContent.trim() && !one.getAttribute('aria-label') && !one.labels?.length
            && !one.title).map((one) => one.outerHTML)"""
    )
    assert not unnamed


# Many, slow, and gone ---------------------------------------------------------------------------
