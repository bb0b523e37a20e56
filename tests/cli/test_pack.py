"""``vqspeech pack``: from a store to a pack in one command, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from labelled_store import Sound, write_sounds

from vqspeech.corpus.store import PackedStore
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.training.data.codestore import CodeStore, extract_codes
from vqspeech.training.data.pack import Pack


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store of three utterances."""
    draw = np.random.default_rng(0)
    return write_sounds(
        tmp_path / "store",
        [
            Sound("ann", "train", draw.integers(-9000, 9000, 700)),
            Sound("bob", "train", draw.integers(-9000, 9000, 900)),
            Sound("çelik", "test", draw.integers(-9000, 9000, 1)),
        ],
    )


def test_one_command_packs_and_says_what_is_in_it(run, store: Path, tiny_model_file: Path) -> None:
    """The last lines count hours, utterances, speakers, bits and megabytes; info says the same of the pack."""
    done = run("pack", store, "--out", "pack")
    assert done.status == 0, done.err
    for part in ("3 utterances", "2 speakers", "bits a sample", " MB in 3 files", "codebook"):
        assert part in done.out
    pack = Pack(Path("pack"))
    assert pack.model == str(tiny_model_file)
    assert [u.split for u in pack.utterances] == ["train", "train", "test"]
    assert run("info", "pack").out == done.out
    assert sorted(path.name for path in Path().iterdir()) == ["pack", "store"]


def test_codes_that_are_there_are_taken_without_their_shifts(
    run, store: Path, tiny_model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of codes with several shifts serves; one that is not there is made and kept."""
    extract_codes(tiny_model, PackedStore(store), Path("shifted"), shifts=4)
    assert run("pack", store, "--out", "a").status == 0
    assert run("pack", store, "--out", "b", "--codes", "shifted").status == 0
    assert run("pack", store, "--out", "c", "--codes", "made").status == 0
    assert CodeStore(Path("made")).shifts == 1
    a, b, c = (Pack(Path(name)) for name in "abc")
    assert np.array_equal(a.codes, b.codes)
    assert np.array_equal(a.codes, c.codes)


def test_codes_of_another_model_are_refused(run, store: Path, tiny_model) -> None:
    """Packing them would teach a decoder the wrong codes."""
    other = Autoencoder(tiny_model.config, tiny_model.speakers).eval()
    assert other.codebook_id != tiny_model.codebook_id
    extract_codes(other, PackedStore(store), Path("codes"))
    error = run("pack", store, "--out", "pack", "--codes", "codes").error
    assert error.startswith("codes: codes whose codebook_id is ")
    assert tiny_model.codebook_id in error
    assert not Path("pack").exists()


def test_an_existing_pack_is_kept_unless_forced(run, store: Path) -> None:
    """Before any work is done."""
    assert run("pack", store, "--out", "pack").status == 0
    error = run("pack", "nowhere", "--out", "pack").error
    assert error == "pack exists: it is kept unless you say --force"
    assert run("pack", store, "--out", "pack", "--force").status == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere", "--out", "pack"], "nowhere: not a finished store"),
        (["store", "--out", "store"], "store holds other files"),
        (["store", "--out", "store/audio.i16"], "is not a folder"),
        (["store", "--out", "pack", "--part-mb", "0"], "not a number of 0.01 or more"),
        (["store", "--out", "pack", "--model", "none"], "none"),
    ],
)
def test_what_cannot_be_is_one_line(run, store: Path, arguments: list[str], complaint: str) -> None:
    """It says what is wrong, and nothing is written."""
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    assert complaint in run("pack", *arguments).error
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before


def test_a_model_without_codes_is_refused(run, store: Path, continuous_model_file: Path) -> None:
    """A pack is of codes."""
    error = run("pack", store, "--out", "pack", "--model", continuous_model_file).error
    assert "no codes" in error
    assert not Path("pack").exists()


def test_info_of_a_damaged_pack_is_one_line(run, store: Path) -> None:
    """It reads all of it."""
    run("pack", store, "--out", "pack")
    (Path("pack") / "codes-000.xz").unlink()
    assert run("info", "pack").error.startswith("pack/codes-000.xz: No such file")
