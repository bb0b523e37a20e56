from pathlib import Path

import pytest
from judged_corpus import SENTENCES, pack, write_corpus

from vqspeech.corpus.store import PackedStore
from vqspeech.errors import ConfigurationError
from vqspeech.evaluation.trials import CONVERSION, PARALLEL, RECONSTRUCTION, Plan, make_plan

KNOWN = ("p225", "p226", "p227")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PackedStore:
    return pack(write_corpus(tmp_path_factory.mktemp("trials") / "corpus"))


def of_kind(plan: Plan, kind: str) -> dict[str, list[tuple[str, str]]]:
    """Source and target of each trial of a kind, by group."""
    found: dict[str, list[tuple[str, str]]] = {}
    for trial in plan.trials:
        if trial.kind == kind:
            found.setdefault(trial.group, []).append((trial.source, trial.target))
    return found


def test_reconstructions_are_of_known_speakers(store: PackedStore) -> None:
    """Everybody whom the model knows speaks as often as another, in their own voice."""
    plan = make_plan(store, KNOWN, count=4)
    own = [("p225", "p225"), ("p226", "p226")]
    assert of_kind(plan, RECONSTRUCTION) == {"corpus": own * 2}


def test_parallel_trials_have_the_same_sentence_beside_them(store: PackedStore) -> None:
    """Each pair goes both ways as far as the target is known; source and real target say the same."""
    plan = make_plan(store, KNOWN)
    groups = of_kind(plan, PARALLEL)
    assert set(groups) == {
        *("p225 → p226", "p226 → p225"),
        *("stranger → p225", "stranger → p226"),
    }
    assert all(len(trials) == len(SENTENCES) for trials in groups.values())
    for trial in plan.trials:
        if trial.kind == PARALLEL:
            assert trial.real is not None
            source, real = store.utterances[trial.index], store.utterances[trial.real]
            assert (source.speaker, real.speaker) == (trial.source, trial.target)
            assert source.text == real.text


def test_anyone_is_converted_strangers_among_them(store: PackedStore) -> None:
    """Sources are everybody but the target, evenly; beside each is a real recording of the target."""
    groups = of_kind(make_plan(store, KNOWN, targets=["p225"], count=4), CONVERSION)
    assert groups == {"anyone → p225": [("p226", "p225"), ("stranger", "p225")] * 2}


def test_real_recordings_are_of_the_target_and_another_one(store: PackedStore) -> None:
    """They are of the split where it has one, never the source itself."""
    for trial in make_plan(store, KNOWN).trials:
        assert trial.real not in (None, trial.index)
        real = store.utterances[trial.real or 0]
        assert (real.speaker, real.split) == (trial.target, "test")


def test_default_targets_are_known_and_recorded(store: PackedStore) -> None:
    """p227 is known and nowhere in the corpus; the stranger is in it and not known."""
    assert {trial.target for trial in make_plan(store, KNOWN).trials} == {"p225", "p226"}


def test_targets_without_a_recording_are_refused(store: PackedStore) -> None:
    """One line names the speaker."""
    with pytest.raises(ConfigurationError, match="no recording of p227"):
        make_plan(store, KNOWN, targets=["p227"])


def test_draws_are_reproducible_and_depend_on_the_seed(store: PackedStore) -> None:
    """The same seed gives the same plan, some other seed another one."""
    plan = make_plan(store, KNOWN, count=2)
    assert make_plan(store, KNOWN, count=2) == plan
    assert any(make_plan(store, KNOWN, count=2, seed=seed) != plan for seed in range(1, 9))


def test_references_are_train_recordings_long_enough(tmp_path: Path, store: PackedStore) -> None:
    """Six seconds make a centroid; four do not, and it is said who is left out."""
    plan = make_plan(store, KNOWN)
    assert set(plan.references) == {"p225", "p226", "stranger"}
    splits = {store.utterances[i].split for own in plan.references.values() for i in own}
    assert splits == {"train"}
    short = make_plan(pack(write_corpus(tmp_path / "c", train_s=4.0)), KNOWN)
    assert (short.references, short.short) == ({}, ("p225", "p226", "stranger"))


def test_without_a_shared_sentence_it_is_said(tmp_path: Path) -> None:
    """No texts: no parallel conversions, and a remark."""
    plan = make_plan(pack(write_corpus(tmp_path / "c", sentences=["", ""])), KNOWN)
    assert of_kind(plan, PARALLEL) == {}
    assert "no parallel conversions" in " ".join(plan.remarks)


def test_a_split_of_strangers_has_conversions_alone(tmp_path: Path) -> None:
    """Without a known speaker in the split there is nothing to reconstruct, and a remark says so."""
    store = pack(write_corpus(tmp_path / "c"))
    plan = make_plan(store, ["p227"], targets=[])
    assert plan.trials == ()
    assert "no reconstructions" in plan.remarks[0]
