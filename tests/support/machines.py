"""Machines of a network that exists in a test alone: Linux's network namespaces and a bridge."""

import contextlib
import os
import subprocess
from collections.abc import Iterator

import pytest

NETWORK = "10.213.7"  # seen by nobody outside


class Machine:
    """One of them: its address, and what comes before a command that runs on it."""

    def __init__(self, number: int):
        self.name = f"test-{os.getpid()}-{number}"
        self.address = f"{NETWORK}.{number}"

    def command(self, *command: str, hidden: str | None = None) -> list[str]:
        """`command` on this machine, which sees an empty folder in place of the one `hidden`."""
        if hidden:
            script = 'mount -t tmpfs none "$0" && exec "$@"'
            command = ("unshare", "--mount", "sh", "-c", script, hidden, *command)
        return ["ip", "netns", "exec", self.name, *command]


@contextlib.contextmanager
def connected(count: int) -> Iterator[list[Machine]]:
    """`count` machines. Skips the test where this user may not make them."""
    machines = [Machine(number) for number in range(1, count + 1)]
    first = machines[0].name
    try:
        try:
            for one in machines:
                ip("netns", "add", one.name)
                ip("-n", one.name, "link", "set", "lo", "up")
            ip("-n", first, "link", "add", "bridge", "type", "bridge")
            for number, one in enumerate(machines[1:]):
                port, cable = f"port{number}", ("peer", "name", "wire", "netns", one.name)
                ip("-n", first, "link", "add", port, "type", "veth", *cable)
                ip("-n", first, "link", "set", port, "master", "bridge", "up")
            for one, device in zip(machines, ["bridge", *["wire"] * (count - 1)]):
                ip("-n", one.name, "address", "add", f"{one.address}/24", "dev", device)
                ip("-n", one.name, "link", "set", device, "up")
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces: {getattr(error, 'stderr', error)}")
        yield machines
    finally:
        for one in machines:
            with contextlib.suppress(OSError, subprocess.CalledProcessError):
                ip("netns", "delete", one.name)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
