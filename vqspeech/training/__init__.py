"""Training: settings, objective, loop, state and validation.

It needs torch, numpy, safetensors, lightning and tensorboard, and nothing else.
"""
