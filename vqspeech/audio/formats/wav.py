"""RIFF, RF64 and BW64: whether the size of the data chunk is that of the data."""

import struct

from vqspeech.audio.formats.part import TOLERANCE_S, Content, Part
from vqspeech.errors import AudioError

# Writers to a pipe cannot go back to fill in the size. SoX leaves 0x7FFFF000 in whole frames, ffmpeg 0xFFFFFFFF,
# others a large number, such as 2 000 000 000.
_PLACEHOLDER = 0x7FFFF000 - 4096
_LIKELY_PLACEHOLDER = 1_900_000_000


def parts(content: Content, start: int) -> list[Part]:
    """Return each recording from `start` on, with a header that states the size there is; see `find_parts`."""
    found: list[Part] = []
    while data := _find_data(content, start):
        part, start = _part(content, start, *data)
        found.append(part)
        if content[start : start + 4] not in (b"RIFF", b"RF64"):
            break
    return found or [Part(b"", start, len(content))]


def _part(
    content: Content, start: int, place: int, stated: int, byte_rate: int, block: int
) -> tuple[Part, int]:
    """Return a recording whose samples begin at `place`, and where another may begin."""
    there, warning = len(content) - place, ""
    if stated < there and (behind := _chunks_end(content, place + stated)) is not None:
        there = stated
    else:
        behind = len(content)
        if stated < there:
            warning = (
                f"the header states {stated} bytes of sound and {there} are there; read to the end"
            )
        elif there < stated < _PLACEHOLDER:
            warning = _why_short(stated, there, byte_rate)
    there -= there % max(1, block)
    if place - start + there >= 1 << 32:
        # Only RF64 can state it, and libsndfile reads that as far as it goes.
        return Part(b"", start, len(content), warning), len(content)
    form = content[start + 8 : place - 4]
    head = b"RIFF" + struct.pack("<I", len(form) + 4 + there) + form + struct.pack("<I", there)
    return Part(head, place, place + there, warning), behind


def _why_short(stated: int, there: int, byte_rate: int) -> str:
    """Return the warning for a header that states too much; raise beyond `TOLERANCE_S`."""
    if stated >= _LIKELY_PLACEHOLDER and there > 0:
        return "the header does not say how long it is; read to the end"
    if there == 0 or stated - there > TOLERANCE_S * byte_rate:
        raise AudioError(f"truncated, {there} of the {stated} bytes its header announces")
    return f"the last {stated - there} bytes that the header states are not there"


def _find_data(content: Content, start: int) -> tuple[int, int, int, int] | None:
    """Return where the samples begin, how many bytes are stated, bytes a second and bytes a frame."""
    if content[start + 8 : start + 12] != b"WAVE":
        return None
    long_size = None
    byte_rate = block = 0
    place = start + 12
    while len(chunk := content[place : place + 8]) == 8:
        name, length = struct.unpack("<4sI", chunk)
        place += 8
        if name == b"ds64" and len(sizes := content[place : place + 16]) == 16:
            long_size = struct.unpack("<QQ", sizes)[1]
        elif name == b"fmt " and len(form := content[place : place + 14]) == 14:
            byte_rate, block = struct.unpack("<8xIH", form)
        elif name == b"data":
            if long_size is not None and length == 0xFFFFFFFF:
                length = long_size
            return place, length, byte_rate, block
        place += length + length % 2
    return None


def _chunks_end(content: Content, place: int) -> int | None:
    """Return where the chunks from `place` on end, at another file or with this one; None where they are none."""
    if place % 2 and content[place : place + 1] == b"\0":
        place += 1
    while len(content) - place >= 8:
        name, length = struct.unpack("<4sI", content[place : place + 8])
        if name in (b"RIFF", b"RF64") or (name[:3] == b"TAG" and len(content) - place == 128):
            return place
        if not all(32 <= c < 127 for c in name) or place + 8 + length > len(content):
            return None
        place += 8 + length + length % 2
    return place
