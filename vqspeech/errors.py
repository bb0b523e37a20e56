"""The errors a person can cause and mend; the text of each is one line saying what, where and what to do."""


class VqspeechError(Exception):
    """Root of every error this package raises on purpose."""


class AudioError(VqspeechError):
    """A sound file cannot be read or written."""


class CorpusError(VqspeechError):
    """A corpus, manifest, archive or packed store is not what it should be."""


class ModelFileError(VqspeechError):
    """A model file or training state is damaged, foreign or of another architecture."""


class ConfigurationError(VqspeechError):
    """A setting has an impossible value or an unknown name."""


class CodesError(VqspeechError):
    """A file of codes is damaged, or holds the codes of another model."""
