"""Prints what the core and each extra take on disk, where all are installed: the table of `docs/install.md`."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement


def closure(requirements: list[Requirement], extra: str) -> set[str]:
    """Return the names of all packages that requirements bring, at any depth."""
    found: set[str] = set()
    waiting = [(requirement, extra) for requirement in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        name = requirement.name.lower().replace("_", "-")
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        if (key := f"{name}{sorted(requirement.extras)}") in found:
            continue
        found.add(key)
        try:
            needed = distribution(name).requires or []
        except PackageNotFoundError:
            print(f"{name} is not installed")
            continue
        for inner in requirement.extras or {""}:
            waiting += [(Requirement(text), inner) for text in needed]
    return {key.split("[")[0] for key in found}


def size(name: str) -> int:
    """Return the bytes of a package's files."""
    try:
        files = distribution(name).files or []
    except PackageNotFoundError:
        return 0
    return sum(path.stat().st_size for file in files if (path := Path(file.locate())).is_file())


own = distribution("vqspeech")
needed = [Requirement(text) for text in own.requires or []]
core = closure(needed, "")
print(f"core {sum(map(size, core)) / 1e6:.0f} MB, of it torch and CUDA", end=" ")
heavy = [name for name in core if name.startswith(("torch", "nvidia", "triton", "cuda"))]
print(f"{sum(map(size, heavy)) / 1e6:.0f} MB")
for extra in sorted(own.metadata.get_all("Provides-Extra") or []):
    more = closure([Requirement(f"vqspeech[{extra}]")], "") - core
    print(f"{extra:<10} {sum(map(size, more)) / 1e6:.0f} MB")
