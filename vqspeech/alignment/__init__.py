"""Forced alignment: times of the words and phones of a transcript, with pocketsphinx, in process.

Needs the extra `align`. Phones are those of `vqspeech.labels.phones`, times are seconds.
"""

from vqspeech.alignment.sphinx import Alignment, align

__all__ = ["Alignment", "align"]
