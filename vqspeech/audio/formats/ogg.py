"""Ogg, RFC 3533: links that follow one another, missing pages, a missing end; Vorbis and Opus alike."""

import struct

from vqspeech.audio.formats.part import Content, Part

_FIRST, _LAST = 2, 4


def parts(content: Content, start: int) -> list[Part]:
    """Return a part for each link; see `find_parts`."""
    links: list[tuple[int, list[str]]] = []
    place, beginning = start, False
    sounding: set[int] = (
        set()
    )  # links with sound: those whose pages get beyond a granule position of 0
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
        if struct.unpack("<q", page[6:14])[0] > 0:
            sounding.add(len(links) - 1)
        place += size
        end = place
    if not links:
        return [Part(b"", start, len(content))]
    if not ended:
        links[-1][1].append("it breaks off without an end mark")
    ends = [*(first for first, _ in links[1:]), end]
    if not sounding:
        return [Part(b"", links[0][0], end, _sentence(links[0][1]))]
    # Decoders refuse headers that no sound follows; what there is to say of them goes with another link.
    passed_over = len(links) - len(sounding)
    links[max(sounding)][1].extend(["headers that no sound follows were passed over"] * passed_over)
    return [
        Part(b"", links[link][0], ends[link], _sentence(links[link][1]))
        for link in sorted(sounding)
    ]


def _sentence(found: list[str]) -> str:
    if not found:
        return ""
    more = f" (and {len(found) - 1} more such places)" if len(found) > 1 else ""
    return f"{found[0]}{more}; what is there is read"
