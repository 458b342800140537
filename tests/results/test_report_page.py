"""What a report's page does in a browser."""

import pytest

from tests.browser import browser
from tests.results.reports import HOSTILE, prompt, receipts, write
from tests.results.runs import FIRST, Outputs
from vision_pipeline.core.columns import Scalar

ITEMS = 31
ANSWER = (("answer", Scalar.STRING),)


@pytest.fixture(scope="module")
def chromium():
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return write(receipts(folder), folder / "report.html", find_prompt=prompt).path


@pytest.fixture
def trouble():
    return []


@pytest.fixture
def page(chromium, report, trouble):
    """The report, opened; whatever goes wrong on it or leaves the file is noted, and fails."""
    context = chromium.new_context(viewport={"width": 1200, "height": 900})
    opened = context.new_page()
    opened.on("console", lambda message: trouble.append(message.text))
    opened.on("pageerror", lambda error: trouble.append(str(error)))
    opened.on("dialog", lambda dialog: (trouble.append(dialog.message), dialog.dismiss()))
    opened.on(
        "request",
        lambda request: (
            request.url.startswith(("data:", report.as_uri())) or trouble.append(request.url)
        ),
    )
    opened.goto(report.as_uri())
    yield opened
    context.close()
    assert trouble == []


def names(page):
    return page.locator(".card .name").all_inner_texts()


def has(page, count):
    """Wait until so many items are shown; the search waits for a pause in typing."""
    page.locator(
        f"#sheet:not(:has(.card:nth-child({count + 1}))) .card:nth-child({count})"
    ).wait_for()


def test_all_items_are_shown_with_image_and_answer(page):
    assert page.locator("#count").inner_text() == f"{ITEMS} items"
    assert page.locator(".card").count() == ITEMS
    first = page.locator(".card").first
    assert "Shop 0" in first.inner_text()
    loaded = "image => image.decode().then(() => image.naturalWidth)"
    assert first.locator("img").evaluate(loaded) == 60
    assert "not there any more" in page.locator(".card").nth(2).inner_text()


def test_status_and_code_choose_items(page):
    page.locator("#status button", has_text="Errors").click()
    assert page.locator(".card").count() == 5
    page.locator("#code").select_option("timeout")
    assert page.locator("#count").inner_text() == f"4 of {ITEMS}"
    assert names(page) == ["0006.png", "0013.png", "0020.png", "0027.png"]
    page.locator("#code").select_option("")
    page.locator("#status button", has_text="Answered").click()
    assert page.locator(".card").count() == 26


def test_a_field_is_filtered_by_its_values_or_its_range(page):
    page.locator("#field").select_option(label="kind")
    page.locator("#value").select_option("=Hotel")
    assert page.locator("#count").inner_text() == f"9 of {ITEMS}"
    page.locator("#field").select_option(label="total")
    page.locator("#least").fill("39")
    assert names(page) == ["0026.png", "0028.png", "0029.png"]
    page.locator("#most").fill("40")
    assert names(page) == ["0026.png"]


def test_text_is_searched_in_answers_and_names(page):
    page.locator("#search").fill("shop 14")
    has(page, 1)
    assert names(page) == ["0014.png"]
    page.locator("#search").fill("no such text")
    page.locator("#reset").click()
    has(page, ITEMS)


def test_items_are_sorted_by_a_field_either_way_with_nulls_last(page):
    page.locator("#sort").select_option(label="total")
    assert names(page)[:2] == ["0000.png", "0001.png"]
    page.locator("#turn").click()
    assert names(page)[:2] == ["0029.png", "0028.png"]
    assert set(names(page)[-4:]) >= {"0027.png", "0020.png", "0013.png"}


def test_a_click_shows_the_full_image_with_prompt_reply_and_origin(page):
    page.locator(".card").nth(1).click()
    item = page.locator("#item")
    image = item.locator("img")
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 1200
    fitted = image.bounding_box()["width"]
    image.click()
    assert image.bounding_box()["width"] == 1200 > fitted
    image.click()
    assert image.bounding_box()["width"] == fitted
    assert "mistral-small-2603" in item.inner_text()
    assert "alert(1)" in item.locator("#facts > pre").inner_text()
    item.locator("summary").click()
    assert "onerror" in item.locator("details pre").inner_text()
    page.keyboard.press("ArrowRight")
    assert item.locator("h2").inner_text() == "0002.png"
    page.keyboard.press("Escape")
    assert not item.is_visible()


def test_a_card_opens_by_key(page):
    page.locator(".card").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#item h2").inner_text() == "0000.png"


def test_hostile_values_are_shown_as_text(page):
    shown = HOSTILE.replace("\u202e", "\u27e8U+202E\u27e9")
    assert shown in names(page)
    page.locator(".card", has_text=shown).first.click()
    item = page.locator("#item")
    assert shown in item.inner_text()
    assert (
        item.locator("h2 bdi").evaluate("text => getComputedStyle(text).unicodeBidi") == "isolate"
    )
    assert page.locator("img[onerror]").count() == 0


def test_nothing_can_be_fetched_from_the_page(page, trouble):
    tried = page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')")
    assert tried == "refused"
    assert any("Content Security Policy" in message for message in trouble)
    trouble.clear()


@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_is_wider_than_the_screen(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    scroll, client = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert scroll <= client


def test_a_page_of_many_is_searched_by_itself_and_leads_to_the_others(chromium, tmp_path):
    first = write(receipts(tmp_path, 9), tmp_path / "report.html", page_items=4).path
    page = chromium.new_page()
    page.goto(first.as_uri())
    assert page.locator("#count").inner_text() == "4 items"
    page.locator(".pages a").nth(2).click()
    page.wait_for_url("**/page-3.html")
    assert page.locator("#count").inner_text() == "2 items"
    assert page.locator(".pages a[aria-current]").inner_text() == "3"
    page.close()


def test_a_group_shows_all_its_images_at_once(chromium, tmp_path):
    receipts(tmp_path, 3)
    outputs = Outputs(str(tmp_path / "groups"))
    images = tuple({"uri": str(tmp_path / "images" / name)} for name in ("0000.png", "0001.png"))
    outputs.run(FIRST, {"pair": {"answer": "alike"}}, columns=ANSWER, images=images)
    page = chromium.new_page(viewport={"width": 1200, "height": 900})
    page.goto(write(outputs.root, tmp_path / "groups.html").path.as_uri())
    assert page.locator("#count").inner_text() == "1 item"
    page.locator(".card").click()
    boxes = [image.bounding_box() for image in page.locator("#item img").all()]
    assert len(boxes) == 2
    assert max(box["y"] + box["height"] for box in boxes) <= 900
    page.close()
