"""The page of the demo, laid out with Gradio: what a visitor gives goes to the studio, what it makes comes back.

A handler that makes sound puts it into the visitor's list first, block by block; the page's player takes it from the
server while it grows. Errors are notes on the page, one line each.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

# Before the import, which reads it: nothing is sent anywhere.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr
import numpy as np
import torch
from jinja2 import ChoiceLoader, PackageLoader

from vqspeech.demo.edits import read_codes, shuffle_codes, write_codes
from vqspeech.demo.sounds import Sound, Visitor, Visitors
from vqspeech.demo.studio import Studio
from vqspeech.errors import ConfigurationError, VqspeechError
from vqspeech.models.decoding import Request
from vqspeech.report.document import LOADER, TEMPLATES

REPORT_S = 0.5
"""Seconds between two words on how far a sound is."""

LONGEST_NEW_S = 20.0
"""Seconds of new speech at most, where the limit on recordings is not lower."""

_TEMPLATES = TEMPLATES.overlay(loader=ChoiceLoader([PackageLoader("vqspeech.demo"), LOADER]))


def head() -> str:
    """Return what the page's head holds besides Gradio's own: styles and the player."""
    return _TEMPLATES.get_template("head.html").render()


def build_page(studio: Studio, visitors: Visitors, at_once: int, waiting: int) -> gr.Blocks:
    """Lay out the page.

    Parameters
    ----------
    studio : Studio
        What works for it.
    visitors : Visitors
        Who has it open, by the session of Gradio.
    at_once : int
        Sounds that are made at the same time; who comes then waits in line.
    waiting : int
        How many may wait; who comes then is told to come again.

    Returns
    -------
    Blocks
        With its queue.
    """
    handlers = _Handlers(studio, visitors)
    voices = list(studio.model.speakers)
    with gr.Blocks(
        title="vqspeech", analytics_enabled=False, delete_cache=(60, 300), fill_width=False
    ) as page:
        gr.HTML(_TEMPLATES.get_template("intro.html").render(facts=studio.facts()))
        with gr.Row():
            given = gr.Audio(
                sources=["upload", "microphone"],
                type="filepath",
                label=f"Record or drop speech, at most {studio.longest_s:g} s",
                editable=False,
                elem_id="given",
            )
            with gr.Column():
                voice = gr.Dropdown(voices, value=voices[0], label="Voice", elem_id="voice")
                others = gr.Dropdown(
                    voices,
                    multiselect=True,
                    max_choices=4,
                    label="Other voices beside it, made after it",
                    elem_id="others",
                )
                seed = gr.Number(0, precision=0, minimum=0, maximum=2**31, label="Seed")
        with gr.Tabs():
            with gr.Tab("Convert"):
                convert = gr.Button("Convert", variant="primary", elem_id="convert")
            with gr.Tab("Codes", visible=studio.model.discrete):
                codes = gr.Textbox(
                    label="Codes: edit them, then hear them in the voice above",
                    lines=4,
                    max_lines=8,
                    elem_id="codes",
                )
                with gr.Row():
                    shuffle = gr.Button("Shuffle")
                    restore = gr.Button("As they were")
                    decode = gr.Button("Hear the codes", variant="primary", elem_id="decode")
            with gr.Tab("New speech", visible=studio.prior is not None):
                most = min(LONGEST_NEW_S, studio.longest_s)
                seconds = gr.Number(
                    min(5.0, most), minimum=0.5, maximum=most, label=f"Seconds, at most {most:g}"
                )
                goes_on = gr.Checkbox(label="Go on from the recording", elem_id="goes-on")
                draw = gr.Button("Draw codes and hear them", variant="primary", elem_id="draw")
        status = gr.HTML(_status("Record or drop a file, then choose a voice."), elem_id="status")
        stop = gr.Button("Stop making", size="sm", elem_id="stop")
        gr.HTML("<h2>Listen</h2>")
        heard = gr.HTML(_players(Visitor()), elem_id="heard")
        gr.HTML("<h2>Look</h2>")
        picture = gr.HTML('<p class="note">Spectrogram and codes come here.</p>', elem_id="picture")
        text = gr.Textbox(
            label="What is said",
            info="Phones are found by the words; left empty, a recogniser writes them, where one is installed.",
            elem_id="text",
        )
        phones = gr.Button("Show phones", elem_id="phones")

        def on(
            trigger: Callable[..., Any], function: Callable[..., Any], inputs: Any, outputs: Any
        ) -> Any:
            """Have what takes long wait in one line, whatever button began it."""
            return trigger(
                function,
                inputs,
                outputs,
                concurrency_id="studio",
                concurrency_limit=at_once,
                show_progress_on=status,
                api_visibility="private",
            )

        shown = [status, heard, picture, codes]
        take = [given, status, heard, picture, codes, text]
        for arrival in (given.upload, given.stop_recording):
            on(arrival, handlers.take, [given], take)
        making = [
            on(convert.click, handlers.convert, [voice, others, seed], shown),
            on(decode.click, handlers.decode, [codes, voice, seed], shown),
            on(draw.click, handlers.draw, [seconds, goes_on, voice, seed], shown),
        ]
        for button, made in zip((convert, decode, draw), making, strict=True):
            made.then(None, js=f"() => workEnded('{button.elem_id}')")  # clicks.js
        on(phones.click, handlers.phones, [text], [status, picture, text])
        private: dict[str, Any] = {"queue": False, "api_visibility": "private"}
        shuffle.click(handlers.shuffle, [codes, seed], [status, codes], **private)
        restore.click(handlers.restore, None, [status, codes], **private)
        stop.click(handlers.stop, None, [status], cancels=making, **private)
        page.unload(handlers.leave)
    return page.queue(max_size=at_once + waiting)


def _status(text: str) -> str:
    return _TEMPLATES.from_string('<p role="status">{{ text }}</p>').render(text=text)


class _Handlers:
    """What happens when something is dropped or pressed; each returns updates in the order of its outputs."""

    def __init__(self, studio: Studio, visitors: Visitors) -> None:
        self._studio, self._visitors = studio, visitors

    def take(self, path: str | None, request: gr.Request) -> Sequence[Any]:
        """Read what was dropped or recorded, and remove the file."""
        if path is None:
            return [gr.skip()] * 6
        visitor, file = self._visitor(request), Path(path)
        try:
            recording = self._studio.read(file, file.name)
        except VqspeechError as error:
            return [None, _status(str(error)), *[gr.skip()] * 4]
        finally:
            _remove(file)
        visitor.clear()
        visitor.source = recording
        sound = Sound.of("source", recording.wav, self._studio.model.sample_rate)
        visitor.add(sound)
        seconds = len(recording.wav) / self._studio.model.sample_rate
        said = f"{recording.name}: {seconds:.1f} s. Choose a voice and convert."
        coded = write_codes(recording.conditioning.numpy()) if self._studio.model.discrete else ""
        picture = self._picture(recording.name, recording.wav, recording.conditioning)
        return [None, _status(said), _players(visitor), picture, coded, ""]

    def convert(
        self, voice: str, others: list[str], seed: float, request: gr.Request
    ) -> Iterator[Sequence[Any]]:
        """Convert the source into a voice, and then into others."""
        visitor = self._visitor(request)
        source = visitor.source
        if source is None:
            yield _said("Record or drop a file first.")
            return
        try:
            wanted = [
                (name, self._studio.request(source, name, _seed(seed)))
                for name in dict.fromkeys([voice, *(others or [])])
            ]
        except VqspeechError as error:
            yield _said(str(error))
            return
        yield from self._make(visitor, wanted)

    def decode(
        self, text: str, voice: str, seed: float, request: gr.Request
    ) -> Iterator[Sequence[Any]]:
        """Decode edited codes."""
        try:
            codes = read_codes(text, self._studio.model.codebook_size, self._studio.most_codes)
            wanted = [(f"edited codes, {voice}", Request(codes, voice, None, _seed(seed)))]
            yield from self._make(self._visitor(request), wanted, pictured=True)
        except VqspeechError as error:
            yield _said(str(error))

    def draw(
        self, seconds: float, goes_on: bool, voice: str, seed: float, request: gr.Request
    ) -> Iterator[Sequence[Any]]:
        """Draw codes from the prior and decode them."""
        visitor = self._visitor(request)
        prompt = visitor.source if goes_on else None
        if goes_on and prompt is None:
            yield _said("Record or drop a file first.")
            return
        if not 0 < (seconds or 0) <= LONGEST_NEW_S:
            yield _said(f"{seconds} s: at most {LONGEST_NEW_S:g} s of new speech, more than 0.")
            return
        yield _said("Drawing codes from the prior …")
        try:
            codes = self._studio.draw_codes(seconds, voice, _seed(seed), prompt)
            title = "continuation" if goes_on else "new speech"
            wanted = [(f"{title}, {voice}", Request(codes, voice, None, _seed(seed)))]
            for updates in self._make(visitor, wanted, pictured=True):
                yield [*updates[:3], write_codes(codes.numpy())]
        except VqspeechError as error:
            yield _said(str(error))

    def shuffle(self, text: str, seed: float) -> Sequence[Any]:
        """Put the codes of the field into another order."""
        try:
            codes = read_codes(text, self._studio.model.codebook_size, self._studio.most_codes)
            shuffled = shuffle_codes(codes, _seed(seed))
        except VqspeechError as error:
            return [_status(str(error)), gr.skip()]
        said = f"{len(codes)} codes in another order; the seed decides which."
        return [_status(said), write_codes(shuffled)]

    def restore(self, request: gr.Request) -> Sequence[Any]:
        """Put the codes of the source back."""
        source = self._visitor(request).source
        if source is None:
            return [_status("Record or drop a file first."), gr.skip()]
        return [_status("The codes of the recording."), write_codes(source.conditioning.numpy())]

    def phones(self, text: str, request: gr.Request) -> Sequence[Any]:
        """Show the phones of the source over its codes."""
        source = self._visitor(request).source
        if source is None:
            return [_status("Record or drop a file first."), gr.skip(), gr.skip()]
        try:
            words, phones = self._studio.phones(source, text)
        except VqspeechError as error:
            return [_status(str(error)), gr.skip(), gr.skip()]
        picture = self._picture(source.name, source.wav, source.conditioning, phones)
        return [_status(f"{len(phones)} phones and pauses."), picture, words]

    def stop(self, request: gr.Request) -> str:
        """End what is being made."""
        for sound in self._visitor(request).sounds:
            sound.close()
        return _status("Stopped.")

    def leave(self, request: gr.Request) -> None:
        """Forget a visitor whose page is closed."""
        if request.session_hash:
            self._visitors.drop(request.session_hash)

    def _visitor(self, request: gr.Request) -> Visitor:
        return self._visitors.find(str(request.session_hash))

    def _make(
        self, visitor: Visitor, wanted: Sequence[tuple[str, Request]], pictured: bool = False
    ) -> Iterator[Sequence[Any]]:
        """Make sounds one after another; the first is heard as it comes."""
        studio, rate = self._studio, self._studio.model.sample_rate
        jobs = [(Sound(title, studio.samples(request), rate), request) for title, request in wanted]
        try:
            for sound, _ in jobs:
                visitor.add(sound)
            players, said = _players(visitor, jobs[0][0]), 0.0
            began, made = time.perf_counter(), 0
            for sound, request in jobs:
                for block in studio.make(request):
                    if sound.finished:
                        return
                    sound.add(block)
                    made += len(block)
                    if players or time.perf_counter() - said > REPORT_S:
                        said = time.perf_counter()
                        speed = made / rate / (said - began)
                        text = f"{sound.title}: {sound.made / rate:.1f} of {sound.samples / rate:.1f} s made, "
                        text += f"{speed:.1f} times real time"
                        yield [_status(text), players or gr.skip(), gr.skip(), gr.skip()]
                        players = ""
            speed = made / rate / (time.perf_counter() - began)
            text = f"{made / rate:.1f} s made, {speed:.1f} times real time"
            picture = gr.skip()
            if pictured:
                sound, request = jobs[0]
                picture = self._picture(sound.title, sound.wav, torch.as_tensor(request.codes))
            yield [_status(text), gr.skip(), picture, gr.skip()]
        finally:
            for sound, _ in jobs:
                sound.close()

    def _picture(self, name: str, wav: Any, conditioning: Any, phones: Any = None) -> str:
        studio = self._studio
        return _TEMPLATES.get_template("picture.html").render(
            name=name,
            duration_s=len(wav) / studio.model.sample_rate,
            coded=np.ndim(conditioning) == 1,
            picture=studio.picture(wav, conditioning, phones),
        )


def _players(visitor: Visitor, playing: Sound | None = None) -> str:
    return _TEMPLATES.get_template("players.html").render(
        sounds=visitor.sounds, playing=playing.token if playing else None
    )


def _said(text: str) -> Sequence[Any]:
    """Say something, and leave the rest as it is."""
    return [_status(text), gr.skip(), gr.skip(), gr.skip()]


def _seed(value: float | None) -> int:
    """Read the field of the seed.

    Raises
    ------
    ConfigurationError
        It holds no whole number from 0 to 2^31.
    """
    if value is None or not 0 <= value <= 2**31 or value != int(value):
        raise ConfigurationError(f"seed {value}: a whole number from 0 to 2^31 is needed")
    return int(value)


def _remove(file: Path) -> None:
    """Remove an upload and the folder that Gradio made for it."""
    with suppress(OSError):
        file.unlink(missing_ok=True)
        file.parent.rmdir()
