"""Training data: codes of a store, levels beside codes, packs, pitch tracks, segments."""
