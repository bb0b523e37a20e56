"""Layers in pure torch: encoder, bottlenecks, WaveNet; no files and no configuration objects."""
