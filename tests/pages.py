"""A page as a program sees it: its tags, and whether it asks for anything."""

import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """The tags of a page with their attributes; open ones must be closed in order."""

    VOID = frozenset({"meta", "br", "img", "link", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]

    def asks_for_nothing(self) -> None:
        """Assert that pictures and sound are data, that there is no address, and that a policy forbids the rest."""
        places = {"src", "href", "srcset", "data", "action"}
        sources = [attrs[key] for _, attrs in self.tags for key in places & attrs.keys()]
        assert sources
        assert all(str(source).startswith(("data:", "#")) for source in sources)
        assert not self.of("link") + self.of("iframe") + self.of("object")
        assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttpRequest|import\(", self.text)
        (policy,) = [a["content"] for a in self.of("meta") if "http-equiv" in a]
        assert "default-src 'none'" in str(policy)
