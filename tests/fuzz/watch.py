"""What an input may not bring about: code run, files outside a sandbox, a traceback, an unreadable answer."""

import contextlib
import io
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nas.cli.door import main

RUNS_CODE = ("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile",
             "subprocess.Popen", "socket.connect", "socket.bind", "ctypes.dlopen", "pty.spawn")  # fmt: skip
CHANGES = (
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.symlink",
    "os.link",
    "os.chmod",
    "shutil.rmtree",
)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
UNREADABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
CANARY = "nas_fuzz_canary"  # a module in the sandbox that nothing may import
MAX_LINE = 300


@dataclass
class Watch:
    """Counts what must not happen, with the first inputs that did it."""

    sandbox: Path
    inputs: int = 0
    refused: int = 0
    tracebacks: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)  # not one line of printable characters
    code: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    armed: bool = False

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        """Note an audit event while an input is being read."""
        if not self.armed:
            return
        if event in RUNS_CODE:
            self.code.append(f"{event} {arguments!r}"[:300])
        elif event == "import" and CANARY in str(arguments[0]):
            self.code.append(f"import {arguments[0]}")
        elif (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
        ) or event in CHANGES:
            self._note_write(event, arguments[0])

    def _note_write(self, event: str, path: object) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return  # a file that is open already
        where = Path(os.path.abspath(os.fsdecode(path)))
        inside = where.is_relative_to(self.sandbox) or where == Path(os.devnull)
        if not inside and "__pycache__" not in where.parts:
            self.writes.append(f"{event} {where}"[:300])

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        self.armed = True
        try:
            yield
        finally:
            self.armed = False

    def call(self, *arguments: str) -> None:
        """Give arguments to `nas` and judge what comes back."""
        self.inputs += 1
        out, err = io.StringIO(), io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), self.listening():
                status = main(arguments)
        except BaseException as error:
            self._note_traceback(error, arguments)
            return
        self.refused += status == 2
        answer = err.getvalue()
        is_damaged = status == 1 and "is damaged" in " ".join(out.getvalue().split())
        if status not in (0, 2) and not is_damaged:
            self.answers.append(f"status {status}: {_shown(arguments)}")
        elif status == 2:
            self.judge(answer.removesuffix("\n"), arguments)
        elif UNREADABLE.search(out.getvalue().replace("\n", "")):
            self.answers.append(f"stdout {out.getvalue()[:200]!r}: {_shown(arguments)}")

    def judge(self, answer: str, given: object) -> None:
        """Note an answer that is not one readable line."""
        if not answer or len(answer) > MAX_LINE or UNREADABLE.search(answer):
            self.answers.append(f"{len(answer)} characters {answer[:200]!r}: {_shown(given)}")

    def read(
        self, reader: Callable[[], object], allowed: tuple[type[Exception], ...], given: object
    ) -> None:
        """Call a reader that may raise what is allowed and nothing else."""
        self.inputs += 1
        try:
            with self.listening():
                reader()
        except allowed:
            self.refused += 1
        except BaseException as error:
            self._note_traceback(error, given)

    def _note_traceback(self, error: BaseException, given: object) -> None:
        if isinstance(error, KeyboardInterrupt):
            raise error
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        self.tracebacks.append(
            f"{type(error).__name__}: {str(error)[:150]!r} at {where}: {_shown(given)}"
        )

    def report(self, kind: str) -> str:
        return (
            f"{kind}: {self.inputs} inputs, {self.refused} refused, tracebacks {len(self.tracebacks)}, "
            f"unreadable answers {len(self.answers)}, code run {len(self.code)}, "
            f"files outside written {len(self.writes)}"
        )

    def faults(self) -> list[str]:
        return [*self.tracebacks, *self.answers, *self.code, *self.writes]


_watching: list[Watch] = []


def watching(watch: Watch) -> None:
    """Let a watch hear audit events from now on; an audit hook cannot be taken off: there is one for all."""
    if not _watching:
        sys.addaudithook(lambda event, arguments: _watching[-1].hear(event, arguments))
    _watching[:] = [watch]


def _shown(given: object) -> str:
    return ascii(given)[:600]
