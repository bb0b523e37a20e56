"""When each word and phone of a transcript is said: forced alignment with pocketsphinx, in process.

Needs the extra `align`. Phones are those of `vqspeech.labels.phones`, times are seconds.
"""

from vqspeech.alignment.sphinx import Alignment, align

__all__ = ["Alignment", "align"]
