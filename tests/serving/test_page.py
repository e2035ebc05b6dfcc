"""The page and its helpers: true to the marts, at home on a phone, and silent towards the rest of the world."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

from tests.serving.running import Service, borrow, point, serve
from zhiyin import warehouse
from zhiyin.contract import INTERACTIONS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def test_a_user_is_shown_as_the_marts_hold_it(service: Service, shopper: str) -> None:
    shown = service.http.get("/page/user", params={"user_id": shopper}).json()
    marts = str(warehouse.current(service.settings).path(INTERACTIONS))
    query = """
        select basket_id, count(distinct item_id), sum(amount), max(occurred_at) from read_parquet(?)
        where user_id = ? group by all order by max(occurred_at) desc, basket_id
    """
    expected = duckdb.execute(query, [marts, service.pseudonym(shopper)]).fetchall()
    assert shown["summary"]["baskets"] == len(expected)
    assert [basket["basket"] for basket in shown["baskets"]] == [row[0] for row in expected[:8]]
    assert [len({item["item_id"] for item in basket["items"]}) for basket in shown["baskets"]] == [
        row[1] for row in expected[:8]
    ]
    assert [basket["amount"] for basket in shown["baskets"]] == pytest.approx([row[2] for row in expected[:8]])
    shares = [interest["share"] for interest in shown["interests"]]
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 1
    nobody = service.http.get("/page/user", params={"user_id": "nobody"}).json()
    assert (nobody["summary"], nobody["baskets"], nobody["interests"]) == (None, [], [])


def test_samples_are_raw_ids_that_the_service_knows(service: Service) -> None:
    users = service.http.get("/page/users").json()["users"]
    assert 5 <= len(users) <= 12
    lines = [user["lines"] for user in users]
    assert lines == sorted(lines, reverse=True)
    assert all(service.recommend(user_id=user["user_id"], k=1)["missing"] == [] for user in users)


def test_items_are_described(service: Service, shopper: str) -> None:
    ids = [item["item_id"] for item in service.recommend(user_id=shopper)["items"]]
    details = service.http.get("/page/items", params={"id": [*ids, "no such item"]}).json()
    assert set(details) == set(ids)
    assert all(detail["category"] for detail in details.values())


def test_nothing_on_the_pages_comes_from_elsewhere(service: Service) -> None:
    """BentoML's own index page reports every visit to Google."""
    for path in ("/", "/docs", "/page/app.js", "/page/style.css"):
        text = service.http.get(path).text
        assert not re.search(r"""(src|href)=["'](https?:)?//|url\(["']?http|googletagmanager""", text), path


def test_without_the_page_no_user_is_shown(slice_home: Any, champion: tuple[Path, str], tmp_path: Path) -> None:
    settings = borrow(slice_home.settings, tmp_path)
    point(settings, *champion)
    with serve(settings, ZHIYIN_PAGE="false") as service:
        for path in ("/page/users", "/page/user?user_id=1", "/page/items?id=1", "/page/status"):
            assert service.http.get(path).status_code == 404
        assert service.http.get("/").headers["location"] == "/docs"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        assert "CI" not in os.environ, "the page is looked at in a browser: install Chromium"
        pytest.skip("no Chromium on this machine")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


def opened(browser: Browser, service: Service, width: int, scheme: Any = "light") -> tuple[Page, list[str]]:
    """A fresh page, and whatever it complains of or asks of other servers."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    base, troubles = str(service.http.base_url), []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: None if request.url.startswith(base) else troubles.append(request.url))
    return page, troubles


@pytest.mark.parametrize(("width", "scheme"), [(375, "light"), (375, "dark"), (1440, "light"), (1440, "dark")])
def test_the_page_shows_the_list_and_fits(
    browser: Browser, service: Service, shopper: str, width: int, scheme: str
) -> None:
    page, troubles = opened(browser, service, width, scheme)
    page.goto(str(service.http.base_url))
    page.wait_for_selector(".card:not(.skeleton)")
    page.wait_for_selector(".basket")
    answer = service.recommend(user_id=shopper, explain="text")
    for selector, field in ((".card h3", "title"), (".why > p", "reason")):
        assert page.locator(selector).all_text_contents() == [item[field] for item in answer["items"]]
    page.locator(".card summary").first.click()
    assert page.locator(".card").first.locator(".shares li").count() > 1
    assert answer["model_version"][:12] in page.locator("#model").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert troubles == []


def test_the_page_works_from_the_keyboard_and_keeps_its_address(browser: Browser, service: Service) -> None:
    page, troubles = opened(browser, service, 1440)
    page.goto(str(service.http.base_url))
    page.wait_for_selector(".card:not(.skeleton)")
    page.focus("#user")
    page.keyboard.press("Control+A")
    page.keyboard.type("nobody <b>we</b> know")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=There is no data of this id, so")
    assert "user=nobody" in page.url
    assert page.locator("#list-title").inner_text() == "Recommended to household nobody <b>we</b> know"
    page.go_back()
    page.wait_for_selector(".basket")
    assert page.locator(".notice").count() == 0
    assert troubles == []


def test_the_page_says_what_is_wrong_and_recovers(browser: Browser, service: Service) -> None:
    page, _ = opened(browser, service, 1440)

    def no_model(route: Route) -> None:
        route.fulfill(status=503, json={"error": "…", "problems": [{"problem": "No model yet.", "cure": "Wait."}]})

    page.route("**/recommend", no_model)
    page.goto(str(service.http.base_url))
    page.wait_for_selector("text=No model yet. Wait.")
    page.unroute("**/recommend")
    page.wait_for_selector(".card:not(.skeleton)")  # it asks again by itself
    page.route("**/recommend", lambda route: route.abort())
    page.locator("#length label", has_text="5").first.click()
    page.wait_for_selector("text=The service does not answer.")
    page.unroute("**/recommend")
    page.locator("#list").get_by_role("button", name="Try again").click()
    page.wait_for_selector(".card:not(.skeleton)")
    assert page.locator(".card").count() == 5
