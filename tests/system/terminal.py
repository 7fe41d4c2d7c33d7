"""A pseudo terminal with a program on it."""

import os
import pty
import re
import select
import time

from harness import PATIENCE, wait_for

PROMPT = b"shardcask> "  # of the interactive mode


class Terminal:
    """A program on a pseudo terminal."""

    def __init__(self, argv, env):
        self.output = b""
        self.code = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(argv[0], argv, env)

    def pump(self, seconds):
        """Takes in what the program writes; False when there is nothing more to come."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            data = b""
        self.output += data
        return bool(data)

    def expect(self, wanted, seconds=15):
        """Waits for bytes in the output and returns what came up to their end."""
        deadline = time.monotonic() + seconds * PATIENCE
        while wanted not in self.output:
            if time.monotonic() > deadline or not self.pump(0.05):
                raise AssertionError("%r did not come; there is %r" % (wanted, self.output))
        end = self.output.index(wanted) + len(wanted)
        got, self.output = self.output[:end], self.output[end:]
        return got.decode("utf-8", "replace")

    def type(self, text):
        os.write(self.fd, text)

    def command(self, text):
        """Types a line and returns what is shown up to the next prompt."""
        self.type(text + b"\n")
        return self.expect(PROMPT)

    def wait(self):
        """The exit status."""
        def ended():
            self.pump(0)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            return pid
        if self.code is None:
            wait_for(ended, "the program to end")
        return self.code

    def close(self):
        if self.code is None:
            try:
                os.kill(self.pid, 9)
                os.waitpid(self.pid, 0)
            except OSError:
                pass
        os.close(self.fd)


def plain(text):
    """Without colours and cursor movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")
