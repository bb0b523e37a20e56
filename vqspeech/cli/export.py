"""``vqspeech export``: encoder and codebook as ONNX, for codes where torch does not run; compared where asked."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vqspeech.cli.files import check_outputs
from vqspeech.cli.options import add_model_argument, check_codes, model_name
from vqspeech.corpus.manifest import SPLITS
from vqspeech.errors import ConfigurationError

if TYPE_CHECKING:
    from vqspeech.corpus.store import PackedStore
    from vqspeech.models.autoencoder import Autoencoder

HELP = "encoder and codebook as ONNX, for codes without torch"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument(
        "--onnx",
        required=True,
        type=Path,
        metavar="FILE",
        help="the graph: wav, float32, (batch, samples), to codes, int64, (batch, frames)",
    )
    add_model_argument(parser)
    parser.add_argument(
        "--check",
        type=Path,
        metavar="STORE",
        help="encode a split of a prepared store by onnxruntime and by torch, and count the codes that differ",
    )
    parser.add_argument(
        "--split", choices=SPLITS, default="test", help="of --check (default: test)"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing file")


def run(args: argparse.Namespace) -> None:
    """Write the graph of the model that `args` name, and compare it where they name a store.

    Raises
    ------
    ConfigurationError
        When the file exists, or a package is missing.
    CorpusError
        When the store cannot be read.
    ModelFileError
        When there is no such model, or it has no codes.
    """
    import vqspeech
    from vqspeech.corpus.store import PackedStore
    from vqspeech.models.onnx_export import export_onnx

    check_outputs([args.onnx], force=args.force)
    store = None if args.check is None else PackedStore(args.check)
    name = model_name(args)
    model = vqspeech.load(name)
    check_codes(model, name)
    export_onnx(model, args.onnx, name)
    print(f"{args.onnx}: {args.onnx.stat().st_size:,} bytes")
    if store is not None:
        print(_compare(model, args.onnx, store, args.split))


def _compare(model: "Autoencoder", file: Path, store: "PackedStore", split: str) -> str:
    """Count the codes of a split that differ; a margin is torch's score of its code less that of the other code."""
    import numpy as np
    import torch

    from vqspeech.cli.encode import encode_stored, find_stored
    from vqspeech.models.onnx_export import scores

    try:
        import onnxruntime
    except ImportError:
        raise ConfigurationError(
            "--check needs onnxruntime: pip install 'vqspeech[onnx]'"
        ) from None
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    indices = find_stored(store, split)
    frames, margins, seconds = 0, [], []
    for source, (codes, _, _) in encode_stored(model, store, indices, list(indices)):
        wav = store.wav(indices[source])
        (found,) = session.run(None, {"wav": np.asarray(wav, dtype=np.float32)[None]})
        frames += len(codes)
        with torch.inference_mode():
            of = scores(model.quantizer, model.vectors(wav)[None])[0]
        best = of.topk(2, -1).values
        seconds.append(best[:, 0] - best[:, 1])
        own, other = codes[:, None], torch.from_numpy(found).T
        margins.append((of.gather(1, own) - of.gather(1, other))[own != other])
    apart = torch.cat(margins)
    line = f"{store.path}, {split}: {len(indices):,} recordings, {frames:,} codes, {len(apart):,} differ from torch's"
    if len(apart) == 0:
        return line
    usual = float(torch.cat(seconds).median())
    return (
        f"{line} ({len(apart) / frames:.4%}); largest margin between the two codes {float(apart.max()):.2g},"
        f" median margin of a frame {usual:.2g}"
    )
