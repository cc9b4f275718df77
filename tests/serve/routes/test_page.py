"""The page: it needs nothing from elsewhere, turns no text into markup, and works in a real browser."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest

from banyan.core.types import Completion
from banyan.runtime.loaded_model import LoadedModel
from banyan.serve.local_model import LocalModel
from banyan.serve.served_model import Piece, PieceListener
from banyan.store.sql_store import SqlStore, open_store
from banyan.store.types import RequestState
from banyan.testing.recorded_runs import add_losses, record_tiny_run
from banyan.testing.serving import RunningServer, ScriptedModel, running_server

ASSETS = {entry.name: entry.read_text("utf-8") for entry in files("banyan.serve").joinpath("assets").iterdir()}
CHROMIUM, CHROMEDRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--lang=en",
    "--window-size=1100,900",
)


def test_no_text_can_become_markup_or_code() -> None:
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|style="
    )
    for name, text in ASSETS.items():
        assert not forbidden.search(text), name


def test_the_page_loads_nothing_from_elsewhere(client: httpx.Client) -> None:
    for name, text in ASSETS.items():
        addresses = set(re.findall(r"https?://[^\s\"')]+|[\"'(]//[^\s\"')]+", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}, name
    policy = client.get("/").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_every_file_the_page_names_is_served_with_its_type(client: httpx.Client) -> None:
    named = {name for text in ASSETS.values() for name in re.findall(r'(?:/assets/|from "\./)([\w.]+)', text)}
    assert {"app.js", "style.css", "icon.svg", "dom.js"} <= named
    types = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml", "html": "text/html"}
    for name in {*named, *ASSETS}:
        response = client.get(f"/assets/{name}")
        assert response.status_code == 200, name
        assert response.headers["Content-Type"].startswith(types[name.rpartition(".")[2]])
    assert client.get("/").text == ASSETS["index.html"]


@pytest.mark.parametrize("name", ["..%2Fapp.py", "%2e%2e/app.py", "__init__.py", "", "app.js%00", ".js"])
def test_nothing_but_the_pages_own_files_is_served(client: httpx.Client, name: str) -> None:
    assert client.get(f"/assets/{name}").status_code == 404


def test_every_word_is_said_in_both_languages() -> None:
    english, chinese = re.split(r"\n  zh: \{", ASSETS["words.js"])
    keys = [re.findall(r'^    "([\w.]+)": "', part, re.MULTILINE) for part in (english, chinese)]
    assert keys[0] == keys[1]
    used = {
        key
        for text in ASSETS.values()
        for pattern in (
            r'[wW]ord(?:Label|Placeholder)?(?:="|: "|\(")([\w.]+)"',
            r'(?:heading|labelled|[bB]utton)\("([\w.]+)"',
        )
        for key in re.findall(pattern, text)
    }
    used |= set(re.findall(r'data-word(?:-label)?="([\w.]+)"', ASSETS["index.html"]))
    assert len(used) > 40
    assert used <= set(keys[0])


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if not CHROMIUM or not CHROMEDRIVER:
        pytest.skip("no chromium and chromedriver here (Debian: apt-get install chromium chromium-driver)")
    from selenium import webdriver  # only where there is a browser
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))
    try:
        yield driver
    finally:
        driver.quit()


class Page:
    """What a person does with the page."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def wait(self, condition: Callable[[], Any]) -> Any:
        from selenium.webdriver.support.wait import WebDriverWait

        return WebDriverWait(self.driver, 15, poll_frequency=0.05).until(lambda _: condition())

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def one(self, selector: str) -> Any:
        return self.wait(lambda: next((node for node in self.all(selector) if node.is_displayed()), None))

    def open(self, address: str) -> None:
        self.driver.get(address)

    def wait_until_ready(self) -> None:
        self.wait(lambda: self.driver.execute_script("return document.body.dataset.ready"))

    def go(self, tab: str) -> None:
        self.one(f'.tab[href="#/{tab}"]').click()
        self.wait(lambda: self.one(".tab[aria-current]").get_attribute("href").endswith(f"#/{tab}"))

    def run(self, *texts: str) -> None:
        for area, text in zip(self.all("main textarea"), texts, strict=False):
            area.clear()
            area.send_keys(text[0])  # the driver cannot type characters beyond the first 65,536
            self.driver.execute_script("arguments[0].value = arguments[1]", area, text)
        self.one("main form .primary").click()

    def problems(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.fixture(scope="module")
def page(browser: Any, server: RunningServer) -> Page:
    page = Page(browser)
    page.open(server.url)
    page.one("#key-input").send_keys("wrong")
    page.one("#key-form .primary").click()
    assert page.one("#key-problem").text == "This key is not valid here."
    page.one("#key-input").clear()
    page.one("#key-input").send_keys(server.key)
    page.one("#key-form .primary").click()
    page.wait_until_ready()
    page.problems()  # the refusals above are noted there
    return page


@pytest.mark.browser
def test_a_person_chats_stops_and_finds_it_again_after_a_reload(page: Page, server: RunningServer) -> None:
    page.go("task/chat")
    page.one(".composer textarea").send_keys("<b>Hello</b>, banyan!\n")
    page.wait(lambda: page.all(".assistant .feedback"))
    said = [bubble.text for bubble in page.all(".bubble")]
    assert said[0] == "<b>Hello</b>, banyan!"
    assert not page.all(".bubble b")
    stored = server.store.queries.newest()[0]
    assert stored.answer is not None
    assert stored.request.stream
    assert stored.answer.outputs[0].text.split() == said[1].split()
    page.driver.refresh()
    page.wait_until_ready()
    page.wait(lambda: len(page.all(".bubble")) == 2)
    page.one(".assistant .feedback button[aria-label='Bad answer']").click()
    page.one(".correction input").send_keys("A forest.")
    page.one(".correction button").click()
    page.wait(lambda: len(server.store.queries.show(stored.request.request_id).feedback) == 2)
    assert page.problems() == []


@pytest.mark.browser
def test_every_task_has_a_panel_that_shows_its_answer(page: Page) -> None:
    page.go("task/topic")
    page.run("a tall tree")
    page.wait(lambda: len(page.all(".labels li")) == 2)
    assert page.one(".labels .best .share").text.endswith("%")
    page.go("task/tags")
    page.run("an oak in Berlin, 独木成林")
    assert page.one(".display-tagging .answer-text").text
    page.go("task/qa")
    page.run("What grows?", "榕 🌳 The banyan grows.")
    assert "The banyan grows." in page.one(".display-question_answering .context").text
    page.go("task/mt")
    page.run("three days ago")
    assert [side.text for side in page.wait(lambda: page.all(".pair .answer-text"))][0] == "three days ago"
    page.go("task/sum")
    page.run("A long text about trees.")
    assert page.one("blockquote")
    page.go("task/lm")
    page.run("The banyan")
    page.wait(lambda: page.all(".result .feedback"))
    assert page.one(".result .answer-text").text.startswith("The banyan")
    assert page.problems() == []


@pytest.mark.browser
def test_a_person_has_an_answer_made_again(page: Page, server: RunningServer) -> None:
    page.go("task/chat")
    page.one(".chat .between button").click()  # a new conversation
    page.one(".composer textarea").send_keys("Once more\n")
    page.wait(lambda: page.all(".said:last-child .feedback"))
    num_said, first = len(page.all(".said")), server.store.queries.newest()[0].request
    page.one(".said:last-child .feedback button[aria-label='Answer again']").click()
    page.wait(lambda: server.store.queries.newest()[0].request.request_id != first.request_id)
    page.wait(lambda: page.all(".said:last-child .feedback"))
    assert len(page.all(".said")) == num_said
    assert server.store.queries.newest()[0].request.body["messages"] == first.body["messages"]
    assert page.problems() == []


@pytest.mark.browser
def test_a_correction_that_is_refused_stays_to_be_mended(page: Page) -> None:
    page.go("task/topic")
    page.run("a tall tree")
    page.wait(lambda: page.all(".result .feedback"))
    page.one(".result .feedback button[aria-label='Bad answer']").click()
    page.one(".correction input").send_keys("bush")
    page.one(".correction button").click()
    assert "its labels are" in page.one(".feedback .problem").text
    page.one(".correction input").clear()
    page.one(".correction input").send_keys("tree")
    page.one(".correction button").click()
    page.wait(lambda: not page.all(".correction"))
    page.problems()  # the refusal is noted there


@pytest.mark.browser
def test_a_person_draws_and_finds_the_pictures_in_the_history(page: Page) -> None:
    page.go("task/draw")
    page.run("a handwritten seven")
    newest = ".gallery .wish:first-child img"  # below it hang earlier ones
    page.wait(lambda: len(page.all(newest)) == 4)
    sizes = f"return [...document.querySelectorAll('{newest}')].map((image) => image.naturalWidth)"
    page.wait(lambda: page.driver.execute_script(sizes) == [256] * 4)
    page.go("history")
    page.one("input[type=search]").send_keys("HANDWRITTEN seven")
    page.wait(lambda: len(page.all(".entry")) == 1)
    page.one(".entry summary").click()
    page.wait(lambda: len(page.all(".entry img")) == 4)
    assert "seed" in page.one(".entry-body > .hint").text
    page.driver.refresh()
    page.wait_until_ready()
    page.go("task/draw")
    page.wait(lambda: len(page.all(newest)) == 4)  # from the store
    page.one("input[type=number]").clear()
    page.one("input[type=number]").send_keys("1")
    page.run("one picture, watched")
    page.wait(lambda: len(page.all(newest)) == 1 and page.all(".gallery .wish:first-child .feedback"))
    page.go("history")
    page.one("input[type=search]").send_keys("one picture, watched")
    page.wait(lambda: len(page.all(".entry")) == 1)
    page.one(".entry summary").click()
    for _ in range(2):  # the first click asks
        page.wait(lambda: page.all(".entry .delete"))
        page.one(".entry .delete").click()
    page.wait(lambda: not page.all(".entry"))
    assert page.problems() == []


@pytest.mark.browser
def test_the_page_speaks_chinese_goes_dark_and_remembers_both(page: Page) -> None:
    page.one("#language").click()
    assert page.one(".tab[href='#/history']").text == "历史"
    was_dark = page.driver.execute_script("return document.documentElement.dataset.theme === 'dark'")
    page.one("#theme").click()
    page.driver.refresh()
    page.wait_until_ready()
    assert page.one(".tab[href='#/history']").text == "历史"
    assert page.driver.execute_script("return document.documentElement.dataset.theme === 'dark'") != was_dark
    page.one("#language").click()
    assert page.one(".tab[href='#/history']").text == "History"


@pytest.mark.browser
def test_a_person_watches_a_training_run_while_it_goes_on(browser: Any, model: LocalModel, tmp_path: Path) -> None:
    with (
        open_store(f"sqlite:///{tmp_path / 'banyan.db'}") as store,
        running_server(model, store, needs_key=False) as server,
    ):
        run = record_tiny_run(store, tmp_path / "grove")
        page = Page(browser)
        page.open(server.url)
        page.wait_until_ready()
        page.go("training")
        page.wait(lambda: len(page.all(".drawing .chart .curve")) == 3)  # two tasks, and the score
        assert [page.one("progress").get_attribute(name) for name in ("value", "max")] == ["20", "40"]
        described = page.all(".chart desc")[0].get_attribute("textContent")
        assert "榕树: 4.99 at step 1, 4.8 at step 20." in described
        summary = page.all(".training details summary")[0]
        summary.send_keys("\n")  # by keyboard alone
        newest = page.wait(lambda: page.all(".figures tbody tr"))[0]
        assert newest.text.split() == ["20", "3.8", "4.8"]
        page.one(".legend input").send_keys(" ")
        page.wait(lambda: "novels" not in page.all(".chart desc")[0].get_attribute("textContent"))
        assert "<b>tree</b>\n## stood" in page.one(".samples").text
        assert not page.all(".samples b")
        page.wait(lambda: page.all(".samples img"))
        assert "steps take half as long again" in page.one(".event.alarm").text
        add_losses(tmp_path / "grove", range(21, 41))
        page.wait(lambda: page.one("progress").get_attribute("value") == "40")  # by itself
        assert page.all(".training details[open]"), "what was open stays open"
        store.runs.finish_run(run, state="completed").result(10)
        page.wait(lambda: page.one(".run-state").text == "completed")
        page.driver.set_window_size(500, 844)
        wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.driver.execute_script(wide) <= 0
        page.driver.set_window_size(1100, 900)
        assert page.problems() == []


@pytest.mark.browser
def test_a_person_asks_another_of_the_models_that_are_served(
    browser: Any, model: LocalModel, loaded: LoadedModel, store: SqlStore
) -> None:
    other = LocalModel(loaded, name="other")
    with running_server(model, store, adapters=[other], needs_key=False) as server:
        page = Page(browser)
        page.open(server.url)
        page.wait_until_ready()
        assert [each.text for each in page.all("#model option")] == [model.facts.name, "other"]
        page.go("task/topic")
        page.driver.execute_script("window.isOld = true")
        page.one("#model option:last-child").click()
        page.wait(lambda: page.driver.execute_script("return !window.isOld && document.body.dataset.ready"))
        assert page.one("#model select").get_property("value") == "other"
        page.run("a tall tree")
        page.wait(lambda: page.all(".labels li"))
        assert store.queries.newest()[0].request.model_name == "other"
        assert page.problems() == []


@pytest.mark.browser
def test_a_key_that_may_not_watch_runs_is_told_how_to_make_one(page: Page, server: RunningServer) -> None:
    page.open(server.url)
    page.wait_until_ready()
    page.go("training")
    assert "--scope runs" in page.one(".training .problem").text
    page.problems()  # the refusal is noted there


@pytest.mark.browser
def test_every_control_has_a_name_and_a_phone_needs_no_sideways_scrolling(page: Page) -> None:
    nameless = """
      const named = (node) => node.ariaLabel || node.labels?.length || node.textContent.trim();
      return [...document.querySelectorAll("button, a, input, textarea, select")]
        .filter((node) => node.checkVisibility() && !named(node)).map((node) => node.outerHTML)"""
    page.driver.set_window_size(500, 844)  # the narrowest window Chromium makes
    for tab in ("task/chat", "task/topic", "task/qa", "task/draw", "history", "training"):
        page.driver.execute_script("location.hash = arguments[0]", f"#/{tab}")
        page.wait(lambda tab=tab: page.driver.execute_script("return location.hash") == f"#/{tab}")
        assert page.driver.execute_script(nameless) == []
        wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.driver.execute_script(wide) <= 0, tab
    page.driver.set_window_size(1100, 900)
    page.problems()  # this key may not watch runs, which is noted there


async def speak_markup_and_hang(hear: PieceListener) -> Completion:
    hear(Piece(text='<img src=x onerror="alert(1)">'))
    await asyncio.sleep(60)
    return Completion()


@pytest.mark.browser
def test_a_page_without_keys_shows_markup_as_text_and_stops_when_told(
    browser: Any, loaded: LoadedModel, store: SqlStore
) -> None:
    with running_server(ScriptedModel(loaded, speak_markup_and_hang), store, needs_key=False) as server:
        page = Page(browser)
        page.open(server.url)
        page.wait_until_ready()
        assert not page.driver.find_element("id", "key-dialog").is_displayed()
        page.go("task/chat")
        page.one(".composer textarea").send_keys("Go on\n")
        page.wait(lambda: page.one(".assistant .bubble").text == '<img src=x onerror="alert(1)">')
        assert not page.all(".log img")
        page.one(".composer .danger").click()
        page.wait(lambda: page.one(".assistant .hint").text == "stopped")
        page.wait(lambda: store.queries.newest()[0].state is RequestState.CANCELLED)
        assert page.problems() == []
