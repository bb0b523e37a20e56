"""Show how many words codes and conditions carry, whatever WaveNet will say them.

The spectrogram that the decoder's spectral head predicts from the codes of a recording becomes sound by Griffin and
Lim's method, and a recogniser writes down what it hears: said again in the recording's own voice, and in that of the
other of two speakers. Beside it stand the recording and its true spectrogram made into sound in the same way.

    python recipes/pretrained/spectrum.py vctk --store STORE --speakers bdl,slt --count 20
"""

import argparse
import sys
from pathlib import Path

import librosa
import numpy as np
import torch
from numpy.typing import NDArray

from vqspeech.corpus.store import PackedStore
from vqspeech.errors import ConfigurationError, CorpusError, exit_status
from vqspeech.evaluation.encoded import EncodedStore
from vqspeech.evaluation.judges import JUDGES, WORDS, open_judges
from vqspeech.evaluation.words import word_errors
from vqspeech.models.checkpoint import load_model
from vqspeech.nn.spectral import LogMel

ITERATIONS = 60
"""Of fitting magnitudes to bands, and of Griffin and Lim's method."""


def sound_of(spectrum: NDArray[np.float32], log_mel: LogMel) -> NDArray[np.float32]:
    """Make sound of a log-mel spectrogram, whose phases are lost.

    Parameters
    ----------
    spectrum : ndarray
        (n_mels, frames), natural logarithms of magnitudes.
    log_mel : LogMel
        Whose spectrogram it is.

    Returns
    -------
    ndarray
        float32, about ``frames * hop`` samples.
    """
    filters, bands = log_mel.filters.numpy(), np.exp(spectrum)
    # multiplicative updates keep magnitudes positive; bins in no filter stay at what they are
    magnitudes = (filters / filters.sum(0)) @ bands
    for _ in range(ITERATIONS):
        fitted = filters.T @ magnitudes
        magnitudes *= (filters @ bands) / np.maximum(filters @ fitted, 1e-9)
    return librosa.griffinlim(
        magnitudes,
        n_iter=ITERATIONS,
        hop_length=log_mel.hop,
        n_fft=log_mel.n_fft,
        window=log_mel.window.numpy(),
        momentum=0.9,
        random_state=0,
    ).astype(np.float32)


def predicted(encoded: EncodedStore, index: int, speaker: str) -> NDArray[np.float32]:
    """Spectrogram that the decoder of a model expects of a recording of the store in some voice."""
    model, codes = encoded.model, encoded.encoding(index).conditioning
    contour = None
    if model.decoder.pitch is not None:
        contour = model.contour(codes, speaker, encoded.contour(index))
    spectrum = model.condition(codes, speaker, contour).spectrum
    assert spectrum is not None
    return spectrum.numpy()


@exit_status("spectrum")
def main() -> None:
    """Parse, listen, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--store", type=Path, required=True, metavar="DIR")
    parser.add_argument("--speakers", default="bdl,slt", metavar="A,B")
    parser.add_argument("--split", default="valid")
    parser.add_argument("--count", type=int, default=20, metavar="N", help="recordings of both")
    args = parser.parse_args()
    torch.set_num_threads(1)
    store = PackedStore(args.store)
    first, second = args.speakers.split(",")
    other = {first: second, second: first}
    spoken = [
        i
        for i in store.indices(args.split)
        if store.utterances[i].speaker in other and store.utterances[i].text
    ]
    if not spoken:
        raise CorpusError(f"{args.store}: nothing of {args.speakers} with a text")
    chosen = np.random.default_rng(1).permutation(spoken)[: args.count]
    recogniser = open_judges({*JUDGES} - {WORDS}, None).recogniser
    assert recogniser is not None

    def lost(wavs: list[NDArray[np.float32]]) -> str:
        edits = words = 0
        for i, wav in zip(chosen, wavs, strict=True):
            heard = recogniser.transcribe(wav, store.sample_rate)
            found = word_errors(store.utterances[i].text, heard)
            edits, words = edits + found.edits, words + found.words
        return f"{100 * edits / words:.1f} % of {words}"

    recordings = [store.wav(i) for i in chosen]
    voices = [store.utterances[i].speaker for i in chosen]
    print("| | error, nats | words lost, own voice | the other's |\n| --- | --- | --- | --- |")
    print(f"| recordings | | {lost(recordings)} | |", flush=True)
    for name in args.models:
        model = load_model(name)
        head = model.decoder.spectral
        if head is None:
            raise ConfigurationError(f"{name}: its decoder has no spectral head")
        log_mel = head.log_mel()
        made: dict[str, list[NDArray[np.float32]]] = {"true": [], "own": [], "other": []}
        errors = []
        encoded = EncodedStore(model, store)
        for i, wav, voice in zip(chosen, recordings, voices, strict=True):
            own = predicted(encoded, i, voice)
            padded = np.pad(wav, (0, own.shape[1] * log_mel.hop - len(wav)))
            true = log_mel(torch.from_numpy(padded)[None])[0].numpy()
            errors.append(np.abs(own - true).mean())
            swapped = predicted(encoded, i, other[voice])
            spectra = {"true": true, "own": own, "other": swapped}
            for kind, spectrum in spectra.items():
                made[kind].append(sound_of(spectrum, log_mel))
        print(f"| true spectrogram | 0 | {lost(made['true'])} | |")
        print(
            f"| {name} | {np.mean(errors):.3f} | {lost(made['own'])} | {lost(made['other'])} |",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
