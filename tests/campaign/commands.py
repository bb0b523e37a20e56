"""What the campaign runs: a small corpus, a tiny model, and each verb as a fork of a process that has imported it all.

A fork begins at once with the work itself, so that a random moment of it is one of the work.
"""

import argparse
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "VQSPEECH_TRACEBACK": "0"}

import numpy as np
import torch
from safetensors.torch import load_file

from vqspeech import audio
from vqspeech.cli import main
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import save_model, save_prior
from vqspeech.models.config import ModelConfig
from vqspeech.models.prior import Prior, PriorConfig

RATE = 16000
SPEAKERS = ("ann", "bob", "cem")
SENTENCES = ("hello there", "please call", "good morning", "see the sun", "ask her", "no more")
TRAINING = (
    *("data.batch=2", "data.segment=1280", "data.crop=1280", "data.workers=0"),
    *("model.encoder.strides=[8,8]", "model.encoder.channels=[8,8]", "model.encoder.dilations=[1]"),
    *("model.dim=8", "model.bottleneck.codebook_size=8", "model.decoder.dilations=[1,2]"),
    *("model.decoder.residual_channels=8", "model.decoder.gate_channels=8"),
    *("model.decoder.skip_channels=8", "model.decoder.condition_channels=8"),
    *("optimizer.steps=24", "run.accelerator=cpu", "run.threads=1", "run.save_every_s=1"),
    *("run.validate_every=8", "resume=auto"),
)
VOLATILE = ("events.out", "state.pt", "metrics.json", "config.json", "failures.tsv", "skipped.tsv")
"""Files whose bytes hold times of day or paths; states are judged by the model they end in."""


@dataclass(frozen=True)
class Verb:
    """A command under test.

    Attributes
    ----------
    argv : tuple of str
        Its arguments; ``OUT`` stands for where it writes.
    growing : tuple of str
        Parts of names of files that are no results: they may be there half-written, for a run to go on from.
    """

    argv: tuple[str, ...]
    growing: tuple[str, ...] = ()


def verbs(home: Path) -> dict[str, Verb]:
    """Return the verbs, once the corpus, model and store they need are made in `home`."""
    corpus, model, store = home / "corpus", home / "model.safetensors", home / "store"
    if not model.exists():
        _make_corpus(corpus)
        _make_model(model)
    if not (store / "store.json").exists():
        subprocess.run(
            [sys.executable, "-m", "vqspeech", "prepare", "--corpus", corpus, "--out", store],
            check=True,
        )
    common = ("--model", str(model))
    return {
        "prepare": Verb(
            ("prepare", "--corpus", str(corpus), "--out", "OUT", "--workers", "1"), ("parts/",)
        ),
        "train": Verb(
            ("train", f"data.store={store}", "run.dir=OUT", *TRAINING), ("events.out", "codes/")
        ),
        "codes": Verb(("codes", str(corpus), "--format", "npz", "--out", "OUT", *common)),
        "convert": Verb(
            ("convert", "--src", str(corpus), "--speaker", "ann", "--out", "OUT", *common)
        ),
        "align": Verb(("align", str(corpus), "--out", "OUT", "--workers", "1")),
        "analyze": Verb(
            ("analyze", "--corpus", str(store), "--out", "OUT", "--examples", "1", *common)
        ),
    }


def _make_corpus(folder: Path) -> None:
    """Write recordings of noise in the shape of speech, with texts and phone times beside them."""
    draw = np.random.default_rng(0)
    for place, speaker in enumerate(SPEAKERS):
        (folder / speaker).mkdir(parents=True, exist_ok=True)
        for number, text in enumerate(SENTENCES):
            samples = RATE // 2 + 100 * (place + 7 * number)
            wav = 0.2 * draw.standard_normal(samples) * np.sin(np.arange(samples) / 800)
            path = folder / speaker / f"{speaker}_{number}.wav"
            audio.write(path, wav.astype(np.float32), RATE, force=True)
            path.with_suffix(".txt").write_text(text)
            ends = np.linspace(0, samples / RATE, 9)
            phones = ("hh", "ah", "l", "ow", "s", "iy", "n", "aa")
            rows = zip(ends[:-1], ends[1:], phones, strict=True)
            lines = [f"{round(a * 1e7)} {round(b * 1e7)} {phone}" for a, b, phone in rows]
            path.with_suffix(".lab").write_text("\n".join(lines) + "\n")


def _make_model(path: Path) -> None:
    torch.manual_seed(0)
    config = ModelConfig(
        sample_rate=RATE,
        levels=256,
        dim=8,
        encoder={"strides": [16, 16], "channels": [8, 16], "dilations": [1, 2]},
        bottleneck={"kind": "vq_ema", "codebook_size": 16},
        decoder={
            "dilations": [1, 2, 4],
            "residual_channels": 8,
            "gate_channels": 16,
            "skip_channels": 16,
            "condition_channels": 8,
            "speaker_dim": 4,
            "context": 1,
            "upsample": 2,
        },
    )
    model = Autoencoder(config, SPEAKERS)
    save_model(model, path, training={"steps": 0}, scores={})
    shape = PriorConfig(16, model.codebook_id, {"width": 8, "dilations": [1, 2, 4]})
    save_prior(Prior(shape, SPEAKERS), path.with_name("prior.safetensors"), training={"steps": 0})


@dataclass(frozen=True)
class Ended:
    """How a run ended: its status (minus a signal; None where it hung), its words, its time."""

    status: int | None
    words: str
    seconds: float


def run(
    verb: Verb,
    out: Path,
    *,
    kill_after_s: float | None = None,
    limit_s: float = 300.0,
    words: Path | None = None,
) -> Ended:
    """Run a verb in a fork that writes into `out`, and kill it after so long, if it is not done by then.

    What it prints goes to `words`, beside `out` by default.
    """
    argv = [argument.replace("OUT", str(out)) for argument in verb.argv]
    words = words or out.with_name(f"{out.name}.words")
    words.touch()
    sys.stdout.flush()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _become(argv, words)
    status: int | None = None
    killed = False
    while True:
        done, how = os.waitpid(child, os.WNOHANG)
        spent = time.monotonic() - began
        if done:
            status = os.waitstatus_to_exitcode(how)
            break
        if kill_after_s is not None and spent > kill_after_s and not killed:
            os.kill(child, signal.SIGKILL)
            killed = True
        elif spent > limit_s:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            break
        time.sleep(0.001)
    return Ended(status, words.read_text(errors="replace"), time.monotonic() - began)


def _become(argv: Sequence[str], words: Path) -> None:
    """Turn this fork into the command; never returns."""
    status = 70
    try:
        file = os.open(words, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(file, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        status = main(argv)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(status)


def results(out: Path, verb: Verb) -> dict[str, Path]:
    """Return the files of a run that a person would take for results, by name."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        hidden = any(part.startswith(".") for part in Path(name).parts)
        if path.is_file() and not hidden and not any(part in name for part in verb.growing):
            found[name] = path
    return found


def differences(
    expected: Mapping[str, Path], found: Mapping[str, Path], *, all_there: bool
) -> list[str]:
    """Name what is missing (where all should be there), there too much, or not whole."""
    wrong = [f"{name}: missing" for name in expected if all_there and name not in found]
    for name, path in found.items():
        if name not in expected:
            if not any(part in name for part in VOLATILE):
                wrong.append(f"{name}: not there in an undisturbed run")
        elif any(part in name for part in VOLATILE):
            continue
        elif name.endswith(".safetensors"):
            if problem := _weights_differ(expected[name], path, final=all_there):
                wrong.append(f"{name}: {problem}")
        elif name.endswith("curve.jsonl"):
            if problem := _curves_differ(expected[name], path, final=all_there):
                wrong.append(f"{name}: {problem}")
        elif not _same_text(expected[name].read_bytes(), path.read_bytes(), expected[name], path):
            wrong.append(f"{name}: differs")
    return wrong


def _weights_differ(one: Path, other: Path, *, final: bool) -> str:
    """Compare models: before the end of a run one has to be whole, and holds earlier weights.

    Their headers say how long the training took.
    """
    try:
        weights, others = load_file(one), load_file(other)
    except Exception as error:
        return f"cannot be read ({error})"
    if {k: w.shape for k, w in weights.items()} != {k: w.shape for k, w in others.items()}:
        return "other weights"
    if final and not all(torch.equal(weights[key], others[key]) for key in weights):
        return "differs"
    return ""


def _curves_differ(one: Path, other: Path, *, final: bool) -> str:
    """Compare the curves of two trainings but for their speed; one that is under way has the first steps."""
    try:
        curves = [[json.loads(line) for line in path.open()] for path in (one, other)]
    except ValueError as error:
        return f"cannot be read ({error})"
    for entry in itertools.chain(*curves):
        entry.pop("samples_per_s", None)
    whole, found = curves
    if final:
        return "" if found == whole else "differs"
    return "" if all(entry in whole for entry in found) else "has what no undisturbed run has"


def _same_text(content: bytes, other: bytes, one: Path, two: Path) -> bool:
    """Compare bytes, whatever the two runs' folders are called."""
    return content == other or content.replace(bytes(one.parent), b"") == other.replace(
        bytes(two.parent), b""
    )


def complaints(ended: Ended, allowed: Sequence[int]) -> list[str]:
    """Name what no run may do: hang, show a traceback, end with another status."""
    if ended.status is None:
        return ["hang"]
    wrong = ["traceback"] if "Traceback" in ended.words else []
    if ended.status not in allowed:
        wrong.append(f"status {ended.status}: {ended.words.strip()[-200:]}")
    return wrong


@dataclass(frozen=True)
class Whole:
    """A run of a verb that nothing disturbed: what it left, and how long it took."""

    verb: Verb
    place: Path
    results: Mapping[str, Path]
    seconds: float

    def differences(self, place: Path, *, all_there: bool) -> list[str]:
        """Compare what a disturbed run has left."""
        return differences(self.results, results(place, self.verb), all_there=all_there)

    def again(self, place: Path, **how: Any) -> list[Ended]:
        """Run it once more, and where that is stopped by what was finished before, by force."""
        ended = [run(self.verb, place, **how)]
        kept = ended[0].status == 1 and "exists: it is kept" in ended[0].words
        if kept and self.differences(place, all_there=True):
            forced = Verb((*self.verb.argv, "--force"), self.verb.growing)
            ended.append(run(forced, place, **how))
        return ended


def campaign(
    description: str | None,
    what: str,
    times: int,
    kinds: Sequence[str],
    attempt: Callable[[Path, Whole, np.random.Generator], tuple[str, dict[str, list[str]]]],
) -> int:
    """Disturb every verb so many times, print how often what went wrong, and return the exit status.

    `attempt` works in a folder of the campaign and returns where it disturbed the verb, and complaints by `kinds`.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(f"--{what}", dest="times", type=int, default=times, help="for each verb")
    parser.add_argument("--verbs", default="prepare,train,codes,convert,align,analyze")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draw = np.random.default_rng(args.seed)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="vqspeech-campaign-") as folder:
        home = Path(folder)
        table = verbs(home)
        print(f"| verb | {what} | {' | '.join(kinds)} |")
        print(f"| {' | '.join(['---'] * (2 + len(kinds)))} |", flush=True)
        for name in args.verbs.split(","):
            verb, place = table[name], home / f"{name}-whole"
            if (undisturbed := run(verb, place)).status != 0:
                print(f"{name}: {undisturbed.words}", file=sys.stderr)
                return 1
            whole = Whole(verb, place, results(place, verb), undisturbed.seconds)
            counts = dict.fromkeys(kinds, 0)
            for _ in range(args.times):
                where, found = attempt(home, whole, draw)
                for kind, lines in found.items():
                    counts[kind] += bool(lines)
                    if lines:
                        failed = 1
                        print(f"{name}, {where}: {kind}: {lines}", file=sys.stderr)
            row = " | ".join(map(str, counts.values()))
            print(f"| {name} | {args.times} | {row} |", flush=True)
    return failed


def troubles(ended: Sequence[Ended], killed: bool = False) -> dict[str, list[str]]:
    """Complaints about runs, those that hung apart."""
    allowed = (0, 1, -signal.SIGKILL) if killed else (0, 1)
    found = [text for one in ended for text in complaints(one, allowed)]
    hung = [text for text in found if text == "hang"]
    return {"traceback": [text for text in found if text != "hang"], "hang": hung}
