import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from studied import studied

from vqspeech.analysis.examples import make_examples
from vqspeech.analysis.study import complaints
from vqspeech.report.analysis import to_html, to_png
from vqspeech.report.analysis_tables import tables
from vqspeech.report.plots import PLOTS


class Page(HTMLParser):
    """The tags of a page with their attributes; open ones must be closed in order."""

    VOID = frozenset({"meta", "br", "img", "link", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
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


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page of perfect codes, with all pictures and one utterance, whose system has an odd name."""
    store, material, study = studied(tmp_path_factory.mktemp("r") / "s", lambda phones: phones)
    images = {key: to_png(plot.draw(study)) for key, plot in PLOTS.items()}
    examples = make_examples({}, [study.system], store, material.labels, [material.scored[0]])
    return to_html(material, [study], {"<b>&": images}, examples)


def test_the_page_asks_for_nothing(html: str) -> None:
    """No link, no frame, no address: pictures and sound are data, and a policy forbids the rest."""
    page = Page(html)
    sources = [
        value
        for _, attrs in page.tags
        for key, value in attrs.items()
        if key in ("src", "href", "srcset", "data", "action")
    ]
    assert sources
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert not page.of("link") + page.of("iframe") + page.of("object")
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttpRequest|import\(", html)
    (policy,) = [a["content"] for a in page.of("meta") if "http-equiv" in a]
    assert "default-src 'none'" in policy


def test_sound_on_the_page_is_the_recording(html: str) -> None:
    """What an audio element holds is a wav file of the utterance's length and samples."""
    (audio,) = Page(html).of("audio")
    kind, _, content = audio["src"].partition(";base64,")
    assert kind == "data:audio/wav"
    wav, rate = soundfile.read(io.BytesIO(base64.b64decode(content)), dtype="int16")
    assert (len(wav) / rate, rate) == (1.2, 16000)
    assert set(np.unique(wav)) <= {0, 1, 2, 3}


def test_all_can_be_read_without_seeing_it(html: str) -> None:
    """Pictures have words, players and drawings labels, heads of tables a scope, the page a language."""
    page = Page(html)
    assert len(page.of("img")) == len(PLOTS)
    assert all(image["alt"] for image in page.of("img"))
    assert all(player["aria-label"] for player in page.of("audio"))
    assert all(drawing["aria-label"] for drawing in page.of("svg"))
    assert all(head["scope"] in ("col", "row") for head in page.of("th"))
    assert page.of("html") == [{"lang": "en"}]
    assert page.of("label")[0]["for"] == page.of("select")[0]["id"]


def test_names_are_text_not_markup(html: str) -> None:
    """A name with letters that mean something in HTML is shown as it is."""
    assert "<b>&" not in html.replace("&lt;b&gt;&amp;", "")
    assert "&lt;b&gt;&amp;" in html


def test_every_table_and_the_corpus_are_on_the_page(html: str) -> None:
    """It opens with what was measured; no score is left out; nothing reads nan."""
    assert html.index("8 utterances of the test split") < html.index("<table")
    assert len(Page(html).of("table")) == 8
    text = re.sub(r"<(style|script)>.*?</\1>|<[^>]+>", " ", html, flags=re.DOTALL)
    assert "nan" not in text.split()
    assert "100.0 %" in text


def test_codes_have_the_colour_of_their_phone(html: str) -> None:
    """With perfect codes the row of codes repeats the row of phones."""
    fills = re.findall(r'y="(\d+)" width="([\d.]+)" height="26" fill="([^"]+)"', html)
    rows = [[fill[1:] for fill in fills if fill[0] == top] for top in sorted({f[0] for f in fills})]
    assert len(rows) == 2
    assert rows[0] == rows[1]
    assert len({colour for _, colour in rows[0]}) == 4


def test_scrambled_codes_raise_an_alarm(tmp_path: Path) -> None:
    """Codes in the wrong order are named in a box above all tables; perfect ones have no such box."""
    _, material, study = studied(tmp_path / "s", lambda phones: phones.reshape(-1, 2).T.ravel())
    page = to_html(material, [study], {}, [])
    assert page.index('role="alert"') < page.index("<table")
    assert page.count("no better than shuffled codes") == len(complaints(study)) == 2


def test_without_pictures_and_utterances_the_page_is_whole(tmp_path: Path) -> None:
    """Sections without content are left out, with their links."""
    _, material, study = studied(tmp_path / "s", lambda phones: phones)
    page = to_html(material, [study], {}, [])
    assert [a["href"] for a in Page(page).of("a")] == ["#systems", "#scores"]
    assert 'role="alert"' not in page
    assert len(tables([study])) == page.count('class="sortable"')
