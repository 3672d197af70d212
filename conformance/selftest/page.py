"""Reads a report's page as a browser without styles would: headings, pictures, tables, ids."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "input", "br", "line", "polyline"}


@dataclass
class Page:
    """What was found, in order; `rules` are the words of each rule by its id."""

    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    headings: list[tuple[int, str]] = field(default_factory=list)
    rules: dict[str, str] = field(default_factory=dict)
    cells: set[str] = field(default_factory=set)

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self.open: list[tuple[str, dict[str, str], list[str]]] = []

    def handle_starttag(self, tag: str, attrs) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.page.tags.append((tag, attributes))
        if tag not in VOID:
            self.open.append((tag, attributes, []))

    def handle_startendtag(self, tag: str, attrs) -> None:
        self.page.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        for _, _, words in self.open:
            words.append(data)

    def handle_endtag(self, tag: str) -> None:
        opened, attributes, parts = self.open.pop()
        assert opened == tag, f"</{tag}> closes <{opened}>"
        words = " ".join("".join(parts).split())
        if tag in ("h1", "h2", "h3"):
            self.page.headings.append((int(tag[1]), words))
        elif tag in ("td", "th"):
            self.page.cells.add(words)
        if attributes.get("id", "").startswith("rule-"):
            self.page.rules[attributes["id"]] = words


def read_page(text: str) -> Page:
    """The page; an element that is not closed where it should be fails."""
    reader = _Reader()
    reader.feed(text)
    assert reader.open == [], "everything is closed"
    return reader.page
