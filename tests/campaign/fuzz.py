"""A fuzzer for every parser: mutated files, kept where they reach lines that no file reached before.

    python tests/campaign/fuzz.py --seconds 600 [--parsers "model;state"] [--seed 0] [--keep FOLDER]

A parser may return or raise a `VqspeechError` of one line. Any other exception, a crash of the process and more than
ten seconds on a file of some kilobytes are findings; their files are kept.
"""

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import commands
import numpy as np
import soundfile
import torch

import vqspeech
from vqspeech import audio
from vqspeech.codes import files as codesfile
from vqspeech.codes.record import CodesRecord
from vqspeech.corpus.manifest import read_manifest
from vqspeech.errors import VqspeechError
from vqspeech.labels.files import read_labels
from vqspeech.models.checkpoint import load_model, load_prior

PACKAGE = str(Path(vqspeech.__file__).parent)
LIMIT_S = 10
LARGEST = 1 << 16
TOKENS = [
    *(b"0", b"-1", b"1e999", b"nan", b"9" * 30, b"\n", b"\t", b" ", b'"', b"\0", b"\xff\xfe"),
    *(b"{", b"}", b"[", b"]", b"null", b"true", b"intervals: size = 3", b"<exists>", b"data"),
    *(b"RIFF", b"OggS", b"fLaC", b"Info", b"TAG", b"ID3", b"\xff\xfb\x90\x44", b"train", b"../x"),
]


@dataclass(frozen=True)
class Parser:
    """What reads a file, the suffix it has, and files to begin with."""

    read: Callable[[Path], Any]
    suffix: str
    seeds: list[bytes]


def parsers(home: Path) -> dict[str, Parser]:
    """Return every parser with its seeds."""
    commands.verbs(home)
    model, prior = home / "model.safetensors", home / "prior.safetensors"
    record = CodesRecord.of(load_model(model), list(range(16)) * 4, 64 * 256, "a.wav", "m")
    places = {kind: home / f"seed{suffix}" for kind, suffix in codesfile.SUFFIXES.items()}
    for kind, path in places.items():
        codesfile.write(path, record, kind)
    label = home / "corpus/ann/ann_0.lab"
    manifest = "speaker\tutterance\tpath\tsplit\tlabels\ttext\nann\tu\tu.wav\ttrain\tu.lab\thello\n"
    found = {
        "model": Parser(load_model, ".safetensors", [model.read_bytes()]),
        "prior": Parser(load_prior, ".safetensors", [prior.read_bytes()]),
        **_state_parsers(home),
        "manifest": Parser(read_manifest, ".tsv", [manifest.encode(), manifest.encode("utf-16")]),
        "lab": Parser(
            read_labels,
            ".lab",
            [
                label.read_bytes(),
                b"separator ;\n#\n0.22 125 pau\n0.3 125 ah\n",
                b"0 5 x^a-b+c\n5 9 a[2]\n",
            ],
        ),
        "ctm": Parser(read_labels, ".ctm", [b"a 1 0.00 0.10 SIL 1.00\na 1 0.10 0.05 AH0_B\n"]),
        "phn": Parser(read_labels, ".phn", [b"0 3050 h#\n3050 4559 sh\n"]),
        "eaf": Parser(read_labels, ".eaf", [_EAF]),
    }
    for kind in ("json", "npz", "vqc"):
        found[kind] = Parser(codesfile.read, codesfile.SUFFIXES[kind], [places[kind].read_bytes()])
    grid = places["textgrid"].read_bytes().replace(b'"codes"', b'"phones"')
    found["textgrid"] = Parser(read_labels, ".TextGrid", [grid, grid.decode().encode("utf-16")])
    forms: dict[str, dict[str, str]] = {
        **{suffix: {} for suffix in ("wav", "flac", "ogg", "mp3")},
        "opus": {"format": "OGG", "subtype": "OPUS"},
    }
    noise = 0.1 * np.random.default_rng(0).standard_normal((4000, 1))
    for suffix, form in forms.items():
        buffer = io.BytesIO()
        soundfile.write(buffer, noise, 16000, **({"format": suffix.upper()} | form))
        seeds = [buffer.getvalue(), 2 * buffer.getvalue()]
        if suffix == "wav":
            seeds += [
                seeds[0][:40] + struct.pack("<I", size) + seeds[0][44:]
                for size in (0, 2**31 - 1, 2**32 - 1, 2**24)
            ]
        found[suffix] = Parser(audio.read, f".{suffix}", seeds)
    return found


_EAF = b"""<?xml version="1.0" encoding="UTF-8"?><ANNOTATION_DOCUMENT><TIME_ORDER>
<TIME_SLOT TIME_SLOT_ID="t1" TIME_VALUE="0"/><TIME_SLOT TIME_SLOT_ID="t2" TIME_VALUE="500"/></TIME_ORDER>
<TIER TIER_ID="phones"><ANNOTATION><ALIGNABLE_ANNOTATION TIME_SLOT_REF1="t1" TIME_SLOT_REF2="t2">
<ANNOTATION_VALUE>ah</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER></ANNOTATION_DOCUMENT>"""


def _state_parsers(home: Path) -> dict[str, Parser]:
    """Train for a moment, so that there is a state, and a run to load it into.

    The second parser takes a file for the seed of a change to what a sound file says: the first seldom gets past the
    checksums.
    """
    from vqspeech.cli.train import compose
    from vqspeech.training.config import from_mapping
    from vqspeech.training.start import start
    from vqspeech.training.state import fill_state, read_state

    verb = commands.verbs(home)["train"]
    out = home / "state-run"
    ended = commands.run(verb, out)
    if ended.status != 0:
        raise SystemExit(ended.words)
    settings = [a.replace("OUT", str(out)) for a in verb.argv[1:]]
    config = from_mapping(compose(settings))

    state = start(config, commands.SPEAKERS, torch.device("cpu"))

    def read(path: Path) -> None:
        fill_state(state, read_state(path), path)

    def read_changed(path: Path) -> None:
        content = torch.load(out / "state.pt", weights_only=True)
        _change(content, random.Random(path.read_bytes()))
        torch.save(content, path)
        fill_state(state, read_state(path), path)

    whole = (out / "state.pt").read_bytes()
    return {
        "state": Parser(read, ".pt", [whole]),
        "state, values": Parser(read_changed, ".pt", [bytes(16), whole[:64]]),
    }


def _change(value: Any, draw: random.Random) -> None:
    """Change a value somewhere in nested dictionaries and lists, in place."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = draw.choice(keys)
        if isinstance(value[key], dict | list) and value[key] and draw.random() < 0.8:
            value = value[key]
            continue
        others = [None, -1, 1.5, "x", [], {}, torch.zeros(3), float("nan"), [torch.ones(1)]]
        if draw.random() < 0.3:
            del value[key]
        else:
            value[key] = draw.choice(others)
        return


def mutate(draw: random.Random, pool: list[bytes]) -> bytes:
    """Change a file of the pool in one to eight places."""
    data = bytearray(draw.choice(pool))
    for _ in range(draw.choice((1, 1, 2, 4, 8))):
        # Headers come first, and most decisions are taken there.
        end = len(data) if draw.random() < 0.5 else min(len(data), 256)
        place = draw.randrange(end + 1) if end else 0
        kind = draw.randrange(8)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << draw.randrange(8)
        elif kind == 1 and place < len(data):
            data[place] = draw.choice((0, 1, 127, 128, 255, draw.randrange(256)))
        elif kind == 2:
            data[place:place] = draw.choice(TOKENS)
        elif kind == 3:
            del data[place : place + draw.choice((1, 2, 4, 16, 256))]
        elif kind == 4:
            del data[place:]
        elif kind == 5:
            other = draw.choice(pool)
            start = draw.randrange(len(other) + 1)
            data[place:place] = other[start : start + draw.choice((1, 4, 16, 64, 1024))]
        elif kind == 6 and place + 8 <= len(data):
            number = draw.choice((0, 1, -1, 2**15, 2**31 - 1, -(2**31), draw.getrandbits(31)))
            form = draw.choice(("<i", ">i", "<q"))
            size = struct.calcsize(form)
            data[place : place + size] = struct.pack(form, number)
        else:
            line = data.split(b"\n")
            draw.shuffle(line)
            data = bytearray(b"\n".join(line[: max(1, draw.randrange(len(line) + 1))]))
    return bytes(data[:LARGEST]) if len(pool[0]) < LARGEST else bytes(data)


class _Lines:
    """The pairs of lines of the package that a call goes through, one after the other."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, int, int]] = set()

    def trace(self, frame: FrameType, event: str, _: object) -> Any:
        """Follow the frames of the package; see `sys.settrace`."""
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        name, last = frame.f_code.co_filename, frame.f_lineno

        def local(inner: FrameType, kind: str, _: object) -> Any:
            nonlocal last
            if kind == "line":
                self.seen.add((name, last, inner.f_lineno))
                last = inner.f_lineno
            return local

        return local


def _too_long(*_: object) -> None:
    raise TimeoutError(f"more than {LIMIT_S} s of processor time")


def fuzz(parser: Parser, home: Path, seconds: float, seed: int, report: Path) -> None:
    """Fuzz one parser in this process, noting in `report` how far it came; the file under test is ``home/now``."""
    draw = random.Random(seed)
    pool = list(parser.seeds)
    path = home / f"now{parser.suffix}"
    lines = _Lines()
    tried, refused, findings = 0, 0, []
    for seed_file in parser.seeds:  # what is imported on first use is not part of a file's time
        path.write_bytes(seed_file)
        with contextlib.suppress(VqspeechError):
            parser.read(path)
    signal.signal(signal.SIGPROF, _too_long)
    end = time.monotonic() + seconds
    waiting = list(pool)
    while time.monotonic() < end:
        data = waiting.pop() if waiting else mutate(draw, pool)
        path.write_bytes(data)
        before = len(lines.seen)
        signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
        sys.settrace(lines.trace)
        try:
            parser.read(path)
        except VqspeechError as error:
            sys.settrace(None)
            refused += 1
            if "\n" in str(error):
                findings.append(f"two lines: {error}")
        except Exception as error:
            sys.settrace(None)
            what = f"{type(error).__name__}: {error}"[:200]
            place = error.__traceback__
            while place is not None and place.tb_next is not None:
                place = place.tb_next
            where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else ""
            if not any(where in finding for finding in findings):
                findings.append(f"{what} at {where}")
                shutil.copy(path, home / f"finding-{len(findings)}{parser.suffix}")
        finally:
            sys.settrace(None)
            signal.setitimer(signal.ITIMER_PROF, 0)
        tried += 1
        if len(lines.seen) > before:
            pool.append(data)
        if tried % 16 == 1:
            counts = {"tried": tried, "refused": refused, "pool": len(pool)}
            counts |= {"arcs": len(lines.seen), "findings": findings}
            report.write_text(json.dumps(counts))
    counts = {"tried": tried, "refused": refused, "pool": len(pool), "arcs": len(lines.seen)}
    report.write_text(json.dumps(counts | {"findings": findings}))


def main() -> int:
    """Run the campaign and print its table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=600.0, help="for each parser")
    arguments.add_argument("--parsers", help="some of them, with semicolons (default: all)")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--keep", type=Path, help="where files that were findings go")
    args = arguments.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="vqspeech-campaign-") as name:
        home = Path(name)
        table = parsers(home)
        print("| parser | files | refused | kept | arcs | exceptions | crashes or hangs |")
        print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
        for key in (args.parsers or ";".join(table)).split(";"):
            place = home / f"fuzz-{key}"
            place.mkdir()
            report = place / "report"
            child = os.fork()
            if child == 0:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, 2)
                status = 0
                try:
                    fuzz(table[key], place, args.seconds, args.seed, report)
                except BaseException:
                    status = 1
                os._exit(status)
            deadline = time.monotonic() + args.seconds + 120
            done, how = 0, 0
            while not done and time.monotonic() < deadline:
                done, how = os.waitpid(child, os.WNOHANG)
                time.sleep(0.05)
            if not done:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            crashed = int(not done or how != 0)
            counts = json.loads(report.read_text()) if report.exists() else {"findings": []}
            numbers = [counts.get(k, 0) for k in ("tried", "refused", "pool", "arcs")]
            row = " | ".join(str(n) for n in [*numbers, len(counts["findings"]), crashed])
            print(f"| {key} | {row} |", flush=True)
            for finding in counts["findings"]:
                print(f"{key}: {finding}", file=sys.stderr)
            if crashed:
                print(f"{key}: ended with {how}; see now{table[key].suffix}", file=sys.stderr)
            failed |= crashed | bool(counts["findings"])
            if args.keep and (crashed or counts["findings"]):
                shutil.copytree(place, args.keep / key, dirs_exist_ok=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
