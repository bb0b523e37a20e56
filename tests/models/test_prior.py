"""The prior: what it says of a sequence, step by step and at once, and what it draws."""

import copy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vqspeech.codes.entropy import weights
from vqspeech.errors import ConfigurationError, VqspeechError
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import load_prior
from vqspeech.models.prior import SCORED_FRAMES, SMALLEST, Prior, PriorConfig, check_fits

TOLERANCE = 1e-4
"""Nats, of likelihoods from sums of float32 products in another order."""


@pytest.fixture
def codes(tiny_prior: Prior) -> Tensor:
    """Return more codes than are scored at a time."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(tiny_prior.codebook_size, (SCORED_FRAMES + 50,), generator=generator)


def test_steps_agree_with_the_parallel_pass(tiny_prior: Prior, codes: Tensor) -> None:
    """The likelihood in windows is that of one code after another, for a speaker and for nobody."""
    for speaker in ("p226", None):
        predictor = tiny_prior.predictor(speaker)
        steps = []
        for code in codes.tolist():
            steps.append(-np.log(predictor.probabilities()[code]))
            predictor.push(code)
        found = tiny_prior.nll(codes, speaker)
        assert found.shape == codes.shape
        assert float(found.std()) > 0.1
        np.testing.assert_allclose(found.numpy(), steps, rtol=0, atol=TOLERANCE)


def test_probabilities(tiny_prior: Prior) -> None:
    """They are a distribution, and no code is impossible, however unlikely."""
    shares = tiny_prior.predictor().probabilities()
    assert (shares.shape, shares.dtype) == ((16,), np.float64)
    assert shares.sum() == pytest.approx(1)
    certain = Prior(tiny_prior.config, []).eval()
    with torch.no_grad():
        certain.network.output.bias[3] = 1e4
    shares = certain.predictor().probabilities()
    assert shares[3] == 1
    assert shares.min() == SMALLEST > 0


def test_a_later_code_changes_nothing_before_it(tiny_prior: Prior, codes: Tensor) -> None:
    """The likelihood of a code does not depend on what follows."""
    changed = codes.clone()
    changed[30:] = 0
    assert torch.equal(tiny_prior.nll(codes[:40])[:30], tiny_prior.nll(changed[:40])[:30])


def test_speakers_differ_and_strangers_are_nobody(tiny_prior: Prior, codes: Tensor) -> None:
    """Each speaker is one of its own; whom the prior does not know is nobody, and so is None."""
    one, other, nobody, stranger = (
        tiny_prior.nll(codes, s) for s in ("p225", "p226", None, "p999")
    )
    assert not torch.equal(one, other)
    assert not torch.equal(one, nobody)
    assert torch.equal(stranger, nobody)


def test_nothing_has_no_likelihood(tiny_prior: Prior) -> None:
    """No codes give no figures, and no frames no codes."""
    assert tiny_prior.nll(torch.empty(0, dtype=torch.int64)).shape == (0,)
    assert tiny_prior.sample(0, seed=0).shape == (0,)


def test_a_seed_decides_what_is_drawn(tiny_prior: Prior) -> None:
    """The same seed gives the same codes, another one others; torch's own generator is left alone."""
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    one, again, other = (tiny_prior.sample(50, "p225", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(torch.rand(1), expected)
    assert one.dtype == torch.int64
    assert 0 <= int(one.min()) <= int(one.max()) < 16


def test_draws_have_the_distribution_that_is_predicted(tiny_prior: Prior) -> None:
    """Over many seeds the first code comes as often as its probability says, within four standard errors."""
    draws = 1500
    drawn = [int(tiny_prior.sample(1, "p227", seed=seed)) for seed in range(draws)]
    found = np.bincount(drawn, minlength=16) / draws
    expected = tiny_prior.predictor("p227").probabilities()
    error = np.sqrt(expected * (1 - expected) / draws)
    assert (np.abs(found - expected) < 4 * error).all()


def test_temperature_and_top_p(tiny_prior: Prior) -> None:
    """At temperature 0, or with a tiny nucleus, the likeliest code is always taken."""
    likeliest = tiny_prior.sample(20, seed=1, temperature=0.0)
    assert torch.equal(tiny_prior.sample(20, seed=2, temperature=0.0), likeliest)
    assert torch.equal(tiny_prior.sample(20, seed=3, top_p=1e-6), likeliest)
    predictor = tiny_prior.predictor()
    for code in likeliest.tolist():
        assert code == int(predictor.probabilities().argmax())
        predictor.push(code)
    for wrong in ({"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.5}):
        with pytest.raises(ConfigurationError):
            tiny_prior.sample(1, seed=0, **wrong)


def test_a_prompt_is_gone_on_from(tiny_prior: Prior) -> None:
    """What follows a prompt is drawn from what the prior predicts after it, and depends on it."""
    prompt = tiny_prior.sample(30, "p225", seed=5)
    greedy = tiny_prior.sample(1, "p225", prompt=prompt, seed=0, temperature=0.0)
    predictor = tiny_prior.predictor("p225")
    for code in prompt.tolist():
        predictor.push(code)
    assert int(greedy) == int(predictor.probabilities().argmax())
    after = [
        tiny_prior.sample(30, "p225", prompt=p, seed=0) for p in (prompt, prompt.numpy(), None)
    ]
    assert torch.equal(after[0], after[1])
    assert not torch.equal(after[0], after[2])


@pytest.mark.parametrize("codes", [[0, 16], [-1, 3], [[1, 2]]])
def test_codes_that_are_not_this_priors(tiny_prior: Prior, codes: list) -> None:
    """Codes out of range or of another shape are refused, whoever asks."""
    row = torch.tensor(codes)
    for ask in (tiny_prior.nll, lambda c: tiny_prior.sample(1, prompt=c, seed=0)):
        with pytest.raises(VqspeechError, match=r"codes (from|of shape)"):
            ask(row)
    with pytest.raises(VqspeechError, match="code 16"):
        tiny_prior.predictor().push(16)


def test_a_prior_of_another_codebook(tiny_prior: Prior, tiny_model: Autoencoder) -> None:
    """A prior fits the model it was trained on, and no other codebook."""
    check_fits(tiny_prior, tiny_model)
    stranger = Prior(PriorConfig(16, "0123456789abcdef", tiny_prior.config.network), [])
    with pytest.raises(VqspeechError, match="codebook 0123456789abcdef, this model's is"):
        check_fits(stranger, tiny_model)


def test_the_same_numbers_in_another_process_whatever_its_threads(
    tiny_prior_file: Path, tmp_path: Path
) -> None:
    """What a coder needs: a decoder elsewhere on this machine gets the same bits of every probability."""
    codes = load_prior(tiny_prior_file).sample(40, "p225", seed=0).tolist()
    program = (
        "import sys, numpy as np, torch; from vqspeech.models.checkpoint import load_prior;"
        "torch.set_num_threads(int(sys.argv[3]));"
        "p = load_prior(sys.argv[1]).predictor('p225'); rows = []\n"
        "for code in map(int, sys.argv[4:]): rows.append(p.probabilities()); p.push(code)\n"
        "np.save(sys.argv[2], rows)"
    )
    found = []
    for threads in ("1", "2"):
        path = tmp_path / f"{threads}.npy"
        command = [sys.executable, "-c", program, tiny_prior_file, path, threads, *map(str, codes)]
        subprocess.run(list(map(str, command)), check=True)
        found.append(np.load(path))
    assert np.array_equal(*found)


def test_an_untrained_prior_knows_no_code_better_than_another(tiny_prior: Prior) -> None:
    """Its unigram is uniform until it is told; log-probabilities in any case."""
    assert Prior(tiny_prior.config, []).unigram.exp().tolist() == pytest.approx([1 / 16] * 16)


def test_an_id_tells_priors_apart(tiny_prior: Prior, tiny_prior_file: Path) -> None:
    """Loaded again it is the same; another weight, another speaker or another shape makes another one."""
    assert len(bytes.fromhex(tiny_prior.prior_id)) == 8
    assert load_prior(tiny_prior_file).prior_id == tiny_prior.prior_id
    other = load_prior(tiny_prior_file)
    with torch.no_grad():
        other.network.output.bias[0] += 1
    renamed = Prior(tiny_prior.config, ["x", *tiny_prior.speakers[1:]])
    renamed.load_state_dict(tiny_prior.state_dict())
    assert len({tiny_prior.prior_id, other.prior_id, renamed.prior_id}) == 3


def test_steps_agree_to_the_last_digits_with_another_order_of_sums(
    tiny_prior: Prior, codes: Tensor
) -> None:
    """Rounded for an entropy coder, steps say what one pass in double precision says: other machines can read."""
    network = copy.deepcopy(tiny_prior.network).double()
    previous = torch.cat([torch.tensor([network.start]), codes[:-1]])[None]
    with torch.inference_mode():
        whole = network(previous, torch.tensor([len(tiny_prior.speakers)])).logits[0]
    predictor = tiny_prior.predictor()
    for code, at_once in zip(codes.tolist(), whole.softmax(1).numpy(), strict=True):
        assert (weights(predictor.probabilities()) == weights(at_once)).all()
        predictor.push(code)
