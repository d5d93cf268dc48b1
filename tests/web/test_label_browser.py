"""Labeling in a real browser, where there is a Chromium."""

import csv
import http.server
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from kdfixmatch_web.image_folder import ImageFolder
from kdfixmatch_web.label_store import LabelStore
from kdfixmatch_web.outlook import write_outlook
from kdfixmatch_web.scout import Scout
from kdfixmatch_web.suggestions import write_suggestions
from kdfixmatch_web.trainings import read_run
from kdfixmatch_web.work_folder import WorkFolder
from tests.in_browser import DESK, PHONE, UNNAMED, accessibility_faults, widths
from tests.web.test_trainings import write_run

pytestmark = pytest.mark.browser


class Empty(http.server.BaseHTTPRequestHandler):
    """Answers with an empty page."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()

    def log_message(self, *arguments):
        pass


COLORS = {"red": (200, 60, 60), "green": (60, 200, 60), "blue": (60, 60, 200)}
HOSTILE = "<img src=x onerror=alert(1)>"


def write_images(folder, count):
    """Noisy squares, whose names begin with their colour's."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        name = list(COLORS)[number % 3]
        pixels = rng.normal(0, 25, (8, 8, 3)) + COLORS[name]
        image = Image.fromarray(pixels.clip(0, 255).astype("uint8"))
        image.save(folder / f"{number:03} {name}.png")


def color_of(file):
    return file.removesuffix(".png").split()[1]


@contextmanager
def command(folder, *options):
    """The command as a process, and its first address."""
    typed = (
        *(sys.executable, "-m", "kdfixmatch_cli", "label", "--unlabeled", "photos"),
        *("--labels", "labels.csv", "--no-browser", "--no-suggest", *options),
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(typed, cwd=folder, text=True, **pipes) as process:
        said = ""
        try:
            while (found := re.search(r"^Open (\S+)$", said, re.MULTILINE)) is None:
                line = process.stdout.readline()
                assert line, said
                said += line
            yield found[1], process
        finally:
            process.kill()


@contextmanager
def serving(folder, *options):
    """The address of the command, which then is interrupted, as its user does."""
    with command(folder, *options) as (address, process):
        yield address
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(30) == 0, rest
        assert "token" not in rest and "Traceback" not in rest, rest


@contextmanager
def opened(browser, address, scheme="light", width=DESK):
    """A page that says nothing to the console and asks nobody else."""
    context = browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 800}
    )
    page = context.new_page()
    said, requested = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: requested.append(request.url))
    page.goto(address)
    page.wait_for_selector("body[data-shown]")
    yield page
    # The browser's own words for what the page tells its user.
    assert [words for words in said if "409 (Conflict)" not in words] == []
    here = address.partition("?")[0]
    assert [url for url in requested if not url.startswith(here)] == []
    context.close()


def shown(page):
    return page.evaluate("document.body.dataset.shown")


def press(page, *keys):
    """Presses keys, and waits until another image shows."""
    before = shown(page)
    for key in keys:
        page.keyboard.press(key)
    page.wait_for_function(
        "before => document.body.dataset.shown !== before", arg=before
    )


def labels(folder):
    with open(folder / "labels.csv", newline="") as file:
        return {row["file"]: row["label"] for row in csv.DictReader(file, strict=True)}


def view(page, name):
    page.get_by_role("button", name=name, exact=True).click()


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path / "photos", 60)
    return tmp_path


def test_thirty_images_are_labeled_by_keyboard(folder, browser):
    with serving(folder) as address, opened(browser, address) as page:
        assert page.url == address.partition("?")[0], "the token is gone from it"
        expected = {}
        # New classes by their names, one of which begins another.
        for name in COLORS:
            file = shown(page)
            assert color_of(file) == name
            press(page, *name, "Enter")
            expected[file] = name
            assert labels(folder) == expected
        # The arrow moves the image, as long as it is large.
        file, zooming = shown(page), page.get_by_role("button", name="Zoom")
        for pressed, is_large in (("+", True), ("ArrowRight", True), ("Escape", False)):
            page.keyboard.press(pressed)
            assert zooming.get_attribute("aria-pressed") == str(is_large).lower()
        assert shown(page) == file
        for _ in range(24):
            file = shown(page)
            press(page, str(1 + list(COLORS).index(color_of(file))))
            expected[file] = color_of(file)
            # It was on the disk before the next image showed.
            assert labels(folder) == expected
        file = shown(page)
        press(page, "-")
        assert labels(folder)[file] == "none of these"
        press(page, "Backspace")
        assert shown(page) == file
        assert labels(folder) == expected
        # Who comes back to what was typed sees again what Enter would take.
        page.keyboard.type("gre")
        typed, listed = page.locator("#typed"), page.locator("#choices")
        for key, is_there in (("Tab", False), ("Shift+Tab", True)):
            page.keyboard.press(key)
            assert listed.is_visible() == is_there
            assert typed.get_attribute("aria-expanded") == str(is_there).lower()
        press(page, "Enter")
        press(page, *"dar", "ArrowDown", "Enter")
        skipped = shown(page)
        press(page, "ArrowRight")
        press(page, "3")
        found = labels(folder)
        assert len(found) == 30 and skipped not in found
        assert found[file] == "green"
        assert list(found.values()).count("dar") == 1
        assert page.locator("#count").inner_text() == "30 of 60 labeled"
        # What was skipped, and what was undone before the page was loaded again.
        page.reload()
        page.wait_for_selector("body[data-shown]")
        assert shown(page) == skipped
        press(page, "Backspace")
        assert len(labels(folder)) == 29


def test_what_was_skipped_comes_again_until_it_has_a_label(tmp_path, browser):
    write_images(tmp_path / "photos", 3)
    files = sorted(path.name for path in (tmp_path / "photos").iterdir())
    with serving(tmp_path) as address, opened(browser, address) as page:
        seen = [shown(page)]
        for _ in range(5):
            press(page, "ArrowRight")
            seen.append(shown(page))
        assert sorted(seen[:3]) == sorted(seen[3:]) == files
        press(page, *"red", "Enter")
        press(page, "1")
        last = shown(page)
        page.keyboard.press("ArrowRight")
        page.wait_for_selector("#message:has-text('skipped')")
        page.wait_for_selector("#image")
        assert shown(page) == last
        press(page, "-")
        page.wait_for_selector("#frame:has-text('There is no image left')")
        assert sorted(labels(tmp_path)) == files
        # And what was found to be of no class can be taken back at any time.
        view(page, "Grid")
        page.get_by_label("Images that").select_option("have the label")
        page.get_by_label("Class", exact=True).last.select_option("none of these")
        page.locator("#grid-images").get_by_alt_text(last).locator("..").click()
        page.get_by_role("button", name="Take the label").click()
        page.wait_for_selector("#message:has-text('label taken back')")
        assert last not in labels(tmp_path)


def write_doubts(folder, class_names):
    """Two runs, the last of which doubts all images but the broken one."""
    work = WorkFolder.of(folder / "labels.csv")
    write_run(work.runs / "run-1", accuracy=0.5)
    write_run(work.runs / "run-2", accuracy=0.4)
    images = ImageFolder(folder / "photos")
    store = LabelStore(folder / "labels.csv", images)
    task = Scout(work.looks, images, store)._of_run(read_run(work.runs / "run-2"))
    names = [name for name in images.names if "broken" not in name]
    number = len(names)
    work.looks.mkdir()
    doubt = (f"{HOSTILE}.png", f"doubtful: {HOSTILE} or not", class_names[0], 0.5)
    write_suggestions(task.file.with_suffix(".csv"), [doubt])
    halves, points = np.full((number, 2), 0.5), np.ones((number, 2))
    write_outlook(task.file, names, class_names, halves, points)


@pytest.mark.parametrize("scheme, width", [("light", PHONE), ("dark", DESK)])
def test_hostile_names_are_text_on_a_page_for_everybody(
    tmp_path, browser, scheme, width
):
    write_images(tmp_path / "photos", 6)
    (tmp_path / "photos" / "000 red.png").rename(tmp_path / "photos" / f"{HOSTILE}.png")
    (tmp_path / "photos" / "000 broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    rows = [f"001 green.png,{HOSTILE}", f"002 blue.png,{'long' * 25}"]
    text = "\n".join(["file,label", *rows])
    (tmp_path / "labels.csv").write_text(text)
    write_doubts(tmp_path, [HOSTILE, "long" * 25])
    with (
        serving(tmp_path) as address,
        opened(browser, address, scheme, width) as page,
    ):
        page.wait_for_selector("#guess button")
        page.wait_for_selector("#similar img")
        page.wait_for_selector("#guess:has-text('Suggested as doubtful: <img')")
        while shown(page) != "000 broken.png":
            press(page, "ArrowRight")
        page.wait_for_selector("#frame p:has-text('damaged')")
        for name in ("One by one", "Grid", "Progress", "Keys"):
            view(page, name)
            if name == "Grid":
                page.get_by_label("Images that").select_option("have the label")
                page.locator("#grid-images button").first.click()
            assert accessibility_faults(page) == []
            assert not page.evaluate(UNNAMED)
            scroll, client = widths(page)
            assert scroll <= client, f"{name} is {scroll} wide on a screen of {client}"
            assert page.locator("[onerror], script:not([src])").count() == 0
        view(page, "One by one")
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(255, 255, 255)") == (scheme == "light")
        while shown(page) != f"{HOSTILE}.png":
            press(page, "ArrowRight")
        press(page, "1")
        assert labels(tmp_path)[f"{HOSTILE}.png"] == HOSTILE
        assert HOSTILE in page.locator("#message").inner_text()


QUICK = (
    "--backbone small_cnn --weights none --embedding-dim 8 --batch-size 6 "
    "--unlabeled-ratio 3 --epochs 1 --steps-per-epoch 25 --clustering kmeans --seed 0 "
    "--no-probe --no-supervised"
)


def test_a_run_is_trained_from_the_page_and_its_guesses_are_labeled(folder, browser):
    images = sorted(path.name for path in (folder / "photos").iterdir())
    rows = [f"{file},{color_of(file)}" for file in images[:12]]
    (folder / "labels.csv").write_text("\n".join(["file,label", *rows, ""]))
    with serving(folder, "--train-options", QUICK) as address:
        with opened(browser, address) as page:
            view(page, "Grid")
            page.wait_for_selector("#grid-hint:has-text('There is no run yet')")
            view(page, "Progress")
            page.get_by_role("button", name="Train").click()
            page.wait_for_selector("#training :text('run-1 is being trained')")
            assert page.get_by_role("button", name="Train").is_disabled()
            view(page, "One by one")
            # It goes on meanwhile.
            press(page, "ArrowRight")
    # The training outlives the server, and is found again.
    with serving(folder, "--train-options", QUICK) as address:
        with opened(browser, address) as page:
            view(page, "Progress")
            page.wait_for_selector("#training :text('run-1 has ended')", timeout=60_000)
            view(page, "One by one")
            page.wait_for_selector("#guess button", timeout=60_000)
            file, guess = shown(page), page.locator("#guess button").inner_text()
            press(page, "Enter")
            assert f" {labels(folder)[file]}, " in guess.replace("\n", " ")
            view(page, "Grid")
            label = labels(folder)[file]
            page.get_by_label("Class", exact=True).last.select_option(label)
            tiles = page.locator("#grid-images button")
            tiles.first.wait_for()
            files = tiles.locator("img").evaluate_all("all => all.map(one => one.alt)")
            tiles.first.focus()
            page.keyboard.press("Enter")
            assert tiles.first.get_attribute("aria-pressed") == "true"
            page.get_by_role("button", name=re.compile(r"^Label \d")).click()
            page.wait_for_function(
                "old => document.querySelectorAll('#grid-images li').length < old",
                arg=len(files),
            )
            found = labels(folder)
            assert {found[file] for file in files[1:]} == {label}
            assert files[0] not in found
            page.keyboard.press("Control+z")
            page.wait_for_selector("#message:has-text('label taken back')")
            assert set(labels(folder)) == set(images[:12]) | {file}
            page.get_by_label("Images that").select_option("have the label")
            page.get_by_alt_text(file).locator("..").click()
            page.get_by_role("button", name="Take the label").click()
            page.wait_for_selector("#message:has-text('1 images: label taken back')")
            assert set(labels(folder)) == set(images[:12])


# How bright the first pixel is, as it is shown.
FIRST_PIXEL = """
() => {
    const pen = document.createElement("canvas").getContext("2d");
    pen.drawImage(document.getElementById("image"), 0, 0);
    return pen.getImageData(0, 0, 1, 1).data[0];
}
"""


def test_a_folder_does_not_show_the_pictures_of_the_one_before(tmp_path, browser):
    context = browser.new_context()
    page = context.new_page()
    port = "0"
    for level in (0, 255):
        folder = tmp_path / str(level)
        (folder / "photos").mkdir(parents=True)
        image = Image.new("L", (8, 8), level)
        image.save(folder / "photos" / "a.png")
        with serving(folder, "--port", port) as address:
            port = re.search(r":(\d+)/", address)[1]
            page.goto(address)
            page.wait_for_selector("#image")
            assert page.evaluate(FIRST_PIXEL) == level
            page.goto("about:blank")
    context.close()


def test_two_windows_do_not_overwrite_one_another(folder, browser):
    with serving(folder) as address, opened(browser, address) as first:
        second = first.context.new_page()
        second.goto(address.partition("?")[0])
        second.wait_for_selector("body[data-shown]")
        file = shown(first)
        assert shown(second) == file
        press(first, *"red", "Enter")
        second.keyboard.type("blue")
        second.keyboard.press("Enter")
        second.wait_for_selector("#message:has-text('has the label “red”')")
        assert shown(second) == file
        assert labels(folder) == {file: "red"}
        # Who has seen that may change it.
        press(second, *"blue", "Enter")
        assert labels(folder) == {file: "blue"}
        # What the first gave is gone: there is nothing of it to undo.
        first.keyboard.press("Backspace")
        first.wait_for_selector("#message:has-text('has the label “blue”')")
        assert labels(folder) == {file: "blue"}


GIVE = """
sent => fetch("/labels", {
    method: "POST",
    headers: {"Content-Type": "application/json"},
    body: JSON.stringify({changes: [sent]}),
}).then(answer => answer.ok)
"""


def test_what_was_marked_in_the_grid_stays_so(tmp_path, browser):
    write_images(tmp_path / "photos", 6)
    files = sorted(path.name for path in (tmp_path / "photos").iterdir())
    wrong, taken, *others = files
    (tmp_path / "labels.csv").write_text("file,label\n")
    write_doubts(tmp_path, ["red", "green"])
    with serving(tmp_path) as address, opened(browser, address) as page:
        page.wait_for_selector("#guess button")
        view(page, "Grid")
        tile = page.locator("#grid-images").get_by_alt_text(wrong).locator("..")
        tile.click()
        given = {"file": taken, "label": "blue", "expected": None}
        assert page.evaluate(GIVE, given)
        # One has another label since, so that none is saved.
        page.get_by_role("button", name="Label 5 “red”").click()
        page.wait_for_selector("#message:has-text('has the label “blue”')")
        page.get_by_role("button", name="Label 4 “red”").click()
        page.wait_for_selector("#message:has-text('4 images: red')")
        assert labels(tmp_path) == {taken: "blue"} | dict.fromkeys(others, "red")
        assert tile.get_attribute("aria-pressed") == "true"


# What another page can try, on another port of the host, to which cookies are sent.
ATTACK = """
async address => {
    const sent = JSON.stringify({changes: [{file: "000 red.png", label: "evil"}]});
    for (const type of ["text/plain", "application/x-www-form-urlencoded"]) {
        const headers = {"Content-Type": type};
        const how = {method: "POST", mode: "no-cors", credentials: "include"};
        await fetch(address + "labels", {...how, headers, body: sent}).catch(() => 0);
    }
    const read = await fetch(address + "state", {credentials: "include"})
        .then(answer => answer.text(), () => "refused");
    const image = new Image();
    image.src = address + "picture?size=small&file=000%20red.png";
    await image.decode().catch(() => 0);
    return [read, image.naturalWidth];
}
"""


def test_another_page_in_the_same_browser_sees_and_changes_nothing(folder, browser):
    with (
        serving(folder) as address,
        opened(browser, address) as page,
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty) as other,
    ):
        threading.Thread(target=other.serve_forever, daemon=True).start()
        second = page.context.new_page()
        second.goto(f"http://127.0.0.1:{other.server_port}/")
        here = address.partition("?")[0]
        assert second.evaluate(ATTACK, here) == ["refused", 0]
        framed = "here => { const f = document.createElement('iframe'); f.src = here;"
        second.evaluate(framed + " document.body.append(f); }", here)
        second.close()
        other.shutdown()
        press(page, *"red", "Enter")
        assert labels(folder) == {"000 red.png": "red"}


def test_a_killed_server_is_said_and_has_lost_nothing(folder, browser):
    context = browser.new_context()
    page = context.new_page()
    with command(folder) as (address, process):
        page.goto(address)
        page.wait_for_selector("body[data-shown]")
        file = shown(page)
        press(page, *"red", "Enter")
        following = shown(page)
        process.kill()
        process.wait()
        page.keyboard.press("1")
        page.wait_for_selector("#message.trouble:has-text('does not answer')")
        assert shown(page) == following
    context.close()
    assert labels(folder) == {file: "red"}
    with serving(folder) as address, opened(browser, address) as page:
        assert shown(page) == following
