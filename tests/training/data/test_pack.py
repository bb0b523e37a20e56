"""Packs: what was packed comes back bit for bit, and what is not whole is refused by name."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bare import run_without
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_store import Sound, write_sounds
from one_line import one_line

from vqspeech.corpus.store import PackedStore
from vqspeech.errors import ConfigurationError, CorpusError
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.training.data import packing
from vqspeech.training.data.coded import CodedStore, require_codebook
from vqspeech.training.data.codestore import extract_codes
from vqspeech.training.data.pack import INDEX, Pack
from vqspeech.training.data.packing import SMALLEST_PART, write_pack

SPEAKERS = ("ann", "çelik", "bob")


def _coded(folder: Path, lengths: list[int], model: Autoencoder, shifts: int = 1) -> CodedStore:
    """Return a store of noise, every level of it likely, beside its codes."""
    draw = np.random.default_rng(len(lengths))
    sounds = [
        Sound(
            SPEAKERS[i % 3],
            ("train", "valid", "test", "train")[i % 4],
            draw.integers(-32768, 32768, length),
        )
        for i, length in enumerate(lengths)
    ]
    return _coded_of(folder, sounds, model, shifts)


def _coded_of(folder: Path, sounds: list[Sound], model: Autoencoder, shifts: int = 1) -> CodedStore:
    store = PackedStore(write_sounds(folder / "store", sounds))
    return CodedStore(store, extract_codes(model, store, folder / "codes", shifts))


def _pack(coded: CodedStore, out: Path, **settings: object) -> Path:
    write_pack(coded, out, origin="noise", model="tiny", **settings)
    return out


@pytest.fixture
def pack(tiny_model: Autoencoder, tmp_path: Path) -> Path:
    """Return a pack in several parts."""
    coded = _coded(tmp_path, [9000, 1, 15, 16, 17, 7000, 5000], tiny_model)
    return _pack(coded, tmp_path / "pack", part_bytes=SMALLEST_PART)


@given(
    st.lists(st.sampled_from([1, 2, 15, 16, 17, 31, 32, 33, 4000]), min_size=1, max_size=9),
    st.integers(1, 3),
    st.sampled_from([SMALLEST_PART, 40_000_000]),
)
@settings(max_examples=25)
def test_levels_and_codes_are_those_of_the_store(
    tiny_model: Autoencoder, lengths: list[int], shifts: int, part_bytes: int
) -> None:
    """Bit for bit, recordings of one sample and those that end at the edge of a code among them; not shifted."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        coded = _coded(folder, lengths, tiny_model, shifts)
        found = Pack(_pack(coded, folder / "pack", part_bytes=part_bytes))
        assert found.speakers == coded.speakers
        for key in ("sample_rate", "hop", "quantization", "codebook_id"):
            assert getattr(found, key) == getattr(coded, key)
        end = sum(lengths)
        assert np.array_equal(found.levels(0, end), coded.levels(0, end))
        assert found.levels(0, end).dtype == np.uint8
        assert found.codes.dtype == np.uint16
        assert len(found.codes) == sum(-(-length // 16) for length in lengths)
        for index, (ours, theirs) in enumerate(
            zip(found.utterances, coded.utterances, strict=True)
        ):
            for key in ("corpus", "speaker", "utterance", "split", "offset", "samples", "frames"):
                assert getattr(ours, key) == getattr(theirs, key)
            codes = found.codes[ours.frame : ours.frame + ours.frames]
            assert np.array_equal(codes, tiny_model.encode(coded.store.wav(index)).numpy())


def test_no_file_is_larger_than_asked_for(
    pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise does not compress, and still no part outgrows its limit; several streams share a part."""
    parts = json.loads((pack / INDEX).read_text())["parts"]
    sizes = {path.name: path.stat().st_size for path in pack.glob("*.xz")}
    assert sizes == {part["file"]: part["bytes"] for part in parts}
    assert max(sizes.values()) <= SMALLEST_PART
    assert sum(part["kind"] == "levels" for part in parts) > 1
    monkeypatch.setattr(packing, "STREAM_BYTES", 1000)
    again = tmp_path / "again"
    write_pack(Pack(pack), again, origin="noise", model="tiny", part_bytes=SMALLEST_PART)
    parts = json.loads((again / INDEX).read_text())["parts"]
    assert max(len(part["streams"]) for part in parts) > 5
    assert max(path.stat().st_size for path in again.glob("*.xz")) <= SMALLEST_PART
    assert np.array_equal(Pack(again).levels(0, 21049), Pack(pack).levels(0, 21049))


def test_smooth_sound_takes_fewer_bits_than_its_levels(
    tiny_model: Autoencoder, tmp_path: Path
) -> None:
    """What neighbours have in common is not stored twice: less than half of the 8 bits of a level."""
    tone = np.rint(9000 * np.sin(np.arange(100_000) / 40)).astype(np.int16)
    coded = _coded_of(tmp_path, [Sound("ann", "train", tone)], tiny_model)
    found = Pack(_pack(coded, tmp_path / "pack"))
    assert 8 * found.packed_bytes / len(tone) < 4
    assert "bits a sample" in found.summary()


def test_reading_needs_numpy_alone(pack: Path) -> None:
    """No torch, no sound library, nothing that the bare machine may lack."""
    code = (
        "from pathlib import Path; from vqspeech.training.data.pack import Pack\n"
        "print(len(Pack(Path(sys.argv[1])).codes))"
    )
    lacking = "torch soundfile soxr librosa tqdm safetensors lightning hydra"
    assert run_without(lacking, code, pack) == f"{len(Pack(pack).codes)}\n"


@pytest.mark.parametrize(
    "name", ["levels-000.xz", "levels-001.xz", "codes-000.xz", "utterances-000.xz"]
)
@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda data: None, "No such file or directory, {} bytes expected"),
        (lambda data: data[:-1], "bytes found, {} expected"),
        (lambda data: b"", "0 bytes found, {} expected"),
        (lambda data: data[:30] + bytes([data[30] ^ 1]) + data[31:], "damaged, or of another pack"),
    ],
)
def test_a_part_that_is_not_the_one_written_is_refused(
    pack: Path, name: str, damage: Callable[[bytes], bytes | None], found: str
) -> None:
    """Missing, cut short or changed in one bit: one line names the file, what was found and what to do."""
    data = (pack / name).read_bytes()
    (pack / name).unlink()
    changed = damage(data)
    if changed is not None:
        (pack / name).write_bytes(changed)
    with one_line(CorpusError, found.format(len(data)), "copy it again", start=f"{pack / name}: "):
        Pack(pack)


def test_a_part_of_another_pack_is_refused(
    pack: Path, tiny_model: Autoencoder, tmp_path: Path
) -> None:
    """The same length does not make it the same sound."""
    lengths = [9000, 1, 15, 16, 17, 7000, 4000, 1000]
    other = _pack(
        _coded(tmp_path / "b", lengths, tiny_model), tmp_path / "other", part_bytes=10_000
    )
    (pack / "levels-000.xz").write_bytes((other / "levels-000.xz").read_bytes())
    with pytest.raises(CorpusError, match=r"levels-000.xz: damaged|levels-000.xz: \d+ bytes found"):
        Pack(pack)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"format": "vqspeech-store"}, "not the index of a pack"),
        ({"version": 2}, "version 2 found, this program reads 1"),
        ({"hop": "16"}, "hop is '16', expected int"),
        ({"speakers": None}, "speakers is None, expected list"),
        ({"samples": 5}, "announces 7 utterances of 5 samples"),
        ({"hop": 17}, "u0 has 9000 samples and 563 codes of 17"),
        ({"parts": [{"file": "../levels-000.xz"}]}, "the list of parts is damaged"),
        ({"parts": []}, "no table of utterances"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(
    pack: Path, change: dict[str, object], found: str
) -> None:
    """Foreign, newer, damaged or at odds with the files: one line."""
    index = json.loads((pack / INDEX).read_text()) | change
    (pack / INDEX).write_text(json.dumps(index))
    with one_line(CorpusError, found):
        Pack(pack)


def test_a_folder_without_a_readable_index_is_refused(pack: Path, tmp_path: Path) -> None:
    """A copy that was cut off before its end, and no folder at all."""
    whole = (pack / INDEX).read_text()
    (pack / INDEX).write_text(whole[: len(whole) // 2])
    with pytest.raises(CorpusError, match=r"pack.json: not JSON; copy all its files again"):
        Pack(pack)
    (pack / INDEX).unlink()
    with pytest.raises(CorpusError, match="not a finished pack"):
        Pack(pack)
    with pytest.raises(CorpusError, match="not a finished pack"):
        Pack(tmp_path / "nowhere")


def test_codes_of_another_codebook_are_refused(pack: Path, tiny_model: Autoencoder) -> None:
    """Both ids are named; those of the model pass."""
    require_codebook(Pack(pack), tiny_model.codebook_id)
    with pytest.raises(CorpusError, match=f"codebook {tiny_model.codebook_id}, the model has f00d"):
        require_codebook(Pack(pack), "f00d")


def test_an_existing_folder_is_kept_unless_a_pack_may_be_replaced(
    pack: Path, tiny_model: Autoencoder, tmp_path: Path
) -> None:
    """Force replaces packs, never anything else; an empty folder is free."""
    coded = _coded(tmp_path / "b", [40], tiny_model)
    with pytest.raises(ConfigurationError, match="--force"):
        _pack(coded, pack)
    assert len(Pack(pack).utterances) == 7
    _pack(coded, pack, force=True)
    assert len(Pack(pack).utterances) == 1
    assert sorted(path.name for path in pack.iterdir()) == [
        "codes-000.xz",
        "levels-000.xz",
        INDEX,
        "utterances-000.xz",
    ]
    letters = tmp_path / "letters"
    letters.mkdir()
    (letters / "dear.txt").write_text("Dear")
    with pytest.raises(ConfigurationError, match=r"other files \(dear.txt\)"):
        _pack(coded, letters, force=True)
    assert (letters / "dear.txt").read_text() == "Dear"
    (tmp_path / "empty").mkdir()
    assert len(Pack(_pack(coded, tmp_path / "empty")).utterances) == 1


@pytest.mark.parametrize("force", [False, True])
def test_what_is_interrupted_leaves_nothing(
    pack: Path,
    tiny_model: Autoencoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    force: bool,
) -> None:
    """Neither a half-written pack nor a temporary folder; the pack that was to be replaced stays."""
    coded = _coded(tmp_path / "b", [40, 20_000], tiny_model)
    before = {path: path.read_bytes() for path in pack.iterdir()}
    there = set(tmp_path.iterdir())

    def interrupt(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(packing.json, "dumps", interrupt)
    with pytest.raises(KeyboardInterrupt):
        _pack(coded, pack if force else tmp_path / "new", force=force)
    assert set(tmp_path.iterdir()) == there
    assert {path: path.read_bytes() for path in pack.iterdir()} == before


def test_parts_too_small_to_be_of_use_are_refused(pack: Path, tmp_path: Path) -> None:
    """In one line, before anything is written."""
    with pytest.raises(ConfigurationError, match="parts of 9999 bytes: at least 10000"):
        write_pack(Pack(pack), tmp_path / "new", origin="a", model="b", part_bytes=9999)
    assert not (tmp_path / "new").exists()
