"""Corpora: listings of VCTK, a folder, a manifest, the miniature corpus; and the packed store made from one."""
