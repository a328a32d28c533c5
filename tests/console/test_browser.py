"""A real browser on a real console beside the real node; only the network is not there."""

import json
import signal
import time

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

STAMP = "document.getElementById('stamp').dataset.stamp"
PROMPTS = "#prompts tbody tr"


class World:
    """Node, camera and console as processes."""

    def __init__(self, launch, footage, **console):
        self._launch, self._footage = launch, footage
        self.start_node()
        # Twenty frames a second: many pass while a click is answered.
        camera = {"source": footage, "rate": 20.0, "loop": True}
        self.camera = launch("camera_source", camera)
        self.start_console(**console)

    def start_node(self):
        self.node = self._launch("fake_node")

    def start_console(self, **parameters):
        self.console = self._launch("rmpsam_console", {"port": 0, **parameters})
        return self.console.url

    def end(self):
        for program in (self.console, self.camera, self.node):
            program.kill()


@pytest.fixture(scope="module")
def world(launch, footage):
    world = World(launch, footage)
    yield world
    log = world.console.log
    world.end()
    assert "Traceback" not in log


class Page:
    """A page of the console; what goes wrong in it fails its test."""

    def __init__(self, browser, url, wait_for, **options):
        self._wait_for = wait_for
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.errors = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console",
            lambda message: message.type == "error" and self.errors.append(message.text),
        )
        self.page.goto(url)

    def __getattr__(self, name):
        return getattr(self.page, name)

    def until(self, expression, what=""):
        """Wait until an expression is true in the page."""
        return self._wait_for(lambda: self.page.evaluate(expression), what or expression)

    def frames(self, count=1):
        """Wait for new frames."""
        number = "Number(document.getElementById('stamp').dataset.number || 0)"
        before = self.page.evaluate(number)
        self.until(f"{number} >= {before} + {count}", "frames")

    def place(self, x, y):
        """Where image pixel (x, y) is in the window."""
        return self.page.evaluate(
            f"""(() => {{
                const view = window.rmpsamConsole.view;
                const [left, top] = view.toCanvas({x}, {y});
                const bounds = view.canvas.getBoundingClientRect();
                const ratio = view.canvas.width / bounds.width;
                return [bounds.left + left / ratio, bounds.top + top / ratio];
            }})()"""
        )

    def close(self):
        self.context.close()
        assert not self.errors


@pytest.fixture
def open_page(chromium, world, wait_for):
    """Open pages; all prompts are gone before and after."""
    pages = []

    def start(url=None, **options):
        page = Page(chromium, url or world.console.url, wait_for, **options)
        pages.append(page)
        return page

    yield start
    for page in pages:
        page.close()


@pytest.fixture
def page(open_page):
    page = open_page(viewport={"width": 1400, "height": 800})
    page.until("window.rmpsamConsole?.state.frame?.ids", "a frame with masks")
    page.evaluate("window.rmpsamConsole.connection.ask('clear').catch(() => {})")
    page.until("document.querySelectorAll('#prompts tbody tr').length === 0", "no prompts")
    return page


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


def test_everything_and_its_masks(page):
    page.keyboard.press("e")
    page.until("window.rmpsamConsole.state.everything !== null", "masks of everything")
    found = page.evaluate(
        "({stamp: window.rmpsamConsole.state.everything.stamp, "
        "boxes: window.rmpsamConsole.state.everything.masks.map((one) => one.box)})"
    )
    assert found["stamp"] == page.evaluate(STAMP)
    assert [10, 10, 20, 10] in found["boxes"]
    page.keyboard.press(" ")
    page.frames(2)


def test_parameters_accepted_and_refused(page):
    page.click("[role=tab]:has-text('Parameters')")
    page.until("document.querySelectorAll('.parameter').length > 20", "parameters")
    change(page, "score_threshold", "0.65")
    page.until("document.querySelector('[data-name=score_threshold].accepted')", "acceptance")
    assert page.input_value("#parameter_score_threshold") == "0.65"
    change(page, "score_threshold", "7")
    reason = refused(page, "score_threshold")
    assert "0" in reason and "1" in reason
    shown_again(page, "score_threshold", "0.65")
    change(page, "long_side", "320")
    assert "while the node is unconfigured" in refused(page, "long_side")
    shown_again(page, "long_side", "640")
    assert page.is_disabled("#parameter_cameras")
    change(page, "classes", "no such class")
    assert "no such class" in refused(page, "classes")
    page.fill("#parameter_search", "threshold")
    shown = page.evaluate(
        "[...document.querySelectorAll('.parameter')].filter((one) => !one.hidden).length"
    )
    assert 1 < shown < 10


def change(page, name, value):
    page.fill(f"#parameter_{name}", value)
    page.press(f"#parameter_{name}", "Enter")


def shown_again(page, name, value):
    page.until(f"document.getElementById('parameter_{name}').value === '{value}'", "its value")


def refused(page, name):
    page.until(f"document.querySelector('[data-name={name}].refused .reason')?.textContent", name)
    return page.text_content(f"[data-name={name}] .reason")


def test_health_and_lifecycle(page):
    page.click("[role=tab]:has-text('Health')")
    page.until("document.querySelectorAll('.part').length >= 4", "diagnostics")
    assert "images per second" in page.text_content(".part:has-text('processing')")
    page.click("#transitions button:has-text('deactivate')")
    page.until("document.getElementById('node_state').textContent === 'inactive'", "inactive")
    page.until("!document.getElementById('late').hidden", "word that there are no results")
    assert "No results" in page.text_content("#late")
    page.frames(2)  # the camera is shown all the same
    page.click("#transitions button:has-text('activate')")
    page.until("document.getElementById('node_state').textContent === 'active'", "active")
    page.until("window.rmpsamConsole.state.frame?.ids", "masks again")


def test_plots_and_classes_have_something_to_show(page):
    page.click("[role=tab]:has-text('Plots')")
    page.until("document.getElementById('stage_total').textContent !== '\u2013'", "latencies")
    page.until("document.getElementById('rate_processed').textContent !== '\u2013'", "rates")
    page.click("[role=tab]:has-text('Classes')")
    page.until("document.querySelectorAll('.class').length >= 2", "classes")
    page.click(".class:has-text('person')")
    assert page.evaluate("window.rmpsamConsole.state.hidden") == ["person"]
    page.click("#show_all")


def test_frames_are_collected_recorded_and_downloaded(page, tmp_path):
    import zipfile

    page.click("#follow")
    page.mouse.click(*page.place(5, 3))
    page.until("window.rmpsamConsole.state.answers.size === 1", "an answer")
    page.click("#collect")
    page.click("[role=tab]:has-text('Data')")
    page.until("document.getElementById('data_frames').textContent === '1'", "a frame")
    page.click("#follow")
    page.click("#live")
    page.mouse.click(*page.place(5, 3))
    page.click("#record")
    page.until("Number(document.getElementById('data_frames').textContent) >= 4", "a recording")
    page.click("#record")
    page.until("document.getElementById('recording_mark').hidden", "the end of the recording")
    with page.expect_download() as download:
        page.click("#download")
    target = tmp_path / "dataset.zip"
    download.value.save_as(target)
    with zipfile.ZipFile(target) as file:
        instances = json.loads(file.read("dataset/instances.json"))
        videos = json.loads(file.read("dataset/videos.json"))
    assert len(instances["images"]) >= 4 and len(videos["videos"]) == 1
    assert {one["segmentation"]["size"][0] for one in instances["annotations"]} == {240}
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("#discard")
    page.until("document.getElementById('data_frames').textContent === '0'", "emptiness")


def test_a_still_is_saved_at_the_size_of_the_image(page, tmp_path):
    import cv2

    with page.expect_download() as download:
        page.keyboard.press("s")
    target = tmp_path / "still.png"
    download.value.save_as(target)
    assert cv2.imread(str(target)).shape == (240, 320, 3)


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
