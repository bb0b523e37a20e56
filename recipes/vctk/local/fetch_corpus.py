"""Stage 0 of the recipe: make the miniature corpus, or download VCTK 0.92; nothing is done twice."""

import argparse
import sys
from pathlib import Path

from vqspeech.errors import VqspeechError

NO_DOWNLOAD = "--corpus mini needs no download, --corpus DIR takes recordings you have"


def fetch(corpus: str, folder: Path) -> None:
    """Have `corpus` at `folder`.

    Parameters
    ----------
    corpus : str
        ``mini`` or ``vctk``.
    folder : Path
        The tree: any folder for ``mini``; for ``vctk`` one called as the archive's own tree is.

    Raises
    ------
    VqspeechError
        When the speech cannot be made, or VCTK cannot be downloaded.
    """
    if corpus == "mini":
        from vqspeech.corpus.mini import make_mini

        make_mini(folder)
        return
    from vqspeech.corpus import vctk

    try:
        tree = vctk.download(folder.parent)
    except (VqspeechError, OSError) as error:
        raise VqspeechError(f"VCTK could not be downloaded ({error}): {NO_DOWNLOAD}") from error
    if tree != folder:
        raise VqspeechError(f"{tree} was unpacked where {folder} was expected")


def main() -> int:
    """Parse, fetch, say where it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", choices=("mini", "vctk"))
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    try:
        fetch(args.corpus, args.folder)
    except VqspeechError as error:
        print(f"fetch_corpus: {error}", file=sys.stderr)
        return 1
    print(f"{args.corpus}: {args.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
