"""A shell at the other end of a serial line: log in, run commands.

A serial console is a terminal, not a channel: commands are echoed, the kernel writes between any two bytes, a lost byte
is nobody's fault. Therefore every command ends with a marker that carries its exit status; the marker is put together
by the shell, so that the echo of the command never looks like it. Everything has a deadline.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import shlex
from types import TracebackType
from typing import Self

from edgeai.device.linux.remote import (
    COMMAND_SECONDS,
    Completed,
)
from edgeai.device.stm32msg.transport import Deadline, Transport
from edgeai.errors import DeviceError

LOGIN_SECONDS = 90.0  # a board that was just switched on
KNOCK_SECONDS = 1.0  # one newline sent before getty starts is lost
NAME_SECONDS = 8.0  # PAM takes its time over a wrong password
PASSWORD_HINT = "--password asks for it, EDGEAI_BOARD_PASSWORD holds it where nobody can be asked"
SILENT_KNOCKS = 3
RESYNC_SECONDS = 5.0
LOGOUT_SECONDS = 5.0
LINE_LIMIT = 3800
TAIL = 4096
INTERRUPT = b"\x03"

KERNEL_MESSAGE = re.compile(rb"\[ *\d+\.\d{6}\] [^\r\n]*\r?\n")
ESCAPE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Za-z0-9]")
LOGIN_PROMPT = re.compile(rb"login: *$")
PASSWORD_PROMPT = re.compile(rb"[Pp]assword: *$")
SHELL_PROMPT = re.compile(rb"[#$] *$")
REFUSED = re.compile(rb"[Ll]ogin incorrect")

# Appends a chunk once and only once: a repeated one, whose acknowledgement was lost, is known by its place. The shell
# counts for itself: a process takes a slow board longer than the chunk's way over the line.
PUT = (
    'edgeai_put() { [ "$(printf %s "$3" | sha256sum)" = "$2  -" ] || return 71; '
    '[ "$EDGEAI_AT" -eq $(($1 + ${#3})) ] && return 0; [ "$EDGEAI_AT" -eq "$1" ] || return 72; '
    'printf %s "$3" >>"$EDGEAI_PART" && EDGEAI_AT=$(($EDGEAI_AT + ${#3})); }'
)
TOOLS = ("base64", "gzip", "sha256sum", "wc")


class CommandTimeoutError(DeviceError):
    """A command did not end in time. The session is in step again and can go on."""


class Shell:
    """A session on a serial console; call `login` first. Not for several threads.

    Raises LineLost where the line vanishes, DeviceError for everything else that goes wrong.
    """

    link = "console"

    def __init__(self, transport: Transport) -> None:
        self.name = transport.name
        self._line = transport
        self._numbers = itertools.count(1)
        self._logged_in = self._in_session = False

    # --- session --------------------------------------------------------------------------------------

    def login(self, user: str = "root", password: str = "", seconds: float = LOGIN_SECONDS) -> None:
        """Reach a shell from whatever state the console is in: booting, at its login, or where a dead session left it.

        Raises DeviceError where no login appears, or the password is wrong.
        """
        deadline = Deadline(seconds)
        for knock in itertools.count():
            if deadline.over:
                raise DeviceError(
                    f"no login prompt on {self.name} within {seconds:g} s",
                    "is the board switched on, and is this its console? usual are 115200 baud",
                )
            if knock < SILENT_KNOCKS:
                self._send(b"\n")
            else:
                # a shell of a session that died has no prompt, or waits for the rest of a command
                self._send(INTERRUPT + b"\n" + self._marker_command() + b"\n")
            state = self._settled(deadline.within(KNOCK_SECONDS))
            if LOGIN_PROMPT.search(state):
                if self._gave_name(user, password, deadline.within(NAME_SECONDS)):
                    break
                continue  # getty empties its input when it starts: the name may be lost as a newline may
            if PASSWORD_PROMPT.search(state):  # somebody's half a login
                self._send(b"\n")
            elif self._answered(state) or SHELL_PROMPT.search(state):
                break
        self._enter()

    def _gave_name(self, user: str, password: str, deadline: Deadline) -> bool:
        """Answer a login prompt; whether a shell came of it."""
        self._send(user.encode() + b"\n")
        self._logged_in = True
        sent = False
        seen = b""
        while not deadline.over:
            seen = (seen + self._clean(self._line.read_some(deadline)))[-TAIL:]
            if REFUSED.search(seen):
                raise DeviceError(f"{self.name} refuses the login of {user}", f"another --user; {PASSWORD_HINT}")
            if PASSWORD_PROMPT.search(seen):
                if sent or not password:
                    raise DeviceError(f"{self.name} asks {user} for a password", PASSWORD_HINT)
                self._send(password.encode() + b"\n")
                sent, seen = True, b""
            elif SHELL_PROMPT.search(seen):
                return True
        return False

    def _enter(self) -> None:
        """Make the shell one for a program: no echo, no line editing, no prompt, a quiet kernel."""
        self._in_session = True
        self._resync()
        setup = f"stty -echo; EDGEAI_PS1=$PS1; PS1=; PS2=; PROMPT_COMMAND=; TERM=dumb; dmesg -n 1 2>/dev/null; {PUT}"
        self._send(setup.encode() + b"\n")
        self._resync()
        for tool in TOOLS:
            if self.run(f"command -v {tool}").status:
                raise DeviceError(f"the board on {self.name} has no {tool}", "coreutils or busybox bring it")

    def logout(self) -> None:
        """Leave the console as it was found: its login prompt, or the shell that was there."""
        if not self._in_session:
            return
        self._in_session = False
        if not self._logged_in:
            self._send(b"stty echo; PS1=$EDGEAI_PS1\n")
            return
        self._send(b"stty echo; exit\n")
        deadline, seen = Deadline(LOGOUT_SECONDS), b""
        while not deadline.over and not LOGIN_PROMPT.search(seen):
            seen = (seen + self._line.read_some(deadline))[-TAIL:]

    def close(self) -> None:
        with contextlib.suppress(DeviceError):
            self.logout()
        self._line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- commands -------------------------------------------------------------------------------------

    def run(self, command: str, seconds: float = COMMAND_SECONDS) -> Completed:
        """Run a command with no input; its output is without kernel messages and escape sequences.

        Raises CommandTimeoutError where it does not end in time, DeviceError where the board does not answer any more.
        """
        number = next(self._numbers)
        begin, end = f"@@B{number}@", re.compile(rf"^@@E{number}@(\d+)@\r*$".encode(), re.MULTILINE)
        # two lines: a shell drops the rest of a line that it cannot read, and the marker must come whatever happens
        line = f's=2; echo; echo "@""@B{number}@"; eval {shlex.quote(command)} </dev/null; s=$?'
        line += f'\necho; echo "@""@E{number}@$s@"\n'
        if len(line) > LINE_LIMIT or "\n" in command:
            raise ValueError("a console takes one line, shorter than the terminal's line buffer")
        self._send(line.encode())
        deadline, raw = Deadline(seconds), bytearray()
        while True:
            chunk = self._line.read_some(deadline)
            raw += chunk
            found = end.search(self._clean(bytes(raw[-TAIL - len(chunk) :])))
            if found:
                return Completed(_between(self._clean(bytes(raw)), begin, found.group(0)), int(found.group(1)))
            if not chunk and deadline.over:
                self._recover(command, seconds)

    def _recover(self, command: str, seconds: float) -> None:
        """Interrupt what runs, and get into step again; raises CommandTimeoutError where that worked."""
        word, _, _ = command.strip().partition(" ")
        self._send(INTERRUPT)
        self._resync()
        raise CommandTimeoutError(
            f"{word[:60]} did not end within {seconds:g} s on {self.name}", "it was interrupted; raise --timeout"
        )

    def _resync(self) -> None:
        """Wait until the shell answers with a fresh marker. Raises DeviceError where it does not."""
        deadline, seen = Deadline(RESYNC_SECONDS), b""
        self._send(b"\n" + self._marker_command() + b"\n")
        while not self._answered(seen):
            if deadline.over:
                raise DeviceError(f"the board on {self.name} does not answer", "is it still running? try to reset it")
            seen += self._clean(self._line.read_some(deadline))
        self._marker = b""

    def _marker_command(self) -> bytes:
        number = next(self._numbers)
        self._marker = b"@@R%d@" % number
        return b'echo; echo "@""@R%d@"' % number

    def _answered(self, seen: bytes) -> bool:
        return re.search(rb"^" + self._marker + rb"\r*$", seen, re.MULTILINE) is not None if self._marker else False

    _marker = b""

    def _settled(self, deadline: Deadline) -> bytes:
        """What comes until `deadline`, or until it looks like something that waits for us."""
        seen = b""
        while not deadline.over:
            seen = (seen + self._clean(self._line.read_some(deadline)))[-TAIL:]
            if self._answered(seen) or any(p.search(seen) for p in (LOGIN_PROMPT, PASSWORD_PROMPT, SHELL_PROMPT)):
                break
        return seen

    def _send(self, data: bytes) -> None:
        self._line.write(data, Deadline(COMMAND_SECONDS), "a command")

    @staticmethod
    def _clean(data: bytes) -> bytes:
        return ESCAPE.sub(b"", KERNEL_MESSAGE.sub(b"", data))


def _between(text: bytes, begin: str, end: bytes) -> str:
    """The output between the markers, with newlines as a program wrote them."""
    plain = text.replace(b"\r\n", b"\n").replace(b"\r", b"").decode(errors="replace")
    _, _, inside = plain.rpartition(f"{begin}\n")
    inside, _, _ = inside.partition(end.decode().strip())
    return inside.removesuffix("\n").removesuffix("\n")
