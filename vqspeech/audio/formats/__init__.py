"""Where the sound of a file lies: the parts that libsndfile has to be given for all of it to be read.

libsndfile believes headers: it reads as much as the first one states, and the first part of joined files. Here
each format is searched for its parts, each with a header that states what is there.
"""

from vqspeech.audio.formats import flac, mp3, ogg, wav
from vqspeech.audio.formats.part import Content, Part, Window

__all__ = ["Content", "Part", "Window", "find_parts"]


def find_parts(content: Content) -> list[Part]:
    """Find the parts of a sound file, in order.

    Parameters
    ----------
    content : Content
        The whole file.

    Returns
    -------
    list of Part
        At least one; a file of another format is one part, as it is.

    Raises
    ------
    AudioError
        When a header states clearly more sound than the file holds (a `TOLERANCE_S` may lack). The text has no name.
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
