"""MPEG audio: joined files, number of frames, and what lies between them.

libmpg123 takes the length from the Xing or Info tag in the first frame, else estimates it from the first frame's bit
rate, and libsndfile stops there. So each part is given a tag with the number of frames counted.
"""

from typing import NamedTuple

from vqspeech.audio.formats.part import TOLERANCE_S, Content, Part
from vqspeech.errors import AudioError

_KBPS = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_KBPS[2, 3] = _KBPS[2, 2]
_HZ = (44100, 48000, 32000)
_SEARCHED = 1 << 16
"""How far into a file its first frame may lie."""


class _Frame(NamedTuple):
    """Header of a frame."""

    size: int
    samples: int
    rate: int
    form: tuple[int, ...]


class _Run:
    """Frames of one kind that follow one another, from one tag to the next."""

    def __init__(self, start: int, frame: _Frame, tag: bytes) -> None:
        self.start, self.first, self.tag = start, frame, tag
        self.end, self.frames, self.skipped = start, 0, 0
        self.cut = False


def after_tags(content: Content, place: int) -> int:
    """Return the position after ID3v2 tags."""
    while (head := content[place : place + 10])[:3] == b"ID3" and len(head) == 10:
        size = 0
        for byte in head[6:]:
            size = size << 7 | byte & 0x7F
        place += 10 + size + (10 if head[5] & 0x10 else 0)
    return place


def parts(content: Content, start: int) -> list[Part]:
    """Return a part for each file that was joined; none where there are no frames."""
    return [_part(content, run) for run in _runs(content, start)]


def _runs(content: Content, start: int) -> list[_Run]:
    runs: list[_Run] = []
    place = _sync(content, start, start + _SEARCHED)
    while place >= 0:
        frame = _frame(content[place : place + 4])
        if frame is None:
            following = _sync(content, place + 1, len(content))
            past_tags = after_tags(content, place)
            if following >= 0 and past_tags == place and content[place : place + 3] != b"TAG":
                runs[-1].skipped += following - place
            place = following if past_tags == place else _sync(content, past_tags, len(content))
            continue
        if place + frame.size > len(content):
            runs[-1].cut = True
            break
        tag = _tag(content[place : place + frame.size])
        if not runs or tag or runs[-1].first.form != frame.form:
            runs.append(_Run(place, frame, tag))
        run = runs[-1]
        run.frames += not tag
        place = run.end = place + frame.size
    return [run for run in runs if run.frames]


def _part(content: Content, run: _Run) -> Part:
    first, warnings = run.first, []
    stated = int.from_bytes(run.tag[8:12], "big") if run.tag and run.tag[7] & 1 else None
    if stated is not None and stated > run.frames:
        missing = stated - run.frames
        if missing * first.samples / first.rate > TOLERANCE_S:
            raise AudioError(f"truncated, {run.frames} of the {stated} frames its header announces")
        warnings.append(f"the last {missing} frames that the header states are not there")
    elif stated is not None and stated < run.frames:
        warnings.append(f"the header states {stated} frames and {run.frames} are there")
    elif run.cut:
        warnings.append("it breaks off in its last frame")
    if run.skipped:
        warnings.append(f"{run.skipped} bytes between its frames are no sound")
    warning = "; ".join([*warnings, "what is there is read"]) if warnings else ""
    if stated == run.frames:
        return Part(b"", run.start, run.end, warning, mpeg=True)
    frames = run.frames.to_bytes(4, "big")
    if run.tag:
        frame = content[run.start : run.start + first.size]
        at = frame.index(run.tag[:4])
        head = frame[: at + 7] + bytes([frame[at + 7] & ~6 | 1])
        # Without the size in bytes and the table of contents, which a decoder does not need to read on.
        head += frames + frame[at + 12 :]
        if stated is None or frame[at + 7] & 6:
            head = _tag_frame(content[run.start : run.start + 4], frames)
        return Part(head, run.start + first.size, run.end, warning, mpeg=True)
    return Part(
        _tag_frame(content[run.start : run.start + 4], frames),
        run.start,
        run.end,
        warning,
        mpeg=True,
    )


def _tag_frame(like: bytes, frames: bytes) -> bytes:
    """Make a silent frame with a tag that states how many frames follow."""
    for rate in range(1, 15):
        header = bytes([like[0], like[1] | 1, rate << 4 | like[2] & 0x0C, like[3]])
        frame = _frame(header)
        assert frame is not None
        at = 4 + _side_information(header)
        if frame.size >= at + 12:
            tag = b"Info\0\0\0\1" + frames
            return (header + bytes(at - 4) + tag).ljust(frame.size, b"\0")
    return b""


def _sync(content: Content, start: int, end: int) -> int:
    """Return where two frames follow one another, or one ends with the file; -1 when nowhere before `end`."""
    while 0 <= (start := content.find(b"\xff", start)) < end:
        frame = _frame(content[start : start + 4])
        if frame is not None:
            following = start + frame.size
            after = content[following : following + 4]
            other = _frame(after)
            if following == len(content) or (other is not None and other.form == frame.form):
                return start
        start += 1
    return -1


def _frame(header: bytes) -> _Frame | None:
    """Read a frame's header, ISO 11172-3 section 2.4.1.3; None where there is none, or of free bit rate."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    rate, hz = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer == 4 or rate in (0, 15) or hz == 3 or header[3] & 3 == 2:
        return None
    sample_rate = _HZ[hz] >> {3: 0, 2: 1, 0: 2}[version]
    kbps = _KBPS[1 if version == 3 else 2, layer][rate - 1]
    padding = header[2] >> 1 & 1
    samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    if layer == 1:
        size = (12_000 * kbps // sample_rate + padding) * 4
    else:
        size = samples // 8 * kbps * 1000 // sample_rate + padding
    mono = int(header[3] >> 6 == 3)
    return _Frame(size, samples, sample_rate, (version, layer, hz, mono))


def _side_information(header: bytes) -> int:
    """Bytes between the header and the samples of a frame of layer III."""
    mono, low = header[3] >> 6 == 3, header[1] >> 3 & 3 != 3
    return (9 if mono else 17) if low else (17 if mono else 32)


def _tag(frame: bytes) -> bytes:
    """Return the Xing or Info tag of a frame, else nothing."""
    at = 4 + _side_information(frame)
    tag = frame[at : at + 120]
    return tag if tag[:4] in (b"Xing", b"Info") and len(tag) >= 12 else b""
