"""Compiles the contract of this checkout into the package while it is built; all else is in pyproject.toml."""

from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

PROTO = Path(__file__).resolve().parents[2] / "proto"


class Generate(build_py):
    """Runs protoc with gRPC's plugin, into the folder that becomes the wheel."""

    def run(self):
        from grpc_tools import protoc

        super().run()
        out = Path(self.build_lib)
        out.mkdir(parents=True, exist_ok=True)
        well_known = Path(protoc.__file__).parent / "_proto"
        files = [str(file.relative_to(PROTO)) for file in sorted(PROTO.glob("ramfacade/**/*.proto"))]
        kinds = [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")]
        if protoc.main(["protoc", f"-I{PROTO}", f"-I{well_known}", *kinds, *files]):
            raise SystemExit("the contract does not compile")


class Generated(Distribution):
    """Says that there is Python to build, although the folder holds none yet."""

    def has_pure_modules(self):
        return True


setup(cmdclass={"build_py": Generate}, distclass=Generated)
