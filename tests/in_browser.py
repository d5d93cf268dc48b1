"""What the tests of pages in a browser share."""

from axe_playwright_python.sync_playwright import Axe

# Everything by which Chromium would talk to others of its own accord is off.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE, DESK = 390, 1280
UNNAMED = """
() => [
    ...document.querySelectorAll("img:not([alt]), img[alt='']"),
    ...document.querySelectorAll("svg[role=img]:not([aria-label])"),
    ...document.querySelectorAll("svg[role=img][aria-label='']"),
    ...document.querySelectorAll("svg:not([role=img]):not([aria-hidden=true])"),
].map(element => element.outerHTML)
"""
_WIDTHS = """
() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]
"""


def widths(page):
    """How wide a page is, and how wide the screen."""
    return page.evaluate(_WIDTHS)


def accessibility_faults(page):
    """What axe finds, contrast included: rules, and elements that break them."""
    results = Axe().run(page).response
    assert "color-contrast" in {rule["id"] for rule in results["passes"]}
    return [
        (violation["id"], [node["html"] for node in violation["nodes"]][:3])
        for violation in results["violations"]
    ]
