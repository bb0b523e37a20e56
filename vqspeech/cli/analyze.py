"""``vqspeech analyze``: what codes say of phones and speakers, beside baselines, as tables, pictures and a page."""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from vqspeech.cli import options
from vqspeech.cli.files import check_folder, check_outputs, packed
from vqspeech.errors import ConfigurationError
from vqspeech.jobs.atomic import write_file
from vqspeech.jobs.lock import only_run
from vqspeech.models import pretrained

if TYPE_CHECKING:
    from vqspeech.analysis.study import SystemStudy
    from vqspeech.analysis.systems import System
    from vqspeech.corpus.store import PackedStore
    from vqspeech.jobs.progress import Progress
    from vqspeech.models.autoencoder import Autoencoder
    from vqspeech.models.prior import Prior

HELP = "codes against phones and speakers: scores beside baselines, one HTML report"

_TABLES = ("scores.json", "scores.csv", "scores.md")
_PAGE = "report.html"
_FOLDERS = ("plots", "textgrids")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument(
        "--model",
        action="append",
        metavar=options.MODEL_METAVAR,
        help=f"{options.MODEL_HELP}; again for more models (default: the variable {options.MODEL_VARIABLE},"
        f" else {pretrained.DEFAULT})",
    )
    parser.add_argument(
        "--prior",
        action="append",
        default=[],
        metavar=options.MODEL_METAVAR,
        help="a prior over the codes of one of the models, for what they cost; again for more (default:"
        " MODEL-prior.safetensors beside a model, else the shipped one over the same codes)",
    )
    parser.add_argument(
        "--corpus",
        "--store",
        required=True,
        type=Path,
        metavar="PATH",
        help="with phone labels: a prepared store, or a corpus as vqspeech prepare takes it, which is"
        " packed into OUT/store first",
    )
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="FOLDER",
        help=f"where {', '.join((*_TABLES, _PAGE, *_FOLDERS))} go",
    )
    parser.add_argument(
        "--train-minutes",
        type=options.number(lambda value: value > 0, "above 0"),
        default=20.0,
        metavar="N",
        help="how much of the train split the codes are mapped on (default: 20)",
    )
    parser.add_argument(
        "--examples",
        type=options.whole_number(0, 10_000, "from 0 to 9999"),
        default=6,
        metavar="N",
        help="test utterances to look at and listen to in the report (default: 6)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
    parser.add_argument("--force", action="store_true", help="replace existing files")
    options.add_device_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Measure the models that `args` name, write the files and print the tables.

    Raises
    ------
    ConfigurationError
        When the outputs have no place or exist, or the rates differ.
    CorpusError
        When the corpus is none or has no labels to hold codes against.
    ModelFileError
        When there is no such model, or a file is not one.
    """
    files = _model_files(args)
    out: Path = args.out
    check_folder(out)
    check_outputs([out / name for name in (*_TABLES, _PAGE)], force=args.force)
    for name in _FOLDERS:
        if (out / name).exists() and not args.force:
            raise ConfigurationError(f"{out / name} exists: it is kept unless you say --force")
    with only_run(out):
        _analyze(args, files, out)


def _analyze(args: argparse.Namespace, files: Mapping[str, str], out: Path) -> None:
    """Do what `run` does once the places are known to be free."""
    from vqspeech.analysis.examples import choose_examples, example_textgrid, make_examples
    from vqspeech.analysis.material import choose_material
    from vqspeech.analysis.study import STEPS, study_system, track_pitch
    from vqspeech.analysis.systems import MODEL, mfcc_shapes
    from vqspeech.corpus.store import PackedStore
    from vqspeech.jobs.progress import Progress
    from vqspeech.models.checkpoint import load_model
    from vqspeech.report import analysis as report
    from vqspeech.report.plots import pictures

    device = options.find_device(args)
    models = {name: load_model(file).to(device) for name, file in files.items()}
    for name, model in models.items():
        options.check_codes(model, name)
    rate = next(iter(models.values())).sample_rate
    store = PackedStore(packed(args.corpus, out / "store", rate, force=args.force))
    for name, model in models.items():
        if model.sample_rate != store.sample_rate:
            raise ConfigurationError(
                f"{store.path}: holds {store.sample_rate} Hz and the model {name} takes "
                f"{model.sample_rate} Hz; prepare the corpus at the model's rate"
            )
    priors = _priors(args.prior, files, models)
    material = choose_material(store, args.train_minutes, args.seed)
    shapes = _architectures(models)
    baselines = len(shapes) + len(mfcc_shapes(models.values()))
    steps = 3 + baselines + len(models) + STEPS * (len(models) + baselines)
    with Progress(steps, "steps", "analyze", every_s=5) as bar:
        systems = _systems(files, models, priors, shapes, store, material.fitted, args.seed, bar)
        pitch = track_pitch(store, material, args.seed)
        bar.update(1, "pitch is tracked")
        studies: list[SystemStudy] = []
        for system in systems:
            studies.append(
                study_system(
                    system,
                    store,
                    material,
                    pitch,
                    seed=args.seed,
                    step=lambda note: bar.update(1, note),
                )
            )
        chosen = choose_examples(store, studies[0].aligned.scored, args.examples)
        examples = make_examples(models, systems, store, material.labels, chosen, args.seed)
        bar.update(1, "examples are drawn")
        figures: dict[str, dict[str, bytes]] = {}
        for study in studies:
            if study.system.kind == MODEL:
                figures[study.system.name] = pictures(study)
                bar.update(1, f"{study.system.name}: pictures")
        contents = {
            "scores.json": report.to_json(studies).encode(),
            "scores.csv": report.to_csv(studies).encode(),
            "scores.md": report.to_markdown(material, studies).encode(),
        }
        for name, images in figures.items():
            contents |= {f"plots/{_slug(name)}-{key}.png": png for key, png in images.items()}
        own = [system for system in systems if system.kind == MODEL]
        for example in examples:
            stem = f"{_slug(example.speaker)}-{_slug(example.utterance)}"
            contents[f"textgrids/{stem}.TextGrid"] = example_textgrid(example, own).encode()
        # Written last: where the page is, all is there.
        contents[_PAGE] = report.to_html(material, studies, figures, examples).encode()
        for place, content in contents.items():
            write_file(out / place, content)
        bar.update(1, "files are written")
    print(contents["scores.md"].decode())
    for place in (*_TABLES, _PAGE):
        print(out / place)


def _model_files(args: argparse.Namespace) -> dict[str, str]:
    """Return the model files by short names: their stems, or where those are alike what tells the paths apart."""
    files = list(dict.fromkeys(args.model or [options.default_model()]))
    paths = [Path(file).absolute().with_suffix("") for file in files]
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        first = _shared([path.parts for path in paths])
        last = _shared([path.parts[::-1] for path in paths])
        names = ["/".join(path.parts[first : len(path.parts) - last]) for path in paths]
    if len(set(names)) < len(names) or not all(names):
        names = files
    return dict(zip(names, files, strict=True))


def _shared(paths: Sequence[Sequence[str]]) -> int:
    """Count the parts that all paths begin with."""
    alike = (len(set(parts)) == 1 for parts in zip(*paths, strict=False))
    return sum(1 for _ in takewhile(bool, alike))


def _architectures(models: "Mapping[str, Autoencoder]") -> "dict[str, Autoencoder]":
    """Return one model of each shape of encoder and codebook, by the name that its random weights get."""
    from vqspeech.analysis.systems import RANDOM

    found: dict[str, tuple[str, Autoencoder]] = {}
    for name, model in models.items():
        shape = repr((model.config.encoder, model.config.dim, model.codebook_size))
        found.setdefault(shape, (name, model))
    if len(found) == 1:
        return dict.fromkeys([RANDOM], next(iter(models.values())))
    return {f"{RANDOM}, {name}": model for name, model in found.values()}


def _priors(
    named: Sequence[str], files: Mapping[str, str], models: "Mapping[str, Autoencoder]"
) -> "dict[str, Prior]":
    """Return the priors of those models that have one: named by hand, else beside the model."""
    from vqspeech.models.checkpoint import read_prior_header

    by_hand = {read_prior_header(file)["config"].get("codebook_id"): file for file in named}
    known = {name: model.codebook_id for name, model in models.items()}
    for codebook, file in by_hand.items():
        if codebook not in known.values():
            raise ConfigurationError(
                f"--prior {file}: was trained on codes of codebook {codebook}, and no model here has it"
            )
    priors = {
        name: options.find_prior(by_hand.get(known[name]), model, files[name])
        for name, model in models.items()
    }
    return {name: prior for name, prior in priors.items() if prior is not None}


def _systems(
    files: Mapping[str, str],
    models: "Mapping[str, Autoencoder]",
    priors: "Mapping[str, Prior]",
    shapes: "Mapping[str, Autoencoder]",
    store: "PackedStore",
    fitted: tuple[int, ...],
    seed: int,
    bar: "Progress",
) -> "list[System]":
    """Return the models and their baselines."""
    from vqspeech.analysis.systems import (
        code_nats,
        decoder_bits,
        mfcc_shapes,
        mfcc_system,
        model_facts,
        model_system,
        random_system,
    )
    from vqspeech.models.checkpoint import read_header

    systems = []
    for name, model in models.items():
        header = read_header(files[name])
        facts = {"file": files[name], **model_facts(header, model)}
        nats = code_nats(priors[name]) if name in priors else None
        bits = decoder_bits(header)
        system = model_system(model, name)
        systems.append(replace(system, facts=facts, code_nats=nats, sample_bits=bits))
    for name, model in shapes.items():
        systems.append(random_system(model, name, store, fitted, seed))
        bar.update(1, f"{name}: made")
    for size, hop in mfcc_shapes(models.values()):
        systems.append(mfcc_system(store, fitted, size, hop, seed))
        bar.update(1, f"{systems[-1].name}: fitted")
    return systems


def _slug(text: str) -> str:
    """Make a name that may stand in a file name."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "unnamed"
