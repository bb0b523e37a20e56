"""Ogg, RFC 3533: links that follow one another, missing pages, a missing end; Vorbis and Opus alike."""

import struct

from vqspeech.audio.formats.part import Content, Part

_FIRST, _LAST = 2, 4


def parts(content: Content, start: int) -> list[Part]:
    """Return a part for each link; see `find_parts`."""
    links: list[tuple[int, list[str]]] = []
    place, beginning = start, False
    numbers: dict[int, int] = {}
    ended = False
    end = len(content)
    while len(page := content[place : place + 27]) == 27:
        if page[:4] != b"OggS":
            following = content.find(b"OggS", place)
            if following >= 0:
                links[-1][1].append(f"{following - place} bytes that are no page were passed over")
            if following < 0:
                break
            place = following
            continue
        kind, segments = page[5], page[26]
        serial, number = struct.unpack("<II", page[14:22])
        if not links or (kind & _FIRST and not beginning):
            if links and not ended:
                links[-1][1].append("it breaks off without an end mark")
            links.append((place, []))
            numbers, ended = {}, False
        beginning = bool(kind & _FIRST)
        if links and serial in numbers and number > numbers[serial] + 1:
            links[-1][1].append(f"{number - numbers[serial] - 1} pages are missing")
        numbers[serial] = number
        size = 27 + segments + sum(content[place + 27 : place + 27 + segments])
        if place + size > len(content):
            break
        if content[place + size : place + size + 4] != b"OggS":
            # A page that was cut hides the beginning of the next file.
            inside = content.find(b"OggS", place + 4)
            if 0 <= inside < place + size:
                links[-1][1].append("a page is cut")
                end = place = inside
                continue
        ended = ended or bool(kind & _LAST)
        place += size
        end = place
    if not links:
        return [Part(b"", start, len(content))]
    if not ended:
        links[-1][1].append("it breaks off without an end mark")
    ends = [*(first for first, _ in links[1:]), end]
    return [
        Part(b"", first, last, _sentence(found))
        for (first, found), last in zip(links, ends, strict=True)
        if last > first
    ]


def _sentence(found: list[str]) -> str:
    if not found:
        return ""
    more = f" (and {len(found) - 1} more such places)" if len(found) > 1 else ""
    return f"{found[0]}{more}; what is there is read"
