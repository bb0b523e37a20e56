"""The half of ``burst.py`` that trains: a child process that learns, watched by this one, which keeps what it makes."""

import hashlib
import json
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from burst_process import Child, deadline, kill

from vqspeech.errors import ConfigurationError, VqspeechError
from vqspeech.jobs.atomic import write_file

SETTINGS = Path(__file__).with_name("burst.yaml")
RECORD = "train.json"

STATE_PART_BYTES = 15_000_000
"""Size of the parts that the state is kept in."""

KEEPING_S = 8.0
"""Of the time there is, what is for keeping the last results."""

SHORTEST_S = 25.0
"""Time left below which training is not started again."""

MOST_STARTS = 4
"""Starts of the child after which a run gives up."""

TIME_IS_UP = "time is up"

TINY = {
    "data.batch": 1,
    "data.segment": 3200,
    "data.crop": 1600,
    "data.workers": 0,
    "run.accelerator": "cpu",
    "run.precision": "32-true",
    "run.log_every": 1,
    "run.validate_every": 20,
    "run.validate_s": 1,
    "run.save_every_s": 5,
    "run.threads": 1,
}
"""Settings for a machine without a GPU: to rehearse with, not to learn from."""


def _set_key(settings: dict[str, Any], key: str, value: Any) -> None:
    """Change a setting by its dotted name."""
    *groups, name = key.split(".")
    at: Any = settings
    for group in groups:
        at = at.get(group) if isinstance(at, dict) else None
    if not isinstance(at, dict) or name not in at:
        raise ConfigurationError(f"{key}: no such setting in {SETTINGS.name}")
    at[name] = value


def settings_for(pack: Path, *, tiny: bool, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of `SETTINGS` for this machine, with changes by dotted name."""
    settings: dict[str, Any] = yaml.safe_load(SETTINGS.read_text(encoding="utf-8"))
    for key, value in ((TINY if tiny else {}) | dict(changes)).items():
        _set_key(settings, key, value)
    settings["data"]["store"] = str(pack)
    return settings


def parsed(assignments: list[str]) -> dict[str, Any]:
    """Return ``key=value`` arguments as a mapping; values are YAML.

    Raises
    ------
    ConfigurationError
        One is not of that form.
    """
    changes = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigurationError(f"{assignment}: not a setting as key=value")
        changes[key] = yaml.safe_load(value)
    return changes


class Keeper:
    """Copies what training makes into the output folder, each file whole or as it was before.

    Parameters
    ----------
    run : Path
        Folder of the run.
    out : Path
        The output folder.
    record : dict
        What the file `RECORD` says.
    say : callable
        Takes a line for people.
    """

    def __init__(
        self, run: Path, out: Path, record: dict[str, Any], say: Callable[[str], None]
    ) -> None:
        self.run, self.out, self.record, self.say = run, out, record, say
        self._seen: dict[str, int] = {}
        self.failed = ""

    def keep(self) -> None:
        """Copy what is new; when that fails one line says so, and the next call tries again."""
        try:
            new = [
                self._if_new("model.safetensors", self._weights),
                self._if_new("curve.jsonl", self._curve),
                self._if_new("state.pt", self._state),
            ]
            if any(new):
                self.write_record()
        except (OSError, VqspeechError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            if not self.failed:
                weights = self.record.get("weights")
                whole = (
                    f"{weights['file']} of step {weights['steps']} is whole"
                    if weights
                    else "no weights there yet"
                )
                self.say(f"{self.out}: results cannot be kept ({reason}); {whole}; make room there")
            self.failed = reason
        else:
            self.failed = ""

    def write_record(self) -> None:
        """Write `RECORD`."""
        write_file(self.out / RECORD, json.dumps(self.record, indent=1) + "\n")

    def _if_new(self, name: str, copy: Callable[[Path], None]) -> bool:
        path = self.run / name
        if not path.is_file() or path.stat().st_mtime_ns == self._seen.get(name):
            return False
        written = path.stat().st_mtime_ns
        copy(path)
        self._seen[name] = written
        return True

    def _weights(self, path: Path) -> None:
        # seconds to import: not before there is something to keep
        from vqspeech.models.checkpoint import load_model, read_header, save_model

        header = read_header(path)
        before = self.record.get("weights", {}).get("file")
        name = f"weights-{1 if before == 'weights-0.safetensors' else 0}.safetensors"
        model = load_model(path)
        save_model(model, self.out / name, header["training"], header["scores"], half=True)
        self.record["weights"] = {"file": name, "steps": header["training"]["steps"]}

    def _curve(self, path: Path) -> None:
        write_file(self.out / path.name, path.read_bytes())

    def _state(self, path: Path) -> None:
        data = path.read_bytes()
        count = max(1, -(-len(data) // STATE_PART_BYTES))
        names = [f"state.pt.part-{i:02}" for i in range(count)]
        # those before stay until all new ones are there
        with tempfile.TemporaryDirectory(prefix=".state.", dir=self.out) as beside:
            for i, name in enumerate(names):
                part = data[i * STATE_PART_BYTES : (i + 1) * STATE_PART_BYTES]
                (Path(beside) / name).write_bytes(part)
            for name in names:
                (Path(beside) / name).replace(self.out / name)
        self.record["state"] = {"sha256": hashlib.sha256(data).hexdigest(), "parts": names}
        self.write_record()


def join(out: Path, state: Path) -> None:
    """Make a training state of the parts that ``train`` left.

    Parameters
    ----------
    out : Path
        Output folder of ``train``.
    state : Path
        The file to write; ``cat state.pt.part-*`` makes the same one, unchecked.

    Raises
    ------
    ConfigurationError
        There are no parts, or they are not those that belong together.
    """
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))["state"]
        names, digest = record["parts"], record["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigurationError(f"{out / RECORD}: names no parts of a state") from None
    parts = []
    for name in names:
        try:
            parts.append((out / name).read_bytes())
        except OSError as error:
            raise ConfigurationError(
                f"{out / name}: {error.strerror}; copy all {len(names)} parts, or start anew from the weights"
            ) from None
    whole = b"".join(parts)
    if hashlib.sha256(whole).hexdigest() != digest:
        raise ConfigurationError(
            f"{out}: the parts of the state are not those of one moment (SHA-256 differs); copy them again, or start"
            " anew from the weights"
        )
    write_file(state, whole)


class Burst:
    """A training run within a time limit: starts, watches and restarts its child.

    Parameters
    ----------
    pack, out : Path
        What is learned from, and the output folder.
    seconds : float
        Time there is, from the start of this process.
    choice : mapping
        ``batch`` and ``compile``, as ``burst.py check`` chose them.
    tiny : bool
        Rehearse on a CPU.
    changes : mapping
        Settings to change, by dotted name.
    stall_s : float
        Seconds without progress after which the child is killed; while it compiles, ``run.compile_s`` more.
    work : Path
        An empty folder, for what is not worth keeping.
    """

    def __init__(
        self,
        pack: Path,
        out: Path,
        seconds: float,
        *,
        choice: Mapping[str, Any],
        tiny: bool,
        changes: Mapping[str, Any],
        stall_s: float,
        work: Path,
    ) -> None:
        self.ends, self.stall_s, self.out = deadline(seconds), stall_s, out
        chosen = {"data.batch": choice["batch"], "run.compile": choice["compile"]}
        self.settings = settings_for(pack, tiny=tiny, changes=chosen | dict(changes))
        self.work = work
        self.settings["run"]["dir"] = str(self.work / "run")
        (self.work / "run").mkdir()
        self._log = (out / "train.log").open("a", encoding="utf-8")
        self.record: dict[str, Any] = {"settings": self.settings, "starts": []}
        self.keeper = Keeper(self.work / "run", out, self.record, self.say)
        self.stopping = False

    def say(self, line: str) -> None:
        """Tell people something, on standard output and in the log."""
        self._write(f"burst: {line}\n")

    def _write(self, text: str) -> None:
        print(text, end="", flush=True)
        with suppress(OSError):
            # a full folder must not end training
            self._log.write(text)
            self._log.flush()

    def go(self) -> int:
        """Train until the time is up, and return the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._request_stop)
        error = self._train()
        self.keeper.keep()
        return self._conclude(error)

    def _request_stop(self, *_: object) -> None:
        self.stopping = True

    def _train(self) -> str:
        """Start the child until it is done or there is no time left; return what went wrong, if anything."""
        run, ended = self.settings["run"], ""
        for number in range(MOST_STARTS):
            left_s = self.ends - KEEPING_S - time.monotonic()
            if left_s < SHORTEST_S:
                return ended or f"{left_s:.0f} s are too short to begin"
            run["deadline_s"] = round(left_s, 1)
            run["compile_s"] = min(run["compile_s"], max(1, int(left_s / 4)))
            child = Child(self.settings, self.work, self._write)
            cut = self._watch(child)
            ended = cut or child.ended()
            self.record["starts"].append({"compile": run["compile"], "ended": ended})
            self.keeper.keep()
            if cut == TIME_IS_UP or self.stopping or child.process.returncode == 0:
                return ""
            last = child.last_lines[-1] if child.last_lines else ""
            if child.process.returncode == 1 and last.startswith("vqspeech: "):
                # bad input or a full disk: another start would find the same
                return last.removeprefix("vqspeech: ")
            if number + 1 < MOST_STARTS:
                step = self.record.get("weights", {}).get("steps", 0)
                self.say(f"training ended: {ended}; going on eager from step {step}")
            run["compile"] = False
        return ended

    def _watch(self, child: Child) -> str:
        """Keep results until the child ends; where it is cut off, end it and say why."""
        while child.process.poll() is None:
            time.sleep(0.2)
            if self.stopping:
                child.stop(30)
                return "asked to stop"
            if time.monotonic() > self.ends - KEEPING_S / 2:
                child.stop(KEEPING_S / 4)
                return TIME_IS_UP
            patience_s = self.stall_s
            if self.settings["run"]["compile"] and not child.advanced:
                patience_s += self.settings["run"]["compile_s"]
            if child.quiet_s() > patience_s:
                kill(child.process)
                return f"no progress for {patience_s:.0f} s"
            self.keeper.keep()
        return ""

    def _conclude(self, error: str) -> int:
        with suppress(OSError):
            self.keeper.write_record()
        weights = self.record.get("weights")
        if weights is None:
            self.say(f"no weights were written: {error or 'stopped before a first save'}")
            return 1
        done = f"{self.out / weights['file']} has the averaged weights of step {weights['steps']}"
        if error or self.keeper.failed:
            self.say(f"{error or self.keeper.failed}; {done}")
            return 1
        self.say(done)
        return 0


def train(
    pack: Path,
    out: Path,
    seconds: float,
    *,
    choice: Path | None,
    tiny: bool,
    changes: Mapping[str, Any],
    stall_s: float,
) -> int:
    """Train within a time limit and return the exit status; see `Burst`, and `join` for the state in the folder.

    Parameters
    ----------
    choice : Path or None
        What ``burst.py check`` chose; None decides anew.
    pack, out, seconds, tiny, changes, stall_s
        See `Burst`.

    Raises
    ------
    ConfigurationError
        Settings, choice or the state in the output folder cannot be used.
    """
    import torch

    card = torch.cuda.is_available()
    tiny = tiny or not card
    chosen: dict[str, Any] = {"batch": 1 if tiny else "auto", "compile": card and not tiny}
    if choice is not None:
        try:
            found = json.loads(choice.read_text(encoding="utf-8"))
            chosen = {name: found[name] for name in chosen}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(f"{choice}: no choice of burst.py check ({error})") from None
    with tempfile.TemporaryDirectory(prefix="vqspeech-burst-", ignore_cleanup_errors=True) as work:
        burst = Burst(
            pack,
            out,
            seconds,
            choice=chosen,
            tiny=tiny,
            changes=changes,
            stall_s=stall_s,
            work=Path(work),
        )
        if (out / RECORD).is_file() and list(out.glob("state.pt.part-*")):
            join(out, burst.work / "run/state.pt")
            burst.say(f"going on from the state in {out}")
        return burst.go()
