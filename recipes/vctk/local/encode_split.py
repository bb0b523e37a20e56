"""The codes of a split of a packed store, as JSON lines in the form that ``vqspeech codes`` writes."""

import argparse
import sys
from pathlib import Path

import vqspeech
from vqspeech.codes.record import CodesRecord
from vqspeech.corpus.store import PackedStore
from vqspeech.errors import VqspeechError
from vqspeech.jobs.atomic import write_atomically
from vqspeech.jobs.progress import Progress


def encode_split(model_path: Path, store_path: Path, split: str, out: Path) -> int:
    """Encode every utterance of `split` and write one line each.

    Returns
    -------
    int
        Number of utterances.

    Raises
    ------
    VqspeechError
        When the model or the store cannot be read, or the split is empty.
    """
    model, store = vqspeech.load(model_path), PackedStore(store_path)
    indices = store.indices(split).tolist()
    if not indices:
        raise VqspeechError(f"{store_path}: no utterance in split {split!r}")
    lines = []
    with Progress(len(indices), "utterances", f"codes of {split}") as progress:
        for index in indices:
            utterance = store.utterances[index]
            codes = model.encode(store.wav(index)).tolist()
            record = CodesRecord.of(
                model, codes, utterance.samples, str(utterance.path), str(model_path)
            )
            lines.append(record.to_json() + "\n")
            progress.update()

    def save(temporary: Path) -> None:
        temporary.write_text("".join(lines), encoding="ascii")

    write_atomically(out, save)
    return len(lines)


def main() -> int:
    """Parse, encode, say what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    try:
        count = encode_split(args.model, args.store, args.split, args.out)
    except VqspeechError as error:
        print(f"encode_split: {error}", file=sys.stderr)
        return 1
    print(f"codes of {count} utterances of split {args.split}: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
