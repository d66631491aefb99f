"""Parse a report's HTML, for tests."""

from html.parser import HTMLParser

VOID = {"meta", "br", "link"}


class Page(HTMLParser):
    """A parsed page: its loads, links, ids, table rows and text. An assertion fails if its tags do not pair."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        """Targets of `src` and `href` outside the page."""
        self.links: list[str] = []
        """Ids that the page links to."""
        self.ids: list[str] = []
        self.rows: list[list[str]] = []
        """Cells of each table row, as text."""
        self.words: list[str] = []
        self.feed(text)
        assert not self.open, self.open
        self.rows = [[cell.strip() for cell in row] for row in self.rows]

    @property
    def text(self) -> str:
        """Return the page's text, with one blank between words."""
        return " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        """Store the links, ids and cells of the tag."""
        links = [value or "" for name, value in attrs if name in ("src", "href")]
        self.loads += [value for value in links if not value.startswith("#")]
        self.links += [value[1:] for value in links if value.startswith("#")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        """Check that the tag closes the tag that was opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Store text."""
        if "script" not in self.open and "style" not in self.open:
            self.words.append(data)
            if self.open[-2:] and ("td" in self.open or "th" in self.open):
                self.rows[-1][-1] += data.strip() + " "
