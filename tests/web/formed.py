"""A page's form as a browser sends it that has no JavaScript: every field as it stands, and what somebody types."""

from html.parser import HTMLParser

import httpx

HTML = {"accept": "text/html"}


class _Forms(HTMLParser):
    """The fields of every form that posts, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[dict[str, str]] = []
        self._select = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        if tag == "form":
            self.forms.append({})
        elif not self.forms:
            return
        elif tag == "select":
            self._select = given["name"]
        elif tag == "option" and (self._select not in self.forms[-1] or "selected" in given):
            self.forms[-1][self._select] = given["value"]
        elif tag == "input" and "name" in given and (given.get("type") != "checkbox" or "checked" in given):
            self.forms[-1][given["name"]] = given.get("value", "")


def forms_of(html: str) -> list[dict[str, str]]:
    parser = _Forms()
    parser.feed(html)
    return parser.forms


def form_of(html: str, do: str, of: str = "") -> dict[str, str]:
    """The one that does this; an AssertionError when the page has none, or two."""
    found = [one for one in forms_of(html) if one.get("do") == do and one.get("of", "") == of]
    assert len(found) == 1, f"{len(found)} forms that {do} {of}"
    return found[0]


def filled(http: httpx.Client, path: str, do: str, of: str = "", **typed: str) -> dict[str, str]:
    """Load the page, fill in its form."""
    page = http.get(path, headers=HTML)
    assert page.status_code == 200, page.text
    return {**form_of(page.text, do, of), **typed}


def send(http: httpx.Client, path: str, do: str, of: str = "", **typed: str) -> httpx.Response:
    """Load the page, fill in its form, and post it to where the page is."""
    return http.post(path, data=filled(http, path, do, of, **typed), headers=HTML)
