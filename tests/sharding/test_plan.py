from pathlib import Path

import pytest

from vqspeech.corpus.units import Unit
from vqspeech.errors import ConfigurationError
from vqspeech.sharding.plan import Plan, Settings, make_plan, remove

SETTINGS = Settings("/data", None, "vctk", "0" * 16, "parquet", False, 0.01)


def units(*seconds: float) -> list[Unit]:
    return [Unit("file", f"/data/{i}.wav", str(i), "ann", s) for i, s in enumerate(seconds)]


def test_shards_are_of_about_equal_duration_whatever_their_number_of_recordings(
    tmp_path: Path,
) -> None:
    """Many short recordings weigh as much as few long ones; all are in the plan once and in order."""
    found = units(*[1] * 100, *[12] * 9, 400, *[1] * 50)
    plan = make_plan(tmp_path / "out", SETTINGS, iter(found))
    kept = [plan.units(number) for number in range(len(plan.shards))]
    assert [unit for group in kept for unit in group] == found
    seconds = [sum(unit.seconds for unit in group) for group in kept]
    assert seconds == [line.seconds for line in plan.shards]
    assert sorted(seconds)[-2] <= 36 * 1.5
    # The last one, and the one before the recording that is longer than a shard.
    assert sum(s < 36 / 1.5 for s in seconds) <= 2
    assert max(map(len, kept)) > 30
    assert 400 in seconds


def test_a_plan_is_the_same_for_everybody(tmp_path: Path) -> None:
    """Two processes that plan the same archive write the same bytes; one that is there is taken as it is."""
    for name in ("a", "b"):
        make_plan(tmp_path / name, SETTINGS, units(1, 2, 3, 100))
    for name in ("plan.json", "plan.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    make_plan(tmp_path / "a", SETTINGS, units(1, 2, 3, 100))
    assert Plan(tmp_path / "a").missing() == [0, 1]


@pytest.mark.parametrize("change", [{"model_id": "1" * 16}, {"kind": "km"}, {"shard_hours": 1.0}])
def test_other_settings_are_refused(tmp_path: Path, change: dict) -> None:
    """A folder has the codes of one model in one format; the setting that differs is named."""
    make_plan(tmp_path / "out", SETTINGS, units(1, 2))
    with pytest.raises(ConfigurationError, match=f"made with {next(iter(change))}"):
        make_plan(tmp_path / "out", Settings(**(vars(SETTINGS) | change)), units(1, 2))


def test_other_recordings_are_refused_and_the_plan_is_kept(tmp_path: Path) -> None:
    """A source that has changed is an error, not a folder of codes of both."""
    before = make_plan(tmp_path / "out", SETTINGS, units(1, 2))
    with pytest.raises(ConfigurationError, match="not the recordings"):
        make_plan(tmp_path / "out", SETTINGS, units(1, 2, 3))
    assert Plan(tmp_path / "out").units(0) == before.units(0)
    remove(tmp_path / "out")
    assert len(make_plan(tmp_path / "out", SETTINGS, units(1, 2, 3)).units(0)) == 3


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    """Neither a plan nor --force touches a folder that holds something else."""
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(ConfigurationError, match=r"thesis\.txt"):
        make_plan(tmp_path, SETTINGS, units(1))
    remove(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(ConfigurationError, match="a folder of shards of codes is expected"):
        Plan(tmp_path)
