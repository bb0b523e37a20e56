r"""Compare settings of training by what they reach in the same processor time.

Each variant is a list of key=value settings for ``vqspeech train``. Without ``--codes`` a variant trains encoder and
codebook through its spectral head and is judged by its codes; with ``--codes MODEL`` it trains a new decoder on the
codes of that model and is judged by the likelihood of the valid split. Time is that of the thread, so that a busy
machine changes little; schedules are stretched to fit.

    python recipes/pretrained/compare.py --store STORE --codes MODEL --seconds 240 \
        "optimizer.muon_learning_rate=0" "data.scored_every=1" ""
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from lightning.fabric import Fabric

from vqspeech.analysis.phoneme_study import study_phonemes
from vqspeech.cli.train import compose
from vqspeech.corpus.store import PackedStore
from vqspeech.errors import exit_status
from vqspeech.models.checkpoint import load_model
from vqspeech.training.config import TrainConfig, from_mapping
from vqspeech.training.data.pitchtracks import PitchTracks
from vqspeech.training.data.segments import Segments
from vqspeech.training.loop import pitch_tracks
from vqspeech.training.memory import keep_freed_memory
from vqspeech.training.schedule import learning_rate
from vqspeech.training.start import averaged, set_rates, start, start_codebook
from vqspeech.training.state import State
from vqspeech.training.validate import held_out


def train_for(
    config: TrainConfig,
    store: PackedStore,
    tracks: PitchTracks | None,
    state: State,
    seconds: float,
    codes: bool,
) -> int:
    """Train decoder or codes for so many seconds of this thread, on the CPU; return the steps made."""
    model, objective = state.objective.model, state.objective
    warm, joint = config.phases()[0], config.phases()[-1]
    phase = joint if codes else warm
    pitch = None if tracks is None else (tracks, model.decoder.condition_hop)
    segments = Segments(
        store, [phase], model.hop, config.run.seed, speakers=model.speakers, pitch=pitch
    )
    began, step = time.thread_time(), 0
    while (done := (time.thread_time() - began) / seconds) < 1:
        torch.manual_seed(step)
        # the schedule in thousandths of the time, its rise in steps
        share = learning_rate(int(1000 * done), 1000, 1.0, 0) * min(1.0, (step + 1) / 50)
        set_rates(state.optimizers, config, codes, share)
        losses = objective(segments[step], phase.crop, codes_learn=not codes)
        for optimizer in state.optimizers:
            optimizer.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), config.optimizer.clip)
        for optimizer in state.optimizers:
            optimizer.step()
        if not codes:
            model.bottleneck.update(losses.output)
        state.average.update(model.decoder)
        step += 1
    return step


@exit_status("compare")
def main() -> None:
    """Parse, train and judge one variant after another, print a line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, required=True, metavar="DIR")
    parser.add_argument("--codes", metavar="MODEL", help="a model whose codes are decoded")
    parser.add_argument("--experiment", default="vctk", metavar="NAME")
    parser.add_argument("--seconds", type=float, default=240, metavar="S")
    parser.add_argument("--valid-s", type=float, default=30, metavar="S", help="speech scored")
    parser.add_argument("variants", nargs="+", metavar="'key=value ...'")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    store, fabric = PackedStore(args.store), Fabric(accelerator="cpu", devices=1)
    print("| settings | steps | found |\n| --- | --- | --- |")
    for variant in args.variants:
        places = [f"data.store='{args.store}'", "run.dir=none", "machine=cpu"]
        settings = [f"experiment={args.experiment}", *places, *variant.split()]
        config = from_mapping(compose(settings))
        tracks = pitch_tracks(config, store, fabric)
        voices = None if tracks is None else tracks.voices()
        state = start(config, store.speakers, torch.device("cpu"), voices)
        model = state.objective.model
        if args.codes:
            known = load_model(args.codes)
            model.encoder, model.bottleneck = known.encoder, known.bottleneck
        else:
            start_codebook(config, store, model)
        steps = train_for(config, store, tracks, state, args.seconds, bool(args.codes))
        model.eval()
        if args.codes:
            scores = held_out(averaged(state), store, "valid", args.valid_s)
            gap = scores.shuffled_bits * np.log(2) - scores.nats_per_sample
            found = f"{scores.nats_per_sample:.3f} nats, codes shuffled +{gap:.3f}"
        else:
            phones = study_phonemes(model, store)
            quiet, whole = phones.without_silence, phones.with_silence
            found = (
                f"map accuracy {100 * quiet.map_accuracy:.1f} %, chance {100 * quiet.chance:.1f} %,"
                f" {whole.used_codes} of {model.codebook_size} codes, perplexity {whole.perplexity:.0f}"
            )
        print(f"| {variant or 'as configured'} | {steps} | {found} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
