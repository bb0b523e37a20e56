"""The page in a browser: what a visitor does, sees and hears."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from browsing import VIEWS, barriers, keep_screenshot, open_browser, overflow
from numpy.typing import NDArray

from vqspeech.demo.sounds import Visitor
from vqspeech.demo.studio import Studio
from vqspeech.models.decoding import Request

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytest.importorskip("gradio", reason="needs gradio (the extra `demo`)")

DROP = """(area, [name, bytes]) => {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([new Uint8Array(bytes)], name, { type: "audio/wav" }));
    for (const type of ["dragenter", "dragover", "drop"])
        area.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
}"""

SOUNDS = "[...document.querySelectorAll('vq-sound')]"


class Held(Studio):
    """A studio that makes the first block of a sound, and the rest once it is let go."""

    @classmethod
    def of(cls, studio: Studio) -> "Held":
        """Take the model and settings of another."""
        held = cls(studio.model, studio.name, studio.sampling, studio.prior, studio.longest_s)
        held.released = threading.Event()
        return held

    released: threading.Event
    begun = 0

    def make(self, request: Request) -> Iterator[NDArray[np.float32]]:
        """Make a sound."""
        self.begun += 1
        for block in super().make(request):
            yield block
            assert self.released.wait(60)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Browser]":
    """Return a browser whose microphone hears a tone of 440 Hz."""
    path = tmp_path_factory.mktemp("microphone") / "tone.wav"
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 440 * np.arange(48000 * 5) / 48000), 48000)
    with open_browser(path) as opened:
        yield opened


@pytest.fixture
def visit(browser: "Browser") -> "Iterator[Callable[..., Page]]":
    """Return a function that opens a page in a context of its own."""
    contexts = []

    def open_page(url: str, width: int = 1280, scheme: Any = "light") -> "Page":
        # A page that shares its window with another one would stand still in the background.
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(240_000)
        page.goto(url)
        page.wait_for_selector("#convert")
        return page

    yield open_page
    for context in contexts:
        context.close()


def drop(page: "Page", path: Path) -> None:
    """Drop a file, and wait until it can be heard."""
    area = page.locator("#given button").first.element_handle()
    page.evaluate(
        f"([area, file]) => ({DROP})(area, file)", [area, [path.name, [*path.read_bytes()]]]
    )
    wait_made(page, 1)


def wait_made(page: "Page", count: int) -> None:
    """Wait until there are so many sounds, all of them whole and none of them playing."""
    page.wait_for_function(
        f"{SOUNDS}.length === {count} && {SOUNDS}.every(of => of.complete && of.audio.duration)"
    )


def wait_playing(page: "Page") -> None:
    """Wait until a sound that is not whole puts out samples."""
    page.wait_for_function(f"{SOUNDS}.some(of => of.state === 'playing')")


def heard(page: "Page") -> list[list[Any]]:
    """Name the sounds of a page, with their seconds."""
    return page.evaluate(f"{SOUNDS}.map(of => [of.getAttribute('name'), of.audio.duration])")


def only(visitors: Any) -> Visitor:
    """Return the one visitor there is."""
    (visitor,) = visitors._visitors.values()
    return visitor


def choose(page: "Page", field: str, voice: str) -> None:
    """Choose a voice by keys alone."""
    page.focus(f"{field} input")
    page.keyboard.press("Control+A")
    page.keyboard.type(voice)
    page.keyboard.press("Enter")


def test_a_dropped_file_is_heard_in_other_voices_while_they_are_made(
    studio: Studio, serve, visit, tone, browser: "Browser"
) -> None:
    """Sound begins before it is whole; source and two voices end up side by side, at the right length, and correct.

    The page asks nobody but its server; the upload is gone once it is read, the rest when the page is closed.
    """
    held = Held.of(studio)
    served = serve(held)
    context = browser.new_context()
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.set_default_timeout(240_000)
    page.goto(served.url)
    path = tone("ten.wav", 10.0)
    drop(page, path)
    assert heard(page) == [["source", 10.0]]
    assert not [file for file in served.folder.rglob("*") if file.is_file()]
    choose(page, "#voice", "p226")
    choose(page, "#others", "p227")
    page.keyboard.press("Escape")
    page.click("#convert")
    wait_playing(page)
    source, first, second = only(served.visitors).sounds
    assert 0 < first.made < first.samples
    assert second.made == 0
    held.released.set()
    wait_made(page, 3)
    assert heard(page) == [["source", 10.0], ["p226", 10.0], ["p227", 10.0]]
    wav = soundfile.read(path, dtype="float32")[0]
    for sound in (first, second):
        expected = studio.model.convert(wav, sound.title, sampling=studio.sampling)
        np.testing.assert_allclose(sound.wav, expected.numpy(), atol=1 / 32768)
    page.evaluate(f"{SOUNDS}[2].audio.play()")
    page.wait_for_function(f"{SOUNDS}[2].audio.currentTime > 0.1")
    assert page.evaluate(f"{SOUNDS}.map(of => of.live)") == [False] * 3
    own = (f"{served.url}/", "data:", f"blob:{served.url}/")
    assert [url for url in asked if not url.startswith(own)] == []
    assert len(asked) > 10
    assert "real time" in page.inner_text("#status")
    context.close()
    _eventually(lambda: len(served.visitors) == 0)
    assert source.finished


def test_the_microphone_is_recorded(studio: Studio, serve, visit) -> None:
    """What it hears is the source: a tone of 440 Hz."""
    served = serve(studio)
    page = visit(served.url)
    page.get_by_role("button", name="Record audio").click()
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Stop", exact=True).click()
    wait_made(page, 1)
    ((name, seconds),) = heard(page)
    assert name == "source"
    assert 0.5 < seconds < 12
    wav = only(served.visitors).source.wav
    spectrum = np.abs(np.fft.rfft(wav * np.hanning(len(wav))))
    assert spectrum.argmax() * 16000 / len(wav) == pytest.approx(440, abs=5)
    assert not [file for file in served.folder.rglob("*") if file.is_file()]


def test_codes_are_edited_shuffled_and_heard(studio: Studio, serve, visit, tone) -> None:
    """What is in the field is what is decoded, at as many hops as there are codes; what is no code is told."""
    served = serve(studio)
    page = visit(served.url)
    drop(page, tone("a.wav", 0.5))
    page.get_by_role("tab", name="Codes").click()
    field = page.locator("#codes textarea")
    codes = only(served.visitors).source.conditioning.tolist()
    before = field.input_value()
    assert [int(word) for word in before.split()] == codes
    value = "document.querySelector('#codes textarea').value"
    page.get_by_role("button", name="Shuffle").click()
    page.wait_for_function(f"before => {value} !== before", arg=before)
    assert sorted(map(int, field.input_value().split())) == sorted(codes)
    page.get_by_role("button", name="As they were").click()
    page.wait_for_function(f"before => {value} === before", arg=before)
    field.fill("1 2 3 99")
    page.click("#decode")
    page.wait_for_function("document.querySelector('#status').innerText.includes('number 4')")
    field.fill("1 2 3 4")
    page.click("#decode")
    wait_made(page, 2)
    sound = only(served.visitors).sounds[-1]
    expected = studio.model.decode(np.array([1, 2, 3, 4]), "p225", sampling=studio.sampling)
    np.testing.assert_allclose(sound.wav, expected.numpy(), atol=1 / 32768)
    assert heard(page)[1][0] == "edited codes, p225"


def test_new_speech_and_a_continuation_come_from_the_prior(
    studio: Studio, serve, visit, tone
) -> None:
    """New speech has the seconds that were asked for; a continuation begins with the recording's codes."""
    served = serve(studio)
    page = visit(served.url)
    page.get_by_role("tab", name="New speech").click()
    page.get_by_label("Seconds").fill("0.5")
    page.click("#draw")
    wait_made(page, 1)
    assert heard(page) == [["new speech, p225", 0.5]]
    drop(page, tone("a.wav", 0.5))
    page.get_by_label("Go on from the recording").check()
    page.click("#draw")
    wait_made(page, 2)
    source, sound = only(served.visitors).source, only(served.visitors).sounds[-1]
    assert sound.title == "continuation, p225"
    page.get_by_role("tab", name="Codes").click()
    codes = [int(word) for word in page.locator("#codes textarea").input_value().split()]
    begun = len(codes) - round(0.5 * studio.model.frame_rate_hz)
    assert 0 < begun <= len(source.conditioning)
    assert codes[:begun] == source.conditioning[:begun].tolist()


def test_phones_are_shown_when_asked_for(studio: Studio, serve, visit, say, tmp_path: Path) -> None:
    """A row of phones over the codes on the same axis, once the words are given."""
    pytest.importorskip("pocketsphinx", reason="needs pocketsphinx (the extra `align`)")
    served = serve(studio)
    page = visit(served.url)
    soundfile.write(tmp_path / "a.wav", say("nine bad apples", "en-us"), 22050)
    drop(page, tmp_path / "a.wav")
    names = page.locator("#picture .names span")
    assert names.all_inner_texts() == ["wave", "spectrogram", "codes"]
    page.fill("#text textarea, #text input", "Nine bad apples")
    page.click("#phones")
    page.wait_for_selector("#picture .names span:text-is('phones')")
    assert names.all_inner_texts() == ["wave", "spectrogram", "phones", "codes"]
    label = page.get_attribute("#picture svg", "aria-label")
    assert "n ay n b ae d" in label


def test_a_file_that_is_refused_is_named(studio: Studio, serve, visit, tone) -> None:
    """Its name, what was found and the limit; the page goes on, and nothing of the file stays."""
    served = serve(studio)
    page = visit(served.url)
    page.locator("#given input[type=file]").first.set_input_files(tone("long.wav", 12.5))
    page.wait_for_function(
        "document.querySelector('#status').innerText.includes('longer than 12 s')"
    )
    assert page.inner_text("#status").startswith("long.wav")
    assert not [file for file in served.folder.rglob("*") if file.is_file()]
    drop(page, tone("short.wav", 0.2))


def test_making_can_be_stopped(studio: Studio, serve, visit, tone) -> None:
    """The sound says that it is not whole, and the next visitor is served."""
    held = Held.of(studio)
    served = serve(held, at_once=1)
    page = visit(served.url)
    drop(page, tone("a.wav", 5.0))
    page.click("#convert")
    wait_playing(page)
    page.click("#stop")
    page.wait_for_function(f"{SOUNDS}[1].state === 'failed'")
    held.released.set()
    other = visit(served.url)
    drop(other, tone("b.wav", 0.5))
    other.click("#convert")
    wait_made(other, 2)


def test_a_click_after_stop_is_not_lost(studio: Studio, serve, visit, tone) -> None:
    """What is asked for while the stopped sound has its block in hand is made after it, and made once."""
    held = Held.of(studio)
    page = visit(serve(held).url)
    drop(page, tone("a.wav", 1.0))
    page.click("#convert")
    wait_playing(page)
    page.click("#stop")
    page.wait_for_function(f"{SOUNDS}[1].state === 'failed'")
    page.dblclick("#convert")
    held.released.set()
    wait_made(page, 2)
    assert heard(page) == [["source", 1.0], ["p225", 1.0]]
    page.wait_for_function("working.size === 0")
    assert held.begun == 2


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_nothing_serious_stands_in_the_way(
    studio: Studio, serve, visit, tone, width: int, scheme: str
) -> None:
    """axe-core on the empty page and on every tab with sounds; no sideways scrolling; the consent notice is there."""
    page = visit(serve(studio).url, width, scheme)
    assert "voice without consent" in page.inner_text("[role=note]")
    found = barriers(page)
    drop(page, tone("a.wav", 0.5))
    page.click("#convert")
    wait_made(page, 2)
    for tab in ("Codes", "New speech", "Convert"):
        page.get_by_role("tab", name=tab).click()
        found += barriers(page)
        keep_screenshot(page, f"demo-{tab.replace(' ', '-').lower()}-{width}-{scheme}")
    assert found == []
    assert overflow(page) == 0


@pytest.mark.slow
def test_ten_visitors_are_served_and_the_eleventh_waits_in_line(
    studio: Studio, serve, visit, tone
) -> None:
    """Ten hear their first block while the eleventh is told its place; in the end all have all of it."""
    held = Held.of(studio)
    served = serve(held, at_once=10)
    path = tone("a.wav", 2.0)
    pages = [visit(served.url) for _ in range(11)]
    for page in pages:
        drop(page, path)
    for page in pages[:10]:
        page.click("#convert")
        wait_playing(page)
    pages[10].click("#convert")
    pages[10].wait_for_function(
        "document.querySelector('#status').innerText.includes('queue: 1/1')"
    )
    assert len(heard(pages[10])) == 1
    held.released.set()
    for page in pages:
        wait_made(page, 2)
        assert heard(page) == [["source", 2.0], ["p225", 2.0]]
    visitors = list(served.visitors._visitors.values())
    assert len(visitors) == 11
    assert all(sound.finished for visitor in visitors for sound in visitor.sounds)


def _eventually(true: Callable[[], bool]) -> None:
    """Wait for something that follows without a sign on the page."""
    for _ in range(600):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")
