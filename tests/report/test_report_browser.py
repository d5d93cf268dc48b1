"""The report in a real browser, where there is a Chromium."""

import numpy as np
import pytest

from kdfixmatch_keras import report
from kdfixmatch_keras.sources import ImageSource, LabeledImages
from tests.in_browser import DESK, PHONE, UNNAMED, accessibility_faults, widths
from tests.report.test_report import HOSTILE, labeled_noise, train

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:.*trusted:UserWarning"),
]

OPEN_DETAILS = """
() => document.querySelectorAll("details").forEach(element => { element.open = true })
"""


class Named(ImageSource):
    """Images under other names."""

    def __init__(self, source, names):
        super().__init__(source.image_shape, names)
        self.source = source

    def __len__(self):
        return len(self.source)

    def _read(self, indices):
        return self.source[indices]


def with_names(labeled, class_names, file_names):
    return LabeledImages(Named(labeled.images, file_names), labeled.labels, class_names)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Two reports: hostile names and a test set, and many classes without one."""
    folder = tmp_path_factory.mktemp("reports")
    names = [f"{HOSTILE[i % 3]} {'long' * 20} {i}.jpg" for i in range(30)]
    labeled = with_names(labeled_noise(30, 3, (40, 40, 3)), HOSTILE, names)
    model = train(labeled, labeled.images)
    others = labeled_noise(30, 3, (40, 40, 3), seed=1).images
    test = LabeledImages(Named(others, names), np.roll(labeled.labels, 1), HOSTILE)
    facts = {name: name * 20 for name in HOSTILE}
    contents = report.collect(model, labeled, labeled.images, test, run=facts)
    contents["verdict"] = HOSTILE[0]
    report.write(contents, folder / "hostile.html")

    labeled = labeled_noise(60, 60)
    model = train(labeled, labeled.images)
    contents = report.collect(model, labeled, labeled.images)
    report.write(contents, folder / "many_classes.html")
    return folder


@pytest.mark.parametrize("name", ["hostile", "many_classes"])
@pytest.mark.parametrize("scheme, width", [("light", PHONE), ("dark", DESK)])
def test_page(pages, browser, name, scheme, width):
    page = browser.new_page(
        color_scheme=scheme, viewport={"width": width, "height": 800}
    )
    said, requested = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: requested.append(request.url))
    address = (pages / f"{name}.html").as_uri()
    page.goto(address)
    page.evaluate(OPEN_DETAILS)

    assert not page.evaluate(UNNAMED)
    for each in (width, PHONE, DESK):
        page.set_viewport_size({"width": each, "height": 800})
        scroll, client = widths(page)
        assert scroll <= client, f"the page is {scroll} wide on a screen of {client}"
    page.set_viewport_size({"width": width, "height": 800})
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")

    assert accessibility_faults(page) == []

    assert said == []
    outside = {url for url in requested if not url.startswith("data:")}
    assert outside == {address}
    page.close()


def test_hostile_names_are_text(pages, browser):
    page = browser.new_page()
    page.goto((pages / "hostile.html").as_uri())
    assert page.locator("script").count() == 0
    assert page.locator("[onerror]").count() == 0
    shown = page.locator("main").inner_text()
    for name in HOSTILE:
        assert name in shown
    titles = page.locator("svg title").all_text_contents()
    assert any(HOSTILE[0] in title for title in titles)
    page.close()


def test_paper_shows_what_a_screen_folds(pages, browser):
    page = browser.new_page(color_scheme="dark")
    page.emulate_media(media="print")
    page.goto((pages / "many_classes.html").as_uri())
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(255, 255, 255)"
    folded = page.locator("details:not([open]) img")
    assert folded.count() > 0
    assert folded.first.bounding_box()["height"] > 0
    page.close()
