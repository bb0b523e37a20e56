"""Code in a process of its own that lacks some packages, as a training machine does."""

import subprocess
import sys


def run_without(modules: str, code: str, *argv: object) -> str:
    """Run code where these modules, with spaces between them, cannot be imported; return what it prints."""
    hidden = f"import sys; sys.modules |= dict.fromkeys({modules.split()!r})\n"
    command = [sys.executable, "-c", hidden + code, *map(str, argv)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
