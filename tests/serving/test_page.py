"""The page of the server in a real browser, against a real server with real, tiny models."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from stages.media.text import join, tokenize

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
TOUCH = {"viewport": PHONE, "has_touch": True, "is_mobile": True}
MODELS = (
    "caption",
    "classify",
    "retrieve",
    "vqa",
    "match",
    "translate",
    "transcribe",
    "regress",
    "tag",
    "likes",
    "offer",
)
REFUSED = "Failed to load resource"  # what the browser itself writes where a server refuses
LEAST_CONTRAST = """() => {
  const parse = (colour) => (colour.match(/[\\d.]+/g) ?? []).map(Number);
  const linear = (c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ground = (node) => {
    const colour = parse(getComputedStyle(node).backgroundColor);
    return colour.length === 3 || colour[3] === 1 ? colour : ground(node.parentElement);
  };
  const hasText = (node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
  const shown = [...document.querySelectorAll("body *")].filter((node) => node.checkVisibility() && hasText(node));
  const contrasts = shown.map((node) => {
    const both = [parse(getComputedStyle(node).color), ground(node)].map(luminance);
    return [(Math.max(...both) + 0.05) / (Math.min(...both) + 0.05), node.textContent.trim().slice(0, 40)];
  });
  return contrasts.sort((a, b) => a[0] - b[0])[0];
}"""
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser for these tests alone: Playwright's event loop must not outlive them."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, page_server, request, tmp_path) -> Iterator[Any]:
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
        expect(page.locator("#send")).to_be_visible()
        if model:
            expect(page.locator("#model")).to_have_value(model)
        page.refusals = refusals
        return page

    yield open_page
    allowed = any(page.refusals for context in contexts for page in context.pages)
    picture(contexts[-1].pages[-1], request.node.name, tmp_path)
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith((page_server.url.rstrip("/") + "/", "data:"))] == []
    assert [text for text in errors if not (allowed and text.startswith(REFUSED))] == []


def picture(page: Any, name: str, own_folder: Path) -> None:
    """Keep a picture of the page, in the folder that FUSELINE_SCREENSHOTS names or in the test's own."""
    folder = Path(os.environ.get("FUSELINE_SCREENSHOTS") or own_folder)
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png", full_page=True)


@pytest.fixture
def sample(page_server, tmp_path) -> SimpleNamespace:
    """Raw inputs of a test sample; media as files."""
    path = sorted((page_server.project / "artifacts/prepare/scenes").glob("test-*.parquet"))[0]
    row = pq.read_table(path).slice(0, 1).to_pylist()[0]
    (tmp_path / "scene.png").write_bytes(row["image"])
    (tmp_path / "phrase.wav").write_bytes(row["audio"])
    return SimpleNamespace(
        image=tmp_path / "scene.png",
        audio=tmp_path / "phrase.wav",
        text=row["texts"][0],
        question=row["questions"][0],
        fields={"price": "12.5", "listed": "2024-03-01"},
        user_fields={"colour": 1},
        user="user-0000",
        liked="scene-00000000",
    )


def give(page: Any, **inputs: Any) -> None:
    """Put inputs into their fields, media by the path of a file."""
    for modality, value in inputs.items():
        if modality in ("image", "audio"):
            page.locator(f"[data-modality={modality}] input").set_input_files(value)
        elif modality in ("fields", "user_fields"):
            for name, cell in value.items():
                asked = page.locator(f"[data-modality={modality}]").get_by_label(name)
                asked.select_option(index=cell) if isinstance(cell, int) else asked.fill(cell)
        else:
            page.locator(f"#{modality}").fill(value)


def ask(page: Any, **inputs: Any) -> Any:
    """Give inputs, send them, and return the answer once it is there."""
    give(page, **inputs)
    with page.expect_response(lambda response: response.request.method == "POST") as sent:
        page.locator("#send").click()
    expect(page.locator("#answer .facts")).to_contain_text(re.search(r'"request_id": ?"(\w+)"', sent.value.text())[1])
    expect(page.locator("#status")).to_contain_text("Answer: ")
    return page.locator("#answer")


def press_until(page: Any, key: str, selector: str) -> None:
    """Press a key until what the selector names has the focus, and shows that it has."""
    for _ in range(20):
        page.keyboard.press(key)
        if page.evaluate("s => document.activeElement.matches(s)", selector):
            return
    raise AssertionError(f"{selector} is not reached by {key}")


def fill_all(page: Any, sample: SimpleNamespace) -> None:
    """Fill every field that is shown."""
    for field in page.locator("[data-modality]:visible").all():
        modality = field.get_attribute("data-modality")
        give(page, **{modality: getattr(sample, modality)})


def test_the_attention_of_a_word_lies_on_the_image_while_the_word_has_the_focus(visit, sample):
    page = visit("caption")
    answer = ask(page, image=sample.image)
    word, canvas = answer.locator("button.gloss").first, answer.locator(".picture canvas")
    expect(canvas).to_have_css("opacity", "0")
    word.focus()
    expect(canvas).to_have_css("opacity", "0.78")
    assert canvas.evaluate("it => it.getContext('2d').getImageData(0, 0, it.width, it.height).data.some(Boolean)")
    expect(answer.locator(".looked")).to_contain_text(word.locator(".word").inner_text())
    page.keyboard.press("Escape")
    expect(canvas).to_have_css("opacity", "0")


@pytest.mark.parametrize("text", ["two small dogs", "今天我看到3只猫", "เด็กกินน้ำ", "كلب صغير يجري", "我 like 猫"])
def test_a_caption_reads_as_its_script_is_written(visit, text):
    words = tokenize(text)
    read, direction = visit("caption").evaluate(
        """async ([caption, words]) => {
            const { captionWithAttention } = await import("./answers/attention.js");
            const [list] = captionWithAttention({ caption, words, word_probabilities: words.map(() => 0.5) });
            document.body.append(list);
            const read = [...list.childNodes].map((it) => (it.querySelector?.(".word") ?? it).textContent).join("");
            return [read, getComputedStyle(list).direction];
        }""",
        [join(words), words],
    )
    assert read == join(words)
    assert direction == ("rtl" if "ك" in text else "ltr")


def test_a_tapped_word_keeps_its_attention_until_it_is_tapped_again(visit, sample):
    page = visit("caption", **TOUCH)
    answer = ask(page, image=sample.image)
    word = answer.locator("button.gloss").first
    for pressed, shown in (("true", 1), ("false", 0)):
        word.tap()
        expect(word).to_have_attribute("aria-pressed", pressed)
        expect(answer.locator(".attended")).to_have_count(shown)


def test_a_question_is_asked_from_the_first_tab_to_the_answer_by_keyboard_alone(visit, sample):
    page = visit()
    press_until(page, "Tab", "#model")
    page.keyboard.type("vqa")
    expect(page.locator("#question")).to_be_visible()
    press_until(page, "Tab", "input[type=file]")
    expect(page.locator("[data-modality=image] .choose")).to_have_css("outline-style", "solid")
    chosen: list[Any] = []
    page.on("filechooser", lambda chooser: chosen.append(chooser))
    for _ in range(5):  # a busy browser may miss one
        page.keyboard.press("Enter")
        page.wait_for_timeout(1000)
        if chosen:
            break
    chosen[0].set_files(sample.image)
    expect(page.locator("[data-modality=image] img")).to_be_visible()
    press_until(page, "Tab", "#question")
    page.keyboard.type(sample.question)
    page.keyboard.press("Enter")
    expect(page.locator("#answer .verdict")).not_to_be_empty()
    expect(page.locator("#answer .bars data").first).to_contain_text("%")
    press_until(page, "Tab", "summary")
    page.keyboard.press("Enter")
    expect(page.locator("#answer .lineage")).to_contain_text("experiment")
    assert page.url.endswith("#model=vqa")


def test_numbers_are_shown_with_the_ends_of_their_intervals(visit, sample):
    answer = ask(visit("regress"), image=sample.image, text=sample.text)
    expect(answer.locator(".number h3")).to_have_text(["cover", "worth"])
    for number in answer.locator(".number").all():
        low, middle, high = (
            float(number.locator(place).inner_text().replace("−", "-"))
            for place in (".ends data >> nth=0", ".verdict", ".ends data >> nth=1")
        )
        assert low < middle < high
        expect(number.locator(".point")).to_be_visible()


def test_tags_that_are_said_stand_out_among_the_bars_of_all(visit, sample):
    answer = ask(visit("tag"), image=sample.image, text=sample.text)
    said = answer.locator(".verdict").inner_text()
    answer.get_by_role("button", name="Show all").click()
    names = answer.locator(".bars li.chosen .bar-name").all_inner_texts()
    assert names and ", ".join(names) == said
    assert answer.locator(".bars li").count() > len(names)


def test_what_was_typed_is_shown_as_text_never_as_markup(visit, sample):
    page = visit("vqa")
    markup = "what <img src=x onerror=alert(1)> is this"
    answer = ask(page, question=markup, image=sample.image)
    expect(answer.locator(".asked")).to_have_text(f"“{markup}”")
    expect(answer.locator("img")).to_have_count(0)


@pytest.mark.parametrize("way", ("drop", "paste"))
def test_an_image_can_be_dropped_or_pasted(way, visit, sample):
    page = visit("caption")
    give_by = """([way, bytes]) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(bytes)], "given.png", { type: "image/png" }));
      const made = { bubbles: true, cancelable: true, dataTransfer: data, clipboardData: data };
      document.body.dispatchEvent(way === "drop" ? new DragEvent(way, made) : new ClipboardEvent(way, made));
    }"""
    page.evaluate(give_by, [way, list(sample.image.read_bytes())])
    expect(page.locator("[data-modality=image] img")).to_be_visible()
    expect(page.locator("[data-modality=image] .name")).to_contain_text("given.png")
    expect(ask(page).locator(".picture img")).to_be_visible()


def test_a_sound_alone_is_classified_and_the_classes_are_ranked(visit, sample):
    page = visit("classify")
    give(page, audio=sample.audio)
    expect(page.locator("[data-modality=audio] audio")).to_be_visible()
    answer = ask(page)
    values = answer.locator(".bars data").all_inner_texts()
    numbers = [float(value.strip("<>% ")) for value in values]
    assert len(numbers) > 1 and numbers == sorted(numbers, reverse=True)
    expect(answer.locator(".bar-name").first).to_have_text(answer.locator(".verdict").inner_text())


def test_a_recording_can_be_listened_to_and_is_understood_by_the_server(visit):
    page = visit("classify", permissions=["microphone"])
    page.get_by_role("button", name="Record").click()
    expect(page.locator("[data-modality=audio] .seconds")).to_contain_text("1 s of")
    page.get_by_role("button", name="Stop").click()
    player = page.locator("[data-modality=audio] audio")
    expect(player).to_be_visible()
    page.wait_for_function("it => it.duration > 0.5", arg=player.element_handle())
    expect(ask(page).locator(".verdict")).not_to_be_empty()


def test_the_words_of_a_transcript_run_along_with_the_sound_and_play_from_where_they_were_said(visit, sample):
    page = visit("transcribe")
    answer = ask(page, audio=sample.audio)
    words = answer.locator("button.gloss")
    assert words.count() >= 1
    player = answer.locator("audio")
    expect(player).to_be_visible()
    assert answer.locator(".strip li").count() == words.count()
    words.last.click()
    start = float(words.last.locator("small").inner_text().split()[0])
    page.wait_for_function(f"() => Math.abs(document.querySelector('#answer audio').currentTime - {start}) < 0.6")
    expect(words.last).to_have_accessible_name(re.compile(r"at \d\.\d\d s, .*% sure"))


def test_a_camera_s_recording_is_answered_with_the_frames_that_counted(visit):
    page = visit("film", permissions=["microphone", "camera"])
    page.get_by_role("button", name="Record").click()
    expect(page.locator("[data-modality=video] .seconds")).to_contain_text("2 s of")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("[data-modality=video] .name")).to_contain_text("Recording")
    answer = ask(page)
    expect(answer.locator(".verdict")).not_to_be_empty()
    frames = answer.locator(".frames li")
    assert 3 <= frames.count() <= 6  # a busy machine records fewer
    expect(frames.first).to_have_accessible_name(
        re.compile(r"0\.0 s: without it the probability (rises|falls) by 0\.\d\d")
    )
    drawn = (
        "it => new Uint32Array(it.getContext('2d').getImageData(0, 0, it.width, it.height).data.buffer).some(Boolean)"
    )
    page.wait_for_function(drawn, arg=frames.last.locator("canvas").element_handle())


def test_a_user_is_recommended_items_with_pictures_and_what_their_scores_are_made_of(visit):
    answer = ask(visit("likes"), user="user-0000")
    expect(answer.locator(".asked")).to_contain_text("10 items for user")
    assert answer.locator(".advice > li").count() == 10
    pictures = answer.locator(".advice img.poster")
    assert pictures.count() >= 1
    for image in pictures.all():
        answer.page.wait_for_function("it => it.complete && it.naturalWidth > 0", arg=image.element_handle())
    parts = answer.locator(".advice > li").first.locator(".parts")
    expect(parts).to_contain_text(re.compile(r"who rated it[+−]?\d\.\d\d"))
    expect(parts).to_contain_text("this user")
    expect(answer.locator(".poster.bare").first).not_to_be_empty()  # of an item that is a text


def test_a_new_user_is_one_who_likes_three_items_chosen_by_keyboard(visit):
    page = visit("likes")
    press_until(page, "Tab", "#liked")
    titles = []
    for _ in range(3):
        page.keyboard.press("ArrowDown")
        expect(page.locator("#liked-list li").first).to_be_visible()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        titles.append(page.locator("[role=option][aria-selected=true] span").inner_text())
        page.keyboard.press("Enter")
        expect(page.locator("#liked-list li")).to_have_count(0)
    chosen = page.locator(".chosen li span").all_inner_texts()
    assert len(set(chosen)) == 3 and all(t.startswith(c) for t, c in zip(titles, chosen, strict=True))
    expect(page.locator("#liked-note")).to_contain_text("3 in all")
    with page.expect_response("**/predict*"):
        page.keyboard.press("Enter")
    expect(page.locator("#answer .asked")).to_have_text("10 items for who likes 3 items")
    advised = page.locator(".advice .title strong").all_inner_texts()
    assert len(advised) == 10 and not set(advised) & set(chosen)
    expect(page.locator(".advice .parts").first).to_contain_text("what is liked")


def test_a_new_user_is_one_of_whom_something_is_told(visit):
    page = visit("likes")
    told = page.locator("[data-modality=user_fields]")
    expect(told.locator("legend")).to_contain_text("About the user")
    told.get_by_label("colour").select_option(index=1)
    expect(told.get_by_label("shape")).to_have_value("")
    with page.expect_response("**/predict*"):
        page.locator("#send").click()
    expect(page.locator("#answer .asked")).to_have_text("10 items for who is as told")
    assert page.locator(".advice > li").count() == 10
    expect(page.locator(".advice .parts").first).to_contain_text("what is told of the user")


def test_items_are_looked_for_by_title_taken_by_pointer_and_taken_back(visit):
    page = visit("likes", **TOUCH)
    page.locator("#liked").tap()
    options = page.locator("#liked-list").get_by_role("option")
    expect(options).to_have_count(20)
    page.keyboard.type("nothing of that name")
    expect(page.locator("#liked-note")).to_contain_text("No item of 80")
    page.locator("#liked").fill("scene-00000007")
    expect(options).to_have_count(1)
    options.tap()
    expect(page.locator("#liked-note")).to_contain_text("1 in all")
    remove = page.locator(".chosen button")
    expect(remove).to_have_accessible_name(re.compile("Remove .*."))
    remove.tap()
    expect(page.locator(".chosen li")).to_have_count(0)
    answer = ask(page, text="a red circle")
    first = answer.locator(".advice > li").first
    title = first.locator(".title strong").inner_text()
    with page.expect_response("**/predict*"):
        first.get_by_role("button", name="Like").tap()
    expect(answer.locator(".asked")).to_contain_text("who likes one item and “")
    expect(page.locator(".chosen li span")).to_have_text([title])
    assert title not in answer.locator(".advice .title strong").all_inner_texts()


def test_pictures_are_drawn_of_typed_words_and_again_by_another_seed(visit):
    page = visit("generate")
    answer = ask(page, text="a red ring", seed="7", count="3")
    expect(answer.locator(".asked")).to_have_text("“a red ring”")
    pictures = answer.locator("img.made")
    expect(pictures).to_have_count(3)
    drawn = pictures.evaluate_all("them => them.map((it) => [it.naturalWidth, it.src])")
    assert all(width == 32 for width, _ in drawn) and len({data for _, data in drawn}) == 3
    with page.expect_response("**/predict*"):
        answer.get_by_role("button", name="Another seed").click()
    expect(answer.locator(".note strong")).not_to_have_text("7")
    expect(pictures.first).not_to_have_attribute("src", drawn[0][1])
    assert ask(page, seed="7").locator("img.made").first.get_attribute("src") == drawn[0][1]


def test_fields_are_given_by_their_kinds_and_sent_by_their_names(visit):
    page = visit("offer")
    cells = page.locator("[data-modality=fields] .cell")
    expect(cells.locator("span")).to_have_text(["price", "material", "used", "listed", "stock"])
    kinds = cells.evaluate_all("them => them.map((it) => it.control.type)")
    assert kinds == ["number", "select-one", "select-one", "date", "number"]
    page.locator("#send").click()
    expect(page.get_by_role("alert")).to_contain_text("give the fields")
    expect(page.get_by_label("price")).to_be_focused()
    page.keyboard.type("-0.5")
    page.get_by_label("material").select_option("metal")
    page.get_by_label("used").select_option("yes")
    page.get_by_label("listed").fill("2024-03-01")
    with page.expect_request("**/predict*") as sent:
        page.keyboard.press("Enter")
    wanted = '{"price":-0.5,"material":"metal","used":true,"listed":"2024-03-01"}'
    assert wanted in sent.value.post_data
    heights = cells.evaluate_all("them => them.map((it) => it.control.offsetHeight)")
    assert len(set(heights)) == 1
    expect(page.locator("#answer .verdict")).not_to_be_empty()
    first = page.locator("#answer .bars").inner_text()
    page.get_by_label("used").select_option("unknown")
    page.get_by_label("price").fill("250")
    assert ask(page).locator(".bars").inner_text() != first


def test_a_browser_that_may_not_record_says_so_and_what_to_do(visit):
    page = visit("classify")
    page.get_by_role("button", name="Record").click()
    expect(page.locator("[data-modality=audio] .note")).to_contain_text("choose a file")


def test_images_are_found_by_a_text_and_one_of_them_finds_texts(visit, sample):
    page = visit("retrieve")
    page.get_by_label("images by text").check()
    answer = ask(page, text=sample.text)
    images = answer.locator(".results.grid img")
    assert images.count() > 1
    for image in images.all():
        page.wait_for_function("it => it.complete && it.naturalWidth > 0", arg=image.element_handle())
    expect(answer.locator(".results li").first).to_contain_text("similarity")
    answer.get_by_role("button", name="Search by this image").first.click()
    expect(page.get_by_label("texts by image")).to_be_checked()
    expect(page.locator("#answer .results.list .beside p").first).not_to_be_empty()


def test_texts_are_found_by_an_image(visit, sample):
    page = visit("retrieve")
    page.get_by_label("texts by image").check()
    texts = ask(page, image=sample.image).locator(".results.list .beside p").all_inner_texts()
    assert len(texts) > 1 and all(texts)


@pytest.mark.parametrize("model", ("match", "translate"))
def test_other_tasks_show_their_answer(model, visit, sample):
    page = visit(model)
    fill_all(page, sample)
    answer = ask(page)
    expect(answer.locator(".verdict")).not_to_be_empty()
    expect(answer.locator(".bars data").first).to_contain_text("%")


def test_models_that_are_loaded_late_are_shown_by_themselves(visit):
    page = visit()
    page.route("**/models", lambda route: route.fulfill(json={"models": []}), times=1)
    page.reload()
    expect(page.locator("#loading")).to_contain_text("no model yet")
    expect(page.locator("#send")).to_be_visible()
    assert page.locator("#model option").count() > 1


def test_nothing_is_sent_while_a_required_input_is_missing(visit):
    page = visit("caption")
    page.locator("#send").click()
    expect(page.get_by_role("alert")).to_contain_text("give the image")
    assert page.evaluate("document.activeElement.type") == "file"


def test_a_text_file_as_an_image_is_refused_in_the_words_of_the_server(visit, tmp_path):
    page = visit("caption", refusals=True)
    (tmp_path / "notes.txt").write_text("no image")
    give(page, image=tmp_path / "notes.txt")
    with page.expect_response("**/predict*") as sent:
        page.locator("#send").click()
    error = sent.value.json()["error"]
    expect(page.get_by_role("alert")).to_contain_text(error["message"])
    expect(page.get_by_role("alert")).to_contain_text(error["request_id"])
    assert sent.value.status == 422


def test_too_large_a_file_is_refused_with_its_size(visit, page_server, tmp_path):
    page = visit("caption", refusals=True)
    limits = page.request.get(f"{page_server.url.rstrip('/')}/models").json().get("limits", {"max_body_mb": 32})
    size = int(limits["max_body_mb"] * 2**20) + 2**20
    with open(tmp_path / "large.jpg", "wb") as file:
        file.truncate(size)
    give(page, image=tmp_path / "large.jpg")
    page.locator("#send").click()
    expect(page.get_by_role("alert")).to_contain_text(f"{size / 2**20:.1f} MB")


def test_a_server_that_is_gone_is_named_and_asked_again_by_a_button(visit, sample):
    page = visit("caption", refusals=True)
    page.route("**/predict*", lambda route: route.abort())
    give(page, image=sample.image)
    page.locator("#send").click()
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    page.unroute("**/predict*")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#answer .facts")).to_be_visible()
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_busy_server_is_asked_again_by_itself_once(visit, sample):
    page = visit("caption", refusals=True)
    busy = {"error": {"code": "busy", "message": "too many wait", "request_id": "r1"}}
    answers = [lambda route: route.fulfill(status=503, headers={"Retry-After": "1"}, json=busy)] * 2
    page.route("**/predict*", lambda route: answers.pop()(route) if answers else route.continue_())
    give(page, image=sample.image)
    page.locator("#send").click()
    expect(page.get_by_role("alert")).to_contain_text("Trying again by itself")
    expect(page.get_by_role("alert")).to_contain_text("Try again in 1 seconds")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#answer .facts")).to_be_visible()


def test_a_token_is_asked_for_and_kept_for_the_tab_alone(visit, page_server):
    page = visit("caption", refusals=True)
    refused = {"error": {"code": "unauthorized", "message": "a token is needed", "request_id": "r1"}}

    def only_with_token(route: Any) -> None:
        known = route.request.headers.get("authorization") == "Bearer sesame"
        route.continue_() if known else route.fulfill(status=401, json=refused)

    page.route("**/models", only_with_token)
    page.reload()
    for token, said in (("wrong", "a token is needed"), ("sesame", "does not accept this token")):
        expect(page.get_by_role("alert")).to_contain_text(said)
        expect(page.locator("#token")).to_be_focused()
        page.keyboard.type(token)
        page.keyboard.press("Enter")
    expect(page.locator("#send")).to_be_visible()
    assert page.evaluate("[JSON.stringify(localStorage), document.cookie]") == ["{}", ""]


def test_a_version_that_moved_on_is_pointed_out_with_the_answer(visit, sample):
    page = visit("caption")

    def older(route: Any) -> None:
        models = route.fetch().json()
        models["models"] = [model | {"version": "0"} for model in models["models"]]
        route.fulfill(json=models)

    page.route("**/models", older, times=1)
    page.reload()
    expect(page.locator("#model option").first).to_contain_text("version 0")
    expect(ask(page, image=sample.image).locator("#swapped")).to_contain_text("before it was version 0")
    expect(page.locator("#model option").first).not_to_contain_text("version 0")


@pytest.mark.parametrize("model", MODELS)
def test_nothing_is_wider_than_a_phone(model, visit, sample):
    page = visit(model, **TOUCH)
    assert page.evaluate(SIDEWAYS) == 0
    fill_all(page, sample)
    ask(page)
    page.locator("#answer summary").last.click()
    assert page.evaluate(SIDEWAYS) == 0


@pytest.mark.parametrize("scheme", ("light", "dark"))
@pytest.mark.parametrize("model", MODELS)
def test_all_text_stands_out_in_both_colour_schemes(model, scheme, visit, sample):
    page = visit(model, color_scheme=scheme)
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0] < 60")
    assert dark == (scheme == "dark")
    fill_all(page, sample)
    ask(page).locator("summary").last.click()
    contrast, text = page.evaluate(LEAST_CONTRAST)
    assert contrast >= 4.5, text


AFTER = """(it, pair) => {
  const text = it.firstChild;
  const [one, other] = pair.map((part) => {
    const range = document.createRange();
    range.setStart(text, text.data.indexOf(part));
    range.setEnd(text, text.data.indexOf(part) + part.length);
    return range.getBoundingClientRect();
  });
  return other.left - one.right;
}"""  # by how much one part of a text stands to the right of another


def test_names_and_queries_from_right_to_left_keep_their_order_in_a_sentence(visit, sample, tmp_path):
    page = visit("retrieve")
    page.get_by_label("texts by image").check()
    shutil.copyfile(sample.image, tmp_path / "صورة")
    give(page, image=tmp_path / "صورة")
    name = page.locator("[data-modality=image] .name")
    expect(name).to_contain_text("×")
    assert name.evaluate(AFTER, ["صورة", "×"]) > 0
    page.get_by_label("images by text").check()
    query = ["كلب", "dog", "قط"]
    asked = ask(page, text=" ".join(query)).locator(".asked")
    for first, second in zip(query, query[1:], strict=False):
        assert asked.evaluate(AFTER, [second, first]) > 0


def test_arrow_keys_move_as_the_words_stand(visit):
    page = visit("caption")
    focused = """async ([words, key]) => {
        const { captionWithAttention } = await import("./answers/attention.js");
        const canvas = new OffscreenCanvas(8, 8);
        canvas.getContext("2d");
        const png = await canvas.convertToBlob();
        const caption = words.join(" "), word_probabilities = [0.5, 0.5];
        const answer = { words, caption, word_probabilities, grid: [1, 1], attention: [[1], [1]] };
        document.body.replaceChildren(...captionWithAttention(answer, png));
        const [first, second] = document.querySelectorAll("button.gloss");
        first.focus();
        first.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
        const right = second.getBoundingClientRect().left > first.getBoundingClientRect().left;
        return [document.activeElement === second, right];
    }"""
    assert page.evaluate(focused, [["كلب", "صغير"], "ArrowLeft"]) == [True, False]
    assert page.evaluate(focused, [["small", "dog"], "ArrowRight"]) == [True, True]
