"""A page to hear a model on: recordings in, conversions, edited codes and new speech out, while they are made.

`sounds` (what is heard, whose it is), `studio` (what the model does) and `edits` (codes as text) know nothing of the
page; `page` lays it out with Gradio and `server` serves it. Only the last two import Gradio, the extra `demo`.
"""
