"""The parts of a sound file that libsndfile has to be given for all of it to be read.

libsndfile trusts headers: it reads as much as the first one states, and only the first part of joined files. Here
each format is searched for its parts; each gets a header that states what is there.
"""

from vqspeech.audio.formats import flac, mp3, ogg, wav
from vqspeech.audio.formats.part import Content, Part, Window

__all__ = ["Content", "Part", "Window", "find_parts"]


def find_parts(content: Content) -> list[Part]:
    """Find the parts of a sound file in order, at least one; a file of another format is one part, unchanged.

    Raises `AudioError`, without the file's name, where a header states clearly more sound than the file holds (more
    than `TOLERANCE_S` is missing).
    """
    start = mp3.after_tags(content, 0)
    magic = content[start : start + 4]
    if magic in (b"RIFF", b"RF64", b"BW64"):
        return wav.parts(content, start)
    if magic == b"OggS":
        return ogg.parts(content, start)
    if magic == b"fLaC":
        return flac.parts(content, start)
    return mp3.parts(content, start) or [Part(b"", 0, len(content))]
