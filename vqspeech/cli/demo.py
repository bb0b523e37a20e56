"""``vqspeech demo``: a page in the browser to hear a model on."""

import argparse
import ipaddress
import logging
import math

from vqspeech.cli import options

log = logging.getLogger("vqspeech")

HELP = "a page to convert, edit codes and hear new speech in the browser"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="where to listen (default: 127.0.0.1, this machine alone)",
    )
    parser.add_argument(
        "--port",
        type=options.whole_number(0, 2**16, "from 0 to 2^16 - 1"),
        default=7860,
        metavar="N",
        help="0 for a free one (default: 7860)",
    )
    parser.add_argument(
        "--longest",
        type=options.number(lambda value: 1 <= value <= 600, "from 1 to 600"),
        default=30.0,
        metavar="S",
        help="longest recording, seconds (default: 30)",
    )
    count = options.whole_number(1, 1001, "from 1 to 1000")
    parser.add_argument(
        "--at-once",
        type=count,
        metavar="N",
        help="sounds that are made at the same time; others wait in line (default: as many as CPU cores, 1 on a GPU)",
    )
    parser.add_argument(
        "--waiting",
        type=count,
        default=50,
        metavar="N",
        help="how many may wait in line; more are told to come again (default: 50)",
    )
    options.add_draw_arguments(parser, "levels")
    options.add_engine_arguments(parser)
    options.add_prior_argument(parser)
    options.add_model_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Serve the page until interrupted.

    Raises
    ------
    ConfigurationError
        Gradio is missing, the address cannot be had, or the engine cannot run.
    ModelFileError
        There is no such model or prior.
    """
    from vqspeech.demo.server import check_installed, listen, make_app, private_folder, serve

    check_installed()
    opened = listen(args.host, args.port)
    with opened, private_folder():
        name = options.model_name(args)
        model = options.open_model(args)
        prior = options.find_prior(args.prior, model, name) if model.discrete else None

        from vqspeech.cli.render import choose_engine
        from vqspeech.demo.sounds import Visitors
        from vqspeech.demo.studio import Studio
        from vqspeech.sampling import usable_threads

        drawing = choose_engine(model, options.sampling_of(args))
        log.warning("%s", drawing.note)
        studio = Studio(model, name, drawing.sampling, prior, args.longest)
        studio.measure()
        able = usable_threads() if model.device.type == "cpu" else 1
        app = make_app(studio, Visitors(), at_once=args.at_once or able, waiting=args.waiting)
        if not _is_loopback(args.host):
            log.warning("--host %s: whoever reaches this machine can use the page", args.host)
        host = f"[{args.host}]" if ":" in args.host else args.host
        address = f"http://{host}:{opened.getsockname()[1]}"
        speed = "" if math.isnan(studio.speed) else f", {studio.speed:.1f} x real time"
        serve(app, opened, lambda: print(f"{address} ({name}{speed})", flush=True))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
