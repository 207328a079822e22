"""Who may import whom: the order of the packages, no cycle, and which files know transformers and PEFT."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import scalpel

SOURCE = Path(scalpel.__file__).parent
# From the contracts up to the command line. A package imports from those before it; within a line, none from another.
LAYERS = """
batch registry seeding device
part scope
binding worked_cases sandbox
runs
extensions
data errors
models
engine
distributed
generation rewards pair world methods example
sources credits environments
tasks anchors objectives scopes selections
evaluation
keep
config
training reporting
experiments pretraining
claims
api
scalpel
cli
__main__
"""
RANK = {name: k for k, line in enumerate(LAYERS.split("\n")) for name in line.split()}
CONTRACTS = {"batch", "part", "scope", "binding", "registry", "worked_cases", "seeding", "data"}
AXES = {"sources", "credits", "objectives", "scopes", "anchors", "selections"}
# Beside the engine, the models and the tokenizer, which are there for it: what makes the world's own model and
# tokenizer, and the check of the first batch against transformers' own pass.
KNOW_TRANSFORMERS = ("data.", "models.", "engine.", "world.shape", "world.vocabulary", "pretraining.build",
                     "training.self_check")  # fmt: skip
KNOW_PEFT = ("models.adapters", "models.adapter_folder", "models.adapter_targets")


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


MODULES = {name_of(path): path for path in sorted(SOURCE.rglob("*.py"))}


def imports(path: Path, typing_too: bool) -> Iterator[str]:
    """Full names of what a file imports, wherever in it; `typing_too`: also for annotations alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in hidden and not typing_too:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def own(path: Path, typing_too: bool) -> Iterator[str]:
    """The modules of this package that a file imports; the front door is the empty name."""
    for name in imports(path, typing_too):
        first, _, rest = name.partition(".")
        if first == "scalpel":
            yield rest if rest in MODULES else rest.rpartition(".")[0]


def package(module: str) -> str:
    return module.partition(".")[0] or "scalpel"  # the front door, which hands on what the api has


def test_every_package_has_its_place():
    assert {package(module) for module in MODULES} == set(RANK)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module):
    up = {
        other
        for other in own(MODULES[module], typing_too=True)
        if package(other) != package(module) and RANK[package(other)] >= RANK[package(module)]
    }
    assert not up, f"{module} imports from above or beside it: {', '.join(sorted(up))}"


def test_no_module_imports_itself_by_way_of_others():
    graph = {module: set(own(path, typing_too=True)) - {module} for module, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.parametrize("axis", sorted(AXES))
def test_an_axis_knows_contracts_and_pure_functions_alone(axis):
    beside = {"rewards", "engine", "models"}  # words of a sample, types of what the engine gives, module names
    for module, path in MODULES.items():
        if package(module) == axis:
            others = {package(other) for other in own(path, typing_too=False)} - {axis}
            assert others <= CONTRACTS | AXES | beside, module


@pytest.mark.parametrize("library, who", [("transformers", KNOW_TRANSFORMERS), ("peft", KNOW_PEFT)])
def test_few_files_know_the_libraries_of_models(library, who):
    for module, path in MODULES.items():
        if any(package(name) == library for name in imports(path, typing_too=True)):
            assert f"{module}.".startswith(who), module
