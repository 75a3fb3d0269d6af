"""The house as ARCHITECTURE.md draws it, read from the imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "attnshift"

FLOORS = {
    "errors": 0,
    "atomic": 0,
    "theory": 1,
    "data": 1,
    "checkpoints": 1,
    "scoring": 1,
    "models": 2,
    "measures": 3,
    "tracing": 4,
    "training": 5,
    "stats": 5,
    "organism": 6,
    "interventions": 6,
    "figures": 7,
    "report": 8,
    "diagnosis": 8,
    "demonstration": 9,
    "console": 10,
    "cli": 11,
    "__init__": 11,
    "__main__": 12,
}

DRAWING = {"plotly", "kaleido"}
HEAVY = {"torch", "transformers", "transformer_lens", "peft", "plotly", "pandas", "xarray", "ray", "kaleido"}

MUST_NOT_IMPORT = {
    "data": {"torch", "transformers", "xarray"} | DRAWING,
    "checkpoints": {"xarray", "peft"} | DRAWING,
    "scoring": HEAVY,
    "theory": HEAVY,
    "models": {"xarray", "h5py", "h5netcdf"} | DRAWING,
    "measures": {"torch", "transformers", "xarray", "h5py", "pathlib", "os", "json"} | DRAWING,
    "tracing": DRAWING,
    "training": DRAWING,
    "interventions": DRAWING,
    "organism": {"xarray", "h5py", "h5netcdf"} | DRAWING,
    "stats": {"torch", "transformers", "peft"} | DRAWING,
    "figures": {"torch", "transformers", "peft", "transformer_lens"},
    "report": {"torch", "transformers", "peft", "transformer_lens", "kaleido"},
    "diagnosis": {"peft", "transformer_lens", "xarray", "safetensors"} | DRAWING,
}

MODULES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, *, deferred: bool = True) -> set[str]:
    """Full names of imported modules; without ``deferred``, those that importing the module loads."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree)) if deferred else _at_import(tree)
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


def _at_import(tree: ast.Module) -> list[ast.AST]:
    return [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_only_from_lower_floors(path):
    own = room(path)
    assert own in FLOORS, f"{own} has no floor: give it one here and in ARCHITECTURE.md"
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "attnshift" and rest:
            other = rest.split(".")[0]
            assert other == own or FLOORS[other] < FLOORS[own], f"{own} imports {name}"
        assert top not in MUST_NOT_IMPORT.get(own, set()), f"{own} imports {name}"


def test_only_the_tokenizer_loader_knows_transformers_among_checkpoints():
    users = {p.name for p in MODULES if room(p) == "checkpoints" and any("transformers" in n for n in imports(p))}
    assert users == {"tokenizer.py"}


def test_architecture_shows_every_room():
    text = (PACKAGE.parent / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for name in FLOORS:
        if name not in ("__init__", "__main__", "errors", "atomic"):
            assert f"`{name}" in text, name


@pytest.mark.parametrize("call", ["import attnshift", "import attnshift; attnshift.__dir__()"])
def test_importing_attnshift_is_light(call):
    assert_light(call)


def test_help_is_light():
    assert_light("import sys; sys.argv = ['attnshift', '--help']; from attnshift.cli import main; main()")


def assert_light(code: str) -> None:
    program = f"import atexit, sys\natexit.register(lambda: print(sorted(set(sys.modules) & {HEAVY})))\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_public_api_is_what_it_says():
    import attnshift

    for name in attnshift.__all__:
        assert getattr(attnshift, name) is not None
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = attnshift.nothing_like_it
