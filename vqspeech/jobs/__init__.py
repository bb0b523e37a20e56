"""Running work: atomic files, progress, worker processes, one run per folder."""
