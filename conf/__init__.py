"""The Hydra configuration groups, installed as ``vqspeech.conf`` so that commands work anywhere."""
