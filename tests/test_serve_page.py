"""The page of the server in a real browser, against a real server with real, tiny models."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.small_data import encode, make_image

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--use-fake-device-for-media-stream",  # a microphone that beeps
]
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}
REFUSED = "Failed to load resource"  # what the browser itself writes where a server refuses
LEAST_CONTRAST = """() => {
  const parse = (colour) => (colour.match(/[\\d.]+/g) ?? []).map(Number);
  const linear = (c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
  };
  const texts = [...document.querySelectorAll("body *")].filter(
    (node) => node.checkVisibility() && [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()));
  return texts.map((node) => {
    const [a, b] = [luminance(parse(getComputedStyle(node).color)), luminance(ground(node))].sort();
    return [(b + 0.05) / (a + 0.05), node.textContent.trim().slice(0, 40)];
  }).sort((a, b) => a[0] - b[0])[0];
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser for these tests alone: Playwright's event loop must not outlive them."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, page_server, request) -> Iterator[Any]:
    """Open the page; at the end, nothing was asked of another origin and no error stands in the console."""
    contexts, asked, errors = [], [], []

    def open_page(model: str = "", refusals: bool = False, viewport: dict[str, int] = DESKTOP, **options: Any) -> Any:
        contexts.append(browser.new_context(viewport=viewport, reduced_motion="reduce", **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("request", lambda sent: asked.append(sent.url.removeprefix("blob:")))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: line.type == "error" and errors.append(line.text))
        page.goto(f"{page_server.url}/#model={model}")
        if not refusals:
            expect(page.locator("#send")).to_be_visible()
        page.refusals = refusals
        return page

    yield open_page
    allowed = any(page.refusals for context in contexts for page in context.pages)
    picture(contexts[-1].pages[-1], request)
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith((page_server.url.rstrip("/") + "/", "data:"))] == []
    assert [text for text in errors if not (allowed and text.startswith(REFUSED))] == []


def picture(page: Any, request: pytest.FixtureRequest) -> None:
    """Keep a picture of the page, in the folder that FUSELINE_SCREENSHOTS names or in the test's own."""
    folder = Path(os.environ.get("FUSELINE_SCREENSHOTS") or request.getfixturevalue("tmp_path"))
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{request.node.name}.png", full_page=True)


@pytest.fixture
def sample(page_server, tmp_path) -> SimpleNamespace:
    """Raw inputs of a test sample; media as files."""
    path = sorted((page_server.project / "artifacts/prepare/scenes").glob("test-*.parquet"))[0]
    row = pq.read_table(path).slice(0, 1).to_pylist()[0]
    (tmp_path / "scene.png").write_bytes(row["image"])
    (tmp_path / "phrase.wav").write_bytes(row["audio"])
    return SimpleNamespace(
        image=tmp_path / "scene.png", audio=tmp_path / "phrase.wav", text=row["texts"][0], question=row["questions"][0]
    )


def give(page: Any, **inputs: Any) -> None:
    """Put inputs into their fields, media by the path of a file."""
    for modality, value in inputs.items():
        if modality in ("image", "audio"):
            page.locator(f"[data-modality={modality}] input").set_input_files(value)
        else:
            page.locator(f"#{modality}").fill(value)


def ask(page: Any, **inputs: Any) -> Any:
    """Give inputs, send them, and return the answer once it is there."""
    give(page, **inputs)
    page.locator("#send").click()
    expect(page.locator("#answer .facts")).to_be_visible()
    return page.locator("#answer")


def sideways(page: Any) -> int:
    """Return by how many pixels the page is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def test_the_attention_of_a_word_lies_on_the_image_while_the_word_has_the_focus(visit, sample):
    page = visit("caption")
    answer = ask(page, image=sample.image)
    words, drawn = answer.locator("button.gloss"), answer.locator(".picture canvas")
    expect(answer.locator(".attended")).to_have_count(0)
    words.first.focus()
    expect(answer.locator(".attended")).to_have_count(1)
    expect(drawn).to_have_css("opacity", "0.78")
    cells = "canvas => new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size"
    assert drawn.evaluate(cells) > 2
    page.keyboard.press("Escape")
    expect(answer.locator(".attended")).to_have_count(0)
    expect(words.first).to_have_text(answer.locator(".word").first.inner_text() + " " + words.first.locator("small").inner_text())
    expect(words.first.locator("small")).to_have_text("%", use_inner_text=True) if False else None


def test_a_tapped_word_keeps_its_attention_until_it_is_tapped_again(visit, sample):
    page = visit("caption", viewport=PHONE, has_touch=True, is_mobile=True)
    answer = ask(page, image=sample.image)
    word = answer.locator("button.gloss").first
    for pressed, shown in (("true", 1), ("false", 0)):
        word.tap()
        expect(word).to_have_attribute("aria-pressed", pressed)
        expect(answer.locator(".attended")).to_have_count(shown)
