"""Training: settings, objective, loop, state and validation; needs torch, numpy, safetensors, lightning, tensorboard."""
