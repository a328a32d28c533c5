"""A real browser on a real console: what the panels show and change."""

import json

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


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
