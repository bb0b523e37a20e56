"""How long work is done: whole files, progress, worker processes, one run a folder."""
