from pathlib import Path

import numpy as np
import pytest
from studied import studied

from vqspeech.analysis.study import SystemStudy
from vqspeech.report.plots import PLOTS, code_order, figures, pictures


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> SystemStudy:
    """Phones 0 to 3 have codes 6 to 3: four used codes of eight."""
    _, _, found = studied(tmp_path_factory.mktemp("p") / "s", lambda phones: 6 - phones)
    return found


def test_every_plot_is_a_png_and_says_how_it_is_read(study: SystemStudy) -> None:
    """Each draws without pyplot, and has a title and a sentence."""
    images = pictures(study)
    assert images.keys() == PLOTS.keys()
    assert all(image.startswith(b"\x89PNG") for image in images.values())
    assert all(plot.title and plot.reading.endswith(".") for plot in PLOTS.values())


def test_every_plot_draws_a_collapsed_codebook(tmp_path: Path) -> None:
    """One code for everything is drawn too: that is when one wants to look."""
    _, _, collapsed = studied(tmp_path / "s", np.zeros_like)
    assert pictures(collapsed).keys() == PLOTS.keys()


def test_codes_are_ordered_by_their_phone(study: SystemStudy) -> None:
    """Used codes only, in the order of phones: iy (code 4), aa (6), s (5), silence (3)."""
    assert code_order(study.phonemes).tolist() == [4, 6, 5, 3]


def test_heat_map_draws_each_used_code_as_a_distribution_beside_the_control(
    study: SystemStudy,
) -> None:
    """Columns sum to 1; perfect codes have one phone each, shuffled ones have not."""
    axes = figures(study)["phones"].axes[:2]
    codes, control = (np.asarray(of.images[0].get_array()) for of in axes)
    assert codes.shape == control.shape == (40, 4)
    for drawn in (codes, control):
        assert drawn.sum(axis=0).tolist() == pytest.approx([1.0] * 4)
    assert codes.max(axis=0).tolist() == [1.0] * 4
    assert control.max() < 0.8
