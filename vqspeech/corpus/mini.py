"""The miniature corpus: eight synthetic voices, 64 sentences each, with exact phone times.

It is made with libespeak-ng, needs no download, and always has the same bytes. The tree is that of VCTK 0.80 plus
labels: ``wav48/m1/m1_001.wav`` (at espeak-ng's own rate, despite the folder's name), ``txt/m1/m1_001.txt``,
``lab/m1/m1_001.lab``, ``speaker-info.txt``. A label line is start, end (100 ns units) and phone: IPA without stress and
length marks, `pau` for silence, without gaps.
"""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from vqspeech import audio
from vqspeech.corpus.espeak import Synthesizer, Voice
from vqspeech.corpus.manifest import Listing
from vqspeech.corpus.sentences import SENTENCES
from vqspeech.corpus.vctk import list_vctk
from vqspeech.errors import CorpusError, VqspeechError
from vqspeech.jobs.atomic import write_folder_atomically

MARKER = "mini.json"
# No voices with an echo, which would fill pauses and closures. Narrow pitch ranges: a small
# decoder learns a voice's mean pitch in minutes, not its intonation.
VOICES = (
    Voice("m1", "en-us+m1", pitch=64, pitch_range=10, words_per_minute=170),
    Voice("m2", "en-us+m3", pitch=64, pitch_range=10, words_per_minute=185),
    Voice("m3", "en-us+m7", pitch=66, pitch_range=10, words_per_minute=175),
    Voice("m4", "en-us+m4", pitch=70, pitch_range=10, words_per_minute=160),
    Voice("f1", "en-us+f1", pitch=62, pitch_range=10, words_per_minute=170),
    Voice("f2", "en-us+steph2", pitch=60, pitch_range=10, words_per_minute=180),
    Voice("f3", "en-us+linda", pitch=60, pitch_range=10, words_per_minute=165),
    Voice("f4", "en-us+Annie", pitch=66, pitch_range=10, words_per_minute=175),
)


def make_mini(dest: Path) -> Path:
    """Make the miniature corpus in `dest`, unless it is there.

    `dest` is new, empty, or has the corpus; it appears complete or not at all. The speech is made in a fresh process,
    because libespeak-ng's output depends on earlier speech of the process. `CorpusError` if espeakng-loader is missing,
    or `dest` has other content or cannot be written.
    """
    dest = Path(dest)
    stated = _stated()
    marker = dest / MARKER
    if marker.is_file() and marker.read_text(encoding="utf-8") == stated:
        return dest
    if dest.exists() and (not dest.is_dir() or (not marker.is_file() and any(dest.iterdir()))):
        raise CorpusError(
            f"{dest}: holds something other than the miniature corpus; name a new folder"
        )

    def make(folder: Path) -> None:
        command = [sys.executable, "-m", "vqspeech.corpus.mini", str(folder)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            lines = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
            raise CorpusError(lines[-1])
        (folder / MARKER).write_text(stated, encoding="utf-8")

    try:
        write_folder_atomically(dest, make)
    except OSError as error:
        raise CorpusError(f"{dest}: cannot be written ({error.strerror or error})") from None
    return dest


def list_mini(root: Path) -> Listing:
    """List the miniature corpus that `make_mini` made in `root`, in the order of VCTK's listing."""
    found = list_vctk(root)
    utterances = [replace(utterance, corpus="mini") for utterance in found.utterances]
    return replace(found, kind="mini", utterances=utterances)


def speak_all(dest: Path) -> None:
    """Write all voices' sentences into the empty folder `dest`; must be the first speech of the process."""
    synthesizer = Synthesizer()
    rate = synthesizer.sample_rate
    for voice in VOICES:
        for folder in ("wav48", "txt", "lab"):
            (dest / folder / voice.name).mkdir(parents=True)
        synthesizer.choose(voice)
        for number, sentence in enumerate(SENTENCES, 1):
            spoken = synthesizer.speak(sentence, seed=number)
            stem = f"{voice.name}/{voice.name}_{number:03d}"
            audio.write(dest / "wav48" / f"{stem}.wav", spoken.pcm / 32768, rate)
            (dest / "txt" / f"{stem}.txt").write_text(sentence + "\n", encoding="utf-8")
            lines = [
                f"{_ticks(start, rate)} {_ticks(end, rate)} {phone}\n"
                for start, end, phone in spoken.phones
            ]
            (dest / "lab" / f"{stem}.lab").write_text("".join(lines), encoding="utf-8")
    rows = [f"{v.name} {'FM'[v.name[0] == 'm']} {v.variant}\n" for v in VOICES]
    (dest / "speaker-info.txt").write_text("ID GENDER VOICE\n" + "".join(rows), encoding="utf-8")


def _ticks(sample: int, rate: int) -> int:
    """Return a sample's time in units of 100 ns, rounded."""
    return (sample * 10_000_000 + rate // 2) // rate


def _stated() -> str:
    """Return the content of the done-marker: everything that determines the corpus's bytes."""
    plan = hashlib.sha256(repr((2, VOICES, SENTENCES)).encode()).hexdigest()
    return json.dumps({"format": "vqspeech-mini", "plan_sha256": plan}) + "\n"


if __name__ == "__main__":
    try:
        speak_all(Path(sys.argv[1]))
    except VqspeechError as error:
        sys.exit(str(error))
