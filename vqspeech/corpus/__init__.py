"""Where recordings come from: VCTK, a folder, a manifest, the miniature corpus; and the packed store made of them."""
