"""Takes the screenshots of the console that the documentation shows, and those to look at.

    python tools/console_screenshots.py http://127.0.0.1:8170/#token=... demo/out/console

Needs a running console whose node is active (``make console``), chromium and playwright. Into the
folder go every panel in both looks and two widths; with ``--docs`` also the two images of the
README, to docs/images.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync")
PANELS = ("Objects", "Classes", "Health", "Plots", "Parameters", "Data")
SIZES = {"wide": (1440, 900), "narrow": (390, 844)}
DOCS_SIZE = (1200, 750)
PATIENCE = 90.0  # seconds
PEOPLE = 2  # that are clicked


def wait_until(page: Any, expression: str) -> None:
    """Waits until a JavaScript expression is true; raises TimeoutError."""
    end = time.monotonic() + PATIENCE
    while not page.evaluate(expression):
        if time.monotonic() > end:
            raise TimeoutError(f"did not become true in {PATIENCE:.0f} s: {expression}")
        time.sleep(0.1)


def click_person(page: Any, number: int) -> None:
    """Clicks the person that is seen best, or the next, a little below its top."""
    place = page.evaluate(
        f"""(() => {{
            const {{ view, state }} = window.rmpsamConsole;
            const people = [...state.frame.segments.values()].filter(
                (one) => one.name === "person" && one.box[3] > 40);
            people.sort((a, b) => b.score - a.score);
            if (people.length <= {number}) return null;
            const [x, y] = state.frame.tops.get(people[{number}].id);
            const [left, top] = view.toCanvas(x, y + 18);
            const bounds = view.canvas.getBoundingClientRect();
            const ratio = view.canvas.width / bounds.width;
            return [bounds.left + left / ratio, bounds.top + top / ratio];
        }})()"""
    )
    if place is None:
        return
    page.mouse.click(*place)
    wait_until(page, "!document.getElementById('waiting').hidden")
    wait_until(page, "document.getElementById('waiting').hidden")


def shoot(browser: Any, url: str, out: Path, look: str, size: str) -> None:
    """Takes every panel in one look and size."""
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=look)
    page.goto(url)
    wait_until(page, "window.rmpsamConsole?.state.frame?.ids")
    if size == "wide" and look == "dark":
        for number in range(PEOPLE):
            click_person(page, number)
    time.sleep(4.0)  # plots need some seconds
    for panel in PANELS:
        page.click(f"[role=tab]:has-text('{panel}')")
        time.sleep(1.5)
        page.screenshot(path=out / f"{size}_{look}_{panel.lower()}.png", full_page=size != "wide")
    page.close()


def main() -> int:
    """Takes all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="the address that the console printed")
    parser.add_argument("out", type=Path)
    parser.add_argument("--docs", action="store_true", help="also write docs/images")
    options = parser.parse_args()
    import cv2
    from playwright.sync_api import sync_playwright

    options.out.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        for look in ("dark", "light"):
            for size in SIZES:
                shoot(browser, options.url, options.out, look, size)
        browser.close()
    if options.docs:
        for name, source in (("objects", "wide_dark_objects"), ("health", "wide_light_health")):
            image = cv2.imread(str(options.out / f"{source}.png"))
            assert image is not None
            small = cv2.resize(image, DOCS_SIZE, interpolation=cv2.INTER_AREA)
            target = ROOT / "docs" / "images" / f"console_{name}.jpg"
            cv2.imwrite(str(target), small, [cv2.IMWRITE_JPEG_QUALITY, 85])
    print(f"wrote {len(list(options.out.glob('*.png')))} images to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
