"""The pages of reports in a browser: readable by everyone, at any width, in light and dark."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from browsing import VIEWS, barriers, keep_screenshot, open_browser, overflow
from evaluated import RATE, evaluation, judged
from studied import reading_system, studied

from vqspeech.analysis.examples import Sound, make_examples
from vqspeech.analysis.study import study_system
from vqspeech.analysis.systems import MFCC
from vqspeech.metrics.rate import code_cost
from vqspeech.report import analysis
from vqspeech.report import evaluation as evaluated
from vqspeech.report.evaluation import Example
from vqspeech.report.plots import pictures

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Return a browser."""
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a page of each kind with all that it can have: an alarm, pictures, utterances, tables."""
    folder = tmp_path_factory.mktemp("pages")
    store, material, study = studied(folder / "s", lambda phones: phones.reshape(-1, 2).T.ravel())
    mfcc = study_system(reading_system("k-means of MFCC", MFCC), store, material, pitch={})
    examples = make_examples({}, [study.system], store, material.labels, material.scored[:2])
    examples = [
        replace(of, sounds=(*of.sounds, Sound("converted", of.sounds[0].wav))) for of in examples
    ]
    figures = {"reading": pictures(study)}
    wavs = {"source": np.zeros(RATE, np.float32), "made": np.zeros(RATE, np.float32)}
    trials = (judged("x", 0), judged("x", 1))
    cost = code_cost([], [np.array([0, 1])], 2, hop=4, sample_rate=RATE)
    found = evaluation(trials, {"words": "a parrot"}, cost)
    made = {
        "analysis": analysis.to_html(material, [study, mfcc], figures, examples),
        "evaluation": evaluated.to_html(found, [Example(of, wavs) for of in trials]),
    }
    for name, html in made.items():
        (folder / f"{name}.html").write_text(html)
    return {name: folder / f"{name}.html" for name in made}


@pytest.mark.parametrize("kind", ["analysis", "evaluation"])
@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_nothing_serious_stands_in_the_way(
    browser: "Browser", pages: dict[str, Path], kind: str, width: int, scheme: Any
) -> None:
    """axe-core finds nothing serious, and the page does not scroll sideways."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.goto(pages[kind].as_uri())
    assert barriers(page) == []
    assert overflow(page) == 0
    keep_screenshot(page, f"{kind}-{width}-{scheme}")
    context.close()


@pytest.mark.parametrize("kind", ["analysis", "evaluation"])
def test_keys_alone_choose_an_utterance_and_sort_a_table(
    browser: "Browser", pages: dict[str, Path], kind: str
) -> None:
    """One utterance is shown at a time, another by the arrow key; Enter on a head sorts."""
    page = browser.new_page()
    page.goto(pages[kind].as_uri())
    shown = page.locator(".utterance:visible")
    before = shown.get_attribute("id")
    page.focus("#picker")
    page.keyboard.press("ArrowDown")
    assert shown.get_attribute("id") != before
    head = page.locator("table.sortable th").nth(1)
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    page.close()
