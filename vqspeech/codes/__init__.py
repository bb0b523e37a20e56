"""Codes of recordings on disk: records, file formats, entropy coding."""
