"""Codes of recordings on disk."""
