"""Training on a machine that is lent for minutes and has none of this project's packages but torch and a few more.

Run from the repository with whatever Python the machine has; nothing is installed, built or downloaded, and all that is
worth keeping lies in one output folder, at every moment ready to be taken away::

    python recipes/pretrained/burst.py check --pack PACK --out OUT --seconds 170
    python recipes/pretrained/burst.py train --pack PACK --out OUT --seconds 480
    python recipes/pretrained/burst.py join OUT

PACK is what ``vqspeech pack`` makes. ``check`` says what the machine can do, section by section, and chooses batch and
form of the training step: check.json, check.txt, choice.json. ``train`` goes on from the model that burst.yaml names,
or from the state in OUT, until the time is up. It leaves weights-0.safetensors and weights-1.safetensors, averaged, in
fp16, written in turn; curve.jsonl, train.json and train.log; and the training state in parts, from which ``join`` makes
state.pt. ``key=value`` at the end changes settings. Compilers keep their caches where they always do, so that ``train``
finds there what ``check`` has compiled.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# nothing is installed
sys.path.insert(0, str(ROOT))

from burst_check import SECTIONS, check, run_section  # noqa: E402
from burst_train import join, parsed, train  # noqa: E402

from vqspeech.errors import VqspeechError  # noqa: E402


def main(argv: list[str] | None = None) -> int:
    """Do what the command line says and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="burst.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("check", "train", "section"):
        command = commands.add_parser(name)
        command.add_argument("--pack", type=Path, required=True)
        command.add_argument("--out", type=Path, required=True)
        command.add_argument("--seconds", type=float, default={"check": 170.0}.get(name, 480.0))
        command.add_argument("--tiny", action="store_true", help="small sizes, on the CPU")
        command.add_argument("changes", nargs="*", metavar="KEY=VALUE", help="over burst.yaml")
        if name == "section":
            command.add_argument("--section", choices=SECTIONS, required=True)
        if name == "train":
            command.add_argument(
                "--choice", type=Path, help="default: choice.json in --out, if any"
            )
            command.add_argument(
                "--stall-s", type=float, default=60.0, help="killed after that long"
            )
    joined = commands.add_parser("join")
    joined.add_argument("out", type=Path)
    args = parser.parse_args(argv)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        if args.command == "join":
            join(args.out, args.out / "state.pt")
            print(args.out / "state.pt")
            return 0
        changes = parsed(args.changes)
        args.pack = args.pack.absolute()
        if args.command == "section":
            return run_section(args.section, args.pack, args.out, tiny=args.tiny, changes=changes)
        if args.command == "check":
            return check(args.pack, args.out, args.seconds, tiny=args.tiny, changes=args.changes)
        own = args.out / "choice.json"
        return train(
            args.pack,
            args.out,
            args.seconds,
            choice=args.choice or (own if own.is_file() else None),
            tiny=args.tiny,
            changes=changes,
            stall_s=args.stall_s,
        )
    except (VqspeechError, OSError) as error:
        print(f"burst: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
