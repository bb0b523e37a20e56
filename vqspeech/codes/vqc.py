"""The file format ``.vqc``: the codes of one recording, entropy-coded, after a header of some 25 bytes.

========= ======================================================================================================
bytes     content
========= ======================================================================================================
3         ``VQC``
1         version of the format (upper four bits) and coder: 0 unigram, 1 a learned prior
2         CRC-16 (CCITT) of all other bytes of the file: detects damage
4         CRC-32 of the header, without both checksums, and of the codes, two bytes each: detects wrong codes
4         first digits of an id: of the codebook, zeros for unknown; with coder 1 of the prior, which implies the
          codebook
1 to 9    sample rate in Hz, hop, codebook size, samples, and with coder 1 the speaker that the prior is
          conditioned on, 0 for none, else its index + 1: each a number, seven bits a byte, lowest first, the
          eighth set where more follow
the rest  the codes, encoded by `vqspeech.codes.entropy`
========= ======================================================================================================

Checksums and codes are big-endian. The unigram coder's files decode alike on every machine. A learned prior computes
with floating-point numbers, whose last bits may differ between machines: the checksum of the codes detects that. Names
of recording and model are not kept: a record is named after its file and its codebook when it is read.
"""

import binascii
import struct
import zlib
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vqspeech.codes import entropy
from vqspeech.codes.entropy import LARGEST_CODEBOOK, AdaptiveUnigram, CodePrior, Predictor, Tick
from vqspeech.codes.record import ID_DIGITS
from vqspeech.errors import CodesError

if TYPE_CHECKING:
    from vqspeech.codes.record import CodesRecord

SUFFIX = ".vqc"

MAGIC = b"VQC"
VERSION = 1


MOST_CODES = 1 << 26
"""Most codes of one file, three days at 250 per second: a header with more is damaged or malicious."""

_UNIGRAM, _PRIOR = 0, 1
_UNKNOWN = "0" * ID_DIGITS
_START = len(MAGIC) + 1
_SUMS = struct.Struct(">HI")
_LONGEST_NUMBER = 9

PriorFinder = Callable[[str], CodePrior | None]
"""Returns the prior whose id begins with these digits, another one if the user named it, or None."""


class _Header(NamedTuple):
    coder: int
    of: str
    sample_rate: int
    hop: int
    codebook_size: int
    samples: int
    speaker: int = 0

    def to_bytes(self) -> bytes:
        """Return the header without its checksums."""
        content = MAGIC + bytes([VERSION << 4 | self.coder]) + bytes.fromhex(self.of)
        for value in (self.sample_rate, self.hop, self.codebook_size, self.samples):
            content += _number(value)
        return content + (_number(self.speaker) if self.coder == _PRIOR else b"")


def pack(
    record: "CodesRecord",
    prior: CodePrior | None = None,
    speaker: str | None = None,
    progress: Tick | None = None,
) -> bytes:
    """Return the content of a file with the codes of a record.

    Parameters
    ----------
    record : CodesRecord
        The codes of a recording.
    prior : CodePrior, optional
        Predicts the codes; without it, an adaptive unigram does.
    speaker : str, optional
        Speaker that the prior is conditioned on.
    progress : callable, optional
        Called with codes done and codes in all, after each code.

    Raises
    ------
    CodesError
        When the prior has another codebook or lacks the speaker, or the recording or its codebook is too large for the
        format.
    """
    where, size = f"codes of {record.file}", record.codebook_size
    _require_bounded(size, len(record.codes), where)
    if max(record.sample_rate, record.hop, record.samples) >> 7 * _LONGEST_NUMBER:
        raise CodesError(f"{where}: a number beyond 2^{7 * _LONGEST_NUMBER}, choose another format")
    header = _Header(
        coder=_UNIGRAM,
        of=record.codebook or _UNKNOWN,
        sample_rate=record.sample_rate,
        hop=record.hop,
        codebook_size=size,
        samples=record.samples,
    )
    predictor: Predictor = AdaptiveUnigram(size)
    if prior is not None:
        known = prior.codebook_id[:ID_DIGITS]
        if known != record.codebook:
            raise CodesError(
                f"{where}: of codebook {record.codebook or 'unknown'}, the prior is of codebook {known};"
                " name the prior of the model that made them"
            )
        index = 0 if speaker is None else 1 + speaker_index(prior, speaker)
        header = header._replace(coder=_PRIOR, of=prior.prior_id[:ID_DIGITS], speaker=index)
        predictor = prior.predictor(speaker)
    payload = entropy.encode(record.codes, predictor, progress)
    content = header.to_bytes()
    inner = struct.pack(">I", _codes_sum(content, record.codes)) + content[_START:] + payload
    whole = binascii.crc_hqx(content[:_START] + inner, 0)
    return content[:_START] + struct.pack(">H", whole) + inner


def speaker_index(prior: CodePrior, speaker: str) -> int:
    """Return the index of a speaker in a prior; raise `CodesError` where the prior lacks it."""
    if speaker not in prior.speakers:
        raise CodesError(
            f"speaker {speaker!r}: none of the {len(prior.speakers)} speakers of the prior"
        )
    return prior.speakers.index(speaker)


def unpack(
    content: bytes,
    name: str,
    find_prior: PriorFinder | None = None,
    progress: Tick | None = None,
) -> dict[str, Any]:
    """Return the fields of the record in a file.

    Parameters
    ----------
    content : bytes
        Of the whole file.
    name : str
        Name of the recording in the record, and of the file in errors.
    find_prior : callable, optional
        Called for the prior where one is needed.
    progress : callable, optional
        Called with codes done and codes in all, after each code.

    Raises
    ------
    CodesError
        When the file is damaged, foreign or of another version, or its prior is missing, another one, or computes
        differently on this machine.
    """
    if not content.startswith(MAGIC) or len(content) <= len(MAGIC):
        raise CodesError(f"{name}: no .vqc file; expected what vqspeech codes --format vqc writes")
    version, coder = divmod(content[len(MAGIC)], 16)
    if version != VERSION or coder not in (_UNIGRAM, _PRIOR):
        raise CodesError(
            f"{name}: version {version} of the format with coder {coder} found, expected version"
            f" {VERSION} with coder 0 or 1; another version of vqspeech wrote it"
        )
    sums = content[_START : _START + _SUMS.size]
    if len(sums) < _SUMS.size:
        raise CodesError(f"{name}: cut short within the header")
    of_file, of_codes = _SUMS.unpack(sums)
    if of_file != binascii.crc_hqx(content[:_START] + content[_START + 2 :], 0):
        raise CodesError(f"{name}: damaged or cut short: its checksum is that of other bytes")
    header, payload = _read_header(content[_START + _SUMS.size :], coder, name)
    frames = -(-header.samples // header.hop)
    _require_bounded(header.codebook_size, frames, name)
    codebook = "" if header.of == _UNKNOWN else header.of
    predictor: Predictor = AdaptiveUnigram(header.codebook_size)
    if coder == _PRIOR:
        prior = None if find_prior is None else find_prior(header.of)
        if prior is None:
            raise CodesError(f"{name}: needs prior {header.of} to be read; name it with --prior")
        codebook = prior.codebook_id[:ID_DIGITS]
        predictor = _start(prior, header, name)
    try:
        codes = entropy.decode(payload, frames, predictor, progress)
        wrong = _codes_sum(header.to_bytes(), codes) != of_codes
    except CodesError:
        wrong = True
    if wrong and coder == _PRIOR:
        raise CodesError(
            f"{name}: other codes come out than went in: the prior computes otherwise on this machine than on"
            " the one that wrote the file; read it there, or write it with --coder unigram, which is the same"
            " everywhere"
        )
    if wrong:
        raise CodesError(f"{name}: damaged: other codes come out than went in")
    return {
        "file": name,
        "codes": codes.tolist(),
        "hop": header.hop,
        "sample_rate": header.sample_rate,
        "samples": header.samples,
        "codebook_size": header.codebook_size,
        "model": f"codebook {codebook or 'unknown'}",
        "codebook": codebook,
    }


def _read_header(content: bytes, coder: int, name: str) -> tuple[_Header, bytes]:
    """Return the header after the checksums, and the rest."""
    stream = BytesIO(content)
    try:
        of = stream.read(ID_DIGITS // 2)
        numbers = [_read_number(stream) for _ in range(5 if coder == _PRIOR else 4)]
    except EOFError:
        raise CodesError(f"{name}: damaged: its header does not end") from None
    header = _Header(coder, of.hex(), *numbers)
    for key in ("sample_rate", "hop", "codebook_size", "samples"):
        if getattr(header, key) == 0:
            raise CodesError(f"{name}: damaged: its {key} is 0, expected a number above 0")
    return header, stream.read()


def _number(value: int) -> bytes:
    digits = []
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


def _read_number(stream: BytesIO) -> int:
    value = 0
    for place in range(_LONGEST_NUMBER):
        (digit,) = stream.read(1) or (None,)
        if digit is None:
            break
        value |= (digit & 0x7F) << 7 * place
        if digit <= 0x7F:
            return value
    raise EOFError


def _codes_sum(header: bytes, codes: "Sequence[int] | np.ndarray") -> int:
    return zlib.crc32(np.asarray(codes, dtype=">u2").tobytes(), zlib.crc32(header))


def _require_bounded(codebook_size: int, frames: int, where: str) -> None:
    if codebook_size > LARGEST_CODEBOOK:
        raise CodesError(
            f"{where}: codebook_size is {codebook_size}, a .vqc file holds {LARGEST_CODEBOOK} at most"
        )
    if frames > MOST_CODES:
        raise CodesError(f"{where}: {frames} codes, a .vqc file holds {MOST_CODES} at most")


def _start(prior: CodePrior, header: _Header, where: str) -> Predictor:
    """Return a prior's predictor, if it is the prior in the header."""
    own = prior.prior_id[:ID_DIGITS]
    if own != header.of:
        raise CodesError(
            f"{where}: written with prior {header.of}, this one is {own}; name the one it was written with"
        )
    if header.codebook_size != prior.codebook_size or header.speaker > len(prior.speakers):
        raise CodesError(
            f"{where}: damaged: codebook_size {header.codebook_size} and speaker {header.speaker} are not its"
            f" prior's, which has {prior.codebook_size} codes and {len(prior.speakers)} speakers"
        )
    return prior.predictor(prior.speakers[header.speaker - 1] if header.speaker else None)
