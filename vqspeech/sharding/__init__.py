"""Codes of a whole archive in shards: planned once, made on one machine or many, checked at the end."""
