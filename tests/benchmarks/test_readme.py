"""benchmarks/README.md lists every script and results file; every script answers --help."""

import json
import re
import subprocess
import sys

import pytest

from benchmarks.shared.paths import RESULTS, ROOT

BENCHMARKS = ROOT / "benchmarks"
README = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
SCRIPTS = sorted(
    str(path.relative_to(ROOT))
    for path in BENCHMARKS.glob("*/*.py")
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
)

# One process for all of them: torch is imported once.
ASK_ALL_FOR_HELP = """
import contextlib, io, json, runpy, sys
answers = {}
for script in sys.argv[1:]:
    sys.argv = [script, "--help"]
    said, status = io.StringIO(), "no exit"
    with contextlib.redirect_stdout(said):
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as end:
            status = end.code
    answers[script] = [status, said.getvalue()]
print(json.dumps(answers))
"""


def test_every_script_stands_in_the_readme_and_nothing_else_does():
    commands = set(re.findall(r"benchmarks/[a-z]+/\w+\.py", README))
    assert commands == set(SCRIPTS)


def test_every_results_file_stands_in_the_readme_and_is_there():
    linked = set(re.findall(r"\]\(results/([\w.]+)\)", README))
    kept = {path.name for path in RESULTS.iterdir() if not path.name.startswith("gpu-")}
    assert linked == kept


def test_every_row_has_a_question_a_command_a_figure_and_a_results_file():
    rows = [line for line in README.splitlines() if line.startswith("|") and "benchmarks/" in line]
    assert len(rows) == len(SCRIPTS)
    for row in rows:
        question, command, figure, results = (cell.strip() for cell in row.strip("|").split(" | "))
        assert question.endswith("?"), row
        assert command.startswith("`"), row
        assert figure, row
        assert results, row


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Run every script with --help, away from the repository."""
    pytest.importorskip("triton")
    scripts = [str(ROOT / script) for script in SCRIPTS]
    done = subprocess.run(
        [sys.executable, "-c", ASK_ALL_FOR_HELP, *scripts],
        capture_output=True, text=True, check=False, cwd=tmp_path_factory.mktemp("elsewhere"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_answers_help_with_its_question(answers, script):
    status, text = answers[str(ROOT / script)]
    assert status == 0
    assert text.startswith(f"usage: {script.rpartition('/')[2]}")
