"""Builds the optional extension vqspeech.sampling._native; everything else stands in pyproject.toml."""

from pathlib import Path

from pybind11.setup_helpers import ParallelCompile, Pybind11Extension
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError

CPP = Path("vqspeech/sampling/cpp")

native = Pybind11Extension(
    "vqspeech.sampling._native",
    sorted(map(str, CPP.glob("*.cpp"))),
    depends=sorted(map(str, CPP.glob("*.h"))),
    cxx_std=17,
    # No -march: avx2.cpp is compiled for AVX2 by pragma and chosen at run time. Multiplications and additions are
    # contracted only where the sources say so, whatever the compiler.
    extra_compile_args=["-O3", "-ffp-contract=off", "-pthread", "-Wno-psabi"],
    extra_link_args=["-pthread"],
    optional=True,
)


class BuildNative(build_ext):
    """Goes on without the extension where it cannot be built, and says so in one line."""

    def build_extension(self, ext: Extension) -> None:
        """Build one extension; see setuptools."""
        try:
            super().build_extension(ext)
        except (BaseError, CCompilerError) as error:
            self.warn(f"{ext.name} is not built, and slower engines do its work: {error}")

    def copy_extensions_to_source(self) -> None:
        """Put the extension beside the modules, and in no case leave one that older sources made."""
        for built in CPP.parent.glob("_native.*.so"):
            built.unlink()
        super().copy_extensions_to_source()


# One process a source: most of the time goes into two of them.
ParallelCompile().install()
setup(ext_modules=[native], cmdclass={"build_ext": BuildNative})
