"""What training reads: codes of a store, levels beside codes, packs, pitch tracks, segments."""
