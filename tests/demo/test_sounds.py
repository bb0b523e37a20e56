import io

import numpy as np
import soundfile

from vqspeech.demo.sounds import KEPT_SOUNDS, Sound, Visitors


def test_a_sound_is_a_wav_file_that_grows() -> None:
    """Its head states the whole length at once; joined, what came is the file."""
    sound = Sound("a", 1000, 16000)
    wav = np.linspace(-0.5, 0.5, 1000, dtype=np.float32)
    head = sound.since(0)
    assert len(head) == 44
    sound.add(wav[:600])
    assert (sound.made, sound.finished) == (600, False)
    first = sound.since(len(head))
    sound.add(wav[600:])
    assert sound.finished
    content = head + first + sound.since(len(head) + len(first))
    read, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    assert rate == 16000
    np.testing.assert_allclose(read, wav, atol=1 / 32768)
    np.testing.assert_array_equal(read, sound.wav)


def test_nothing_is_added_beyond_the_end() -> None:
    """Neither samples beyond the length, nor any to a sound that is closed."""
    sound = Sound("a", 10, 16000)
    sound.add(np.zeros(20, np.float32))
    assert sound.made == 10
    closed = Sound("b", 10, 16000)
    closed.close()
    closed.add(np.zeros(5, np.float32))
    assert (closed.made, closed.finished) == (0, True)


def test_a_visitor_keeps_few_sounds() -> None:
    """The oldest goes, is ended, and is not found any more."""
    visitors = Visitors()
    visitor = visitors.find("one")
    sounds = [Sound(str(number), 10, 16000) for number in range(KEPT_SOUNDS + 1)]
    for sound in sounds:
        visitor.add(sound)
    assert visitor.sounds == sounds[1:]
    assert visitors.sound(sounds[0].token) is None
    assert sounds[0].finished
    assert visitors.sound(sounds[1].token) is sounds[1]
    assert len({sound.token for sound in sounds}) == len(sounds)


def test_a_source_stays_beside_what_is_made_of_it(studio) -> None:
    """It is not the one that makes room; a sound of the same title takes the place of the one before."""
    visitor = Visitors().find("one")
    visitor.source = studio.encode("a", np.zeros(160, np.float32))
    source = Sound.of("source", visitor.source.wav, 16000)
    visitor.add(source)
    first = Sound("0", 10, 16000)
    visitor.add(first)
    again = Sound("0", 10, 16000)
    visitor.add(again)
    assert visitor.sounds == [source, again]
    assert first.finished
    for number in range(KEPT_SOUNDS):
        visitor.add(Sound(str(number), 10, 16000))
    assert visitor.sounds[0] is source
    assert len(visitor.sounds) == KEPT_SOUNDS


def test_all_sounds_together_are_bounded() -> None:
    """Visitors seen longest ago make room by the length of what they are promised; the last one stays."""
    visitors = Visitors(kept_bytes=100)
    for name in ("first", "second"):
        visitors.find(name).add(Sound("a", 25, 16000))
    assert (visitors.size, len(visitors)) == (100, 2)
    visitors.find("third").add(Sound("a", 25, 16000))
    visitors.find("third")
    assert (visitors.size, len(visitors)) == (100, 2)
    visitors.find("third").add(Sound("b", 500, 16000))
    visitors.find("third")
    assert (visitors.size, len(visitors)) == (1050, 1)


def test_there_are_few_visitors() -> None:
    """Who was seen longest ago goes, with all sounds; others stay who they were."""
    visitors = Visitors(limit=2)
    first, second = visitors.find("first"), visitors.find("second")
    sound = Sound("a", 10, 16000)
    second.add(sound)
    assert visitors.find("first") is first
    visitors.find("third")
    assert len(visitors) == 2
    assert visitors.find("first") is first
    assert sound.finished
    assert visitors.sound(sound.token) is None


def test_who_leaves_is_forgotten() -> None:
    """What is still being made for them ends; who was never there may leave too."""
    visitors = Visitors()
    sound = Sound("a", 10, 16000)
    visitors.find("one").add(sound)
    visitors.drop("one")
    visitors.drop("nobody")
    assert (len(visitors), sound.finished) == (0, True)
