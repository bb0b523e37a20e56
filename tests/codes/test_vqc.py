import binascii
import struct
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from bigram_prior import BigramPrior
from hypothesis import given
from hypothesis import strategies as st
from one_line import one_line

import vqspeech
from vqspeech import audio
from vqspeech.codes import files as codesfile
from vqspeech.codes import vqc
from vqspeech.codes.entropy import AdaptiveUnigram, CodePrior
from vqspeech.codes.record import CodesRecord
from vqspeech.errors import CodesError

PRIOR = BigramPrior()
CODEBOOK = PRIOR.codebook_id[:8]
KEPT = ("codes", "hop", "sample_rate", "samples", "codebook_size", "codebook")

GOLDEN = "56514310 c7b6 14a3487a 01234567 807d 8001 08 f713 6bd8bd7ddc95c09161"


def recorded(codes: list[int], size: int = 16, hop: int = 160) -> CodesRecord:
    samples = len(codes) * hop - 1
    return CodesRecord("a.wav", codes, hop, 16000, samples, size, "m", CODEBOOK)


@cache
def example(coder: str) -> bytes:
    """A file of 200 codes."""
    record = recorded(PRIOR.draw(200, seed=1))
    return vqc.pack(record, *([PRIOR, "p227"] if coder == "prior" else []))


def found(content: bytes, prior: CodePrior = PRIOR) -> CodesRecord:
    (record,) = codesfile.parse(content, "a.vqc", lambda _prior_id: prior)
    return record


def sealed(content: bytes) -> bytes:
    """The file with the checksum of what it holds now."""
    whole = binascii.crc_hqx(content[:4] + content[6:], 0)
    return content[:4] + struct.pack(">H", whole) + content[6:]


@st.composite
def records(draw: st.DrawFn) -> CodesRecord:
    size = draw(st.one_of(st.integers(1, 40), st.sampled_from([512, 65536])))
    codes = draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=60))
    hop = draw(st.integers(1, 100_000))
    return CodesRecord(
        file="a.wav",
        codes=codes,
        hop=hop,
        sample_rate=draw(st.integers(1, 10**9)),
        samples=draw(st.integers((len(codes) - 1) * hop + 1, len(codes) * hop)),
        codebook_size=size,
        model="m",
        codebook=draw(st.sampled_from(["", CODEBOOK, "ffffffff"])),
    )


@given(records())
def test_any_codes_come_back(record: CodesRecord) -> None:
    """What is needed to decode is read as it was written, from the file alone."""
    back = found(vqc.pack(record))
    assert [getattr(back, key) for key in KEPT] == [getattr(record, key) for key in KEPT]
    assert back.file == "a.vqc"


@given(
    st.lists(st.integers(0, 15), min_size=1, max_size=60), st.sampled_from([None, *PRIOR.speakers])
)
def test_any_codes_come_back_through_a_prior(codes: list[int], speaker: str | None) -> None:
    """So it is with a learned prior, whoever it was told speaks."""
    assert found(vqc.pack(recorded(codes), PRIOR, speaker)).codes == codes


@pytest.mark.parametrize("coder", ["unigram", "prior"])
def test_any_flipped_byte_is_refused(coder: str) -> None:
    """Each byte of a file is guarded: with any change of any of them it is refused in one line."""
    content = example(coder)
    for place in range(len(content)):
        for change in (0x01, 0x10, 0x80, 0xFF):
            damaged = bytearray(content)
            damaged[place] ^= change
            with one_line(CodesError):
                found(bytes(damaged))


@pytest.mark.parametrize("coder", ["unigram", "prior"])
@pytest.mark.parametrize("mended", [False, True])
def test_any_truncation_is_refused(coder: str, mended: bool) -> None:
    """A file cut short anywhere is refused, even where its first checksum is made to fit."""
    content = example(coder)
    for length in range(len(content)):
        cut = content[:length]
        with pytest.raises(CodesError):
            found(sealed(cut) if mended and length > 6 else cut)


@given(st.binary(max_size=40), st.sampled_from([0x10, 0x11]))
def test_any_bytes_behind_the_magic_are_refused(rest: bytes, kind: int) -> None:
    """A file made up to pass the first checksum ends in CodesError: not in a crash, not in codes."""
    with pytest.raises(CodesError):
        found(sealed(vqc.MAGIC + bytes([kind, 0, 0]) + rest))


def test_what_a_file_costs_beside_its_codes() -> None:
    """23 bytes for ten seconds at 16 kHz, and one more with a prior."""
    one = replace(recorded([0], size=1), hop=160_000, samples=160_000)
    assert len(vqc.pack(one)) == 23
    assert len(vqc.pack(one, BigramPrior(codebook_size=1), "p227")) == 24


def test_the_format_does_not_move() -> None:
    """Version 1, byte by byte: with another range coder or other rounding, files of before would not be read."""
    codes = [3, 3, 1, 4, 1, 5, 7, 2, 6, 5, 3, 5, 0, 7, 7, 7, 3, 2, 3, 0]
    record = CodesRecord("a.wav", codes, 128, 16000, 20 * 128 - 9, 8, "m", "01234567")
    expected = bytes.fromhex(GOLDEN)
    assert vqc.pack(record).hex() == expected.hex()
    assert found(expected).codes == codes


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"VQC", "no .vqc file"),
        (b"VQC\x20" + bytes(30), "version 2 of the format"),
        (b"VQC\x12" + bytes(30), "coder 2"),
        (b"VQC\x10", "cut short"),
        (sealed(b"VQC\x10" + bytes(8)), "header does not end"),
        (sealed(b"VQC\x10" + bytes(10) + b"\xff" * 12), "header does not end"),
        (sealed(b"VQC\x10" + bytes(10) + b"\x01\x00\x01\x01"), "hop is 0"),
        (sealed(b"VQC\x10" + bytes(10) + b"\x01\x01\x81\x80\x04\x01"), "codebook_size is 65537"),
        (
            sealed(b"VQC\x10" + bytes(10) + b"\x01\x01\x08\x80\xa0\x94\xa5\x8d\x1d"),
            "1000000000000 codes",
        ),
        (sealed(b"VQC\x10" + bytes(10) + b"\x01\x01\x08\x80\x80\x80\x20"), "other codes come out"),
    ],
)
def test_foreign_and_absurd_files(content: bytes, expected: str) -> None:
    """Each says what is wrong, and none takes the memory or the time it asks for."""
    with pytest.raises(CodesError, match=expected):
        found(content)


@pytest.mark.parametrize(
    ("prior", "expected"),
    [
        (None, "needs prior fedcba98"),
        (BigramPrior(prior_id="1" * 16), "written with prior fedcba98, this one is 11111111"),
        (BigramPrior(codebook_size=8), "codebook_size 16 and speaker 3 are not its prior's"),
        (BigramPrior(speakers=("p225",)), "which has 16 codes and 1 speakers"),
        (
            BigramPrior(noise=0.01),
            "other codes come out than went in: the prior computes otherwise",
        ),
    ],
)
def test_a_prior_that_is_another_one(prior: BigramPrior | None, expected: str) -> None:
    """None, one that is not the one, or one whose arithmetic differs: a line and no codes."""
    with pytest.raises(CodesError, match=expected):
        codesfile.parse(example("prior"), "a.vqc", prior and (lambda _: prior))


def test_a_prior_that_differs_in_its_last_bits_will_do() -> None:
    """Another order of summation in double precision does not make the file unreadable."""
    other = BigramPrior(noise=1e-14)
    assert (other.table != PRIOR.table).any()
    assert found(example("prior"), other) == found(example("prior"))


def test_a_speaker_is_told_to_the_prior() -> None:
    """The prior predicts for who speaks, on both sides; whom it does not know it is not told of."""
    record = recorded([1])
    contents = {vqc.pack(record, PRIOR, who) for who in (None, *PRIOR.speakers)}
    assert len(contents) == 4
    assert all(found(content).codes == [1] for content in contents)
    with pytest.raises(CodesError, match="speaker 'nobody': none of the 3 speakers of the prior"):
        vqc.pack(record, PRIOR, "nobody")


@pytest.mark.parametrize(
    ("record", "prior", "expected"),
    [
        (
            replace(recorded([1, 2]), codebook="ffffffff"),
            PRIOR,
            "of codebook ffffffff, the prior is of codebook 01234567",
        ),
        (recorded([0], size=65537), None, "codebook_size is 65537"),
        (
            CodesRecord("a.wav", [0], 1 << 63, 16000, 1, 16, "m", CODEBOOK),
            None,
            "a number beyond 2",
        ),
    ],
    ids=["a prior of other codes", "codes of more than two bytes", "a number too large"],
)
def test_what_could_not_be_read_again_is_not_written(
    record: CodesRecord, prior: BigramPrior | None, expected: str
) -> None:
    """One line instead."""
    with pytest.raises(CodesError, match=expected):
        vqc.pack(record, prior)


def test_it_is_smaller_than_what_else_there_is() -> None:
    """Codes that a prior knows take less than with equal chances, and that less than what else is written."""
    record = recorded(PRIOR.draw(2000, seed=2))
    uniform = 2000 * np.log2(16) / 8
    assert len(vqc.pack(record, PRIOR)) < 0.8 * uniform
    assert len(vqc.pack(record)) < 1.02 * uniform < len(record.to_npz())


def test_real_speech_costs_what_is_predicted(real_speech: Path) -> None:
    """Codes of a recording come back, in no more than 2 % above the bits that their counts give them, and a header."""
    model = vqspeech.load("vctk")
    path = sorted((real_speech / "librispeech").rglob("*.flac"))[0]
    wav = audio.read(path, model.sample_rate)
    codes = model.encode(wav).tolist()
    record = CodesRecord.of(model, codes, len(wav), str(path), "vctk")
    content = vqc.pack(record)
    assert found(content) == replace(record, file="a.vqc", model=f"codebook {record.codebook}")
    bits, unigram = 0.0, AdaptiveUnigram(model.codebook_size)
    for code in codes:
        bits -= np.log2(unigram.probabilities()[code])
        unigram.push(code)
    assert bits <= 8 * len(content) <= 1.02 * bits + 8 * 25
