"""FLAC (RFC 9639): joined files, and the number of samples where the header lacks it or is wrong."""

from typing import NamedTuple

from vqspeech.audio.formats.part import Content, Part

_HEADER = 42  # fLaC, the head of a block, STREAMINFO
_LARGEST_FRAME = 1 << 20
_SHOWN_BLOCK = {1: 192, **{code: 576 << (code - 2) for code in range(2, 6)}}
_SHOWN_BLOCK |= {code: 256 << (code - 8) for code in range(8, 16)}


class _Frame(NamedTuple):
    """Where a frame begins, its first sample and how many it has."""

    place: int
    first: int
    samples: int


def parts(content: Content, start: int) -> list[Part]:
    """Return a part for each stream in the file; see `find_parts`."""
    starts = [start]
    while (place := _next_stream(content, starts[-1] + _HEADER)) >= 0:
        starts.append(place)
    ends = [*starts[1:], len(content)]
    return [_part(content, first, last) for first, last in zip(starts, ends, strict=True)]


def _next_stream(content: Content, start: int) -> int:
    """Return where a stream begins: its name and a STREAMINFO block of 34 bytes, or -1."""
    while (place := content.find(b"fLaC", start)) >= 0:
        if content[place + 4 : place + 8] in (b"\x00\x00\x00\x22", b"\x80\x00\x00\x22"):
            return place
        start = place + 4
    return -1


def _part(content: Content, start: int, end: int) -> Part:
    head = content[start : start + _HEADER]
    if len(head) < _HEADER or head[4] & 0x7F:
        return Part(b"", start, end)
    if content[end - 128 : end - 125] == b"TAG":
        end -= 128
    stated = int.from_bytes(head[21:26], "big") & 0xFFFFFFFFF
    last = _last_frame(content, start + _HEADER, end, int.from_bytes(head[8:10], "big"))
    if last is None:
        return Part(b"", start, end)
    there, warning = last.first + last.samples, ""
    if there == stated:
        return Part(b"", start, end)
    whole = _crc16(content[last.place : end]) == 0
    if not whole and stated == 0:
        there, end, warning = last.first, last.place, "it breaks off in its last frame"
    if there < stated or (stated and not whole):
        return Part(b"", start, end)
    if stated:
        warning = f"the header states {stated} samples and {there} are there; read to the end"
    size = ((head[21] & 0xF0) << 32 | there).to_bytes(5, "big")
    # The checksum is that of the stated samples.
    return Part(head[:21] + size + bytes(16), start + _HEADER, end, warning)


def _last_frame(content: Content, start: int, end: int, block: int) -> _Frame | None:
    """Search for the last frame backwards from the end; `block` is the number of samples in all frames but it."""
    first = max(start, end - _LARGEST_FRAME)
    data = content[first:end]
    place = len(data)
    while (place := data.rfind(b"\xff", 0, place)) >= 0:
        if frame := _frame(data[place : place + 16], first + place, block):
            return frame
    return None


def _frame(head: bytes, place: int, block: int) -> _Frame | None:
    """Read the header of a frame, RFC 9639 section 9.1; None where there is none."""
    if len(head) < 6 or head[1] & 0xFE != 0xF8 or head[3] & 1 or head[3] >> 4 > 10:
        return None
    size, rate = head[2] >> 4, head[2] & 15
    if size == 0 or rate == 15:
        return None
    length = next((n for n in range(8) if not head[4] & (0x80 >> n)), 8)
    if length in (1, 8):
        return None
    length = max(1, length)
    number = head[4] & (0x7F >> (length if length > 1 else 0))
    for byte in head[5 : 4 + length]:
        if byte >> 6 != 2:
            return None
        number = number << 6 | byte & 0x3F
    at = 4 + length
    samples = _SHOWN_BLOCK.get(size, 0)
    if size in (6, 7):
        samples = int.from_bytes(head[at : at + size - 5], "big") + 1
        at += size - 5
    at += {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if at >= len(head) or _crc8(head[:at]) != head[at]:
        return None
    return _Frame(place, number if head[1] & 1 else number * block, samples)


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc


def _crc16(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = (crc << 8) & 0xFFFF ^ _CRC16[crc >> 8 ^ byte]
    return crc


def _crc16_row(byte: int) -> int:
    crc = byte << 8
    for _ in range(8):
        crc = (crc << 1 ^ 0x8005) & 0xFFFF if crc & 0x8000 else crc << 1
    return crc


_CRC16 = [_crc16_row(byte) for byte in range(256)]
