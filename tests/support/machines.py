"""Machines in a network that only the test sees: Linux's network namespaces and a bridge."""

import contextlib
import os
import subprocess
from collections.abc import Iterator

import pytest

NETWORK = "10.213.7"  # not visible from outside


class Machine:
    """One machine: its address, and how to run a command on it."""

    def __init__(self, number: int):
        self.name = f"test-{os.getpid()}-{number}"
        self.address = f"{NETWORK}.{number}"

    def command(self, *command: str, hidden: str | None = None) -> list[str]:
        """`command` as run on this machine, where the folder `hidden` looks empty."""
        if hidden:
            script = 'mount -t tmpfs none "$0" && exec "$@"'
            command = ("unshare", "--mount", "sh", "-c", script, hidden, *command)
        return ["ip", "netns", "exec", self.name, *command]


@contextlib.contextmanager
def connected(count: int) -> Iterator[list[Machine]]:
    """`count` machines. Skips the test if this user may not make them."""
    machines = [Machine(number) for number in range(1, count + 1)]
    first = machines[0].name
    try:
        try:
            for machine in machines:
                ip("netns", "add", machine.name)
                ip("-n", machine.name, "link", "set", "lo", "up")
            ip("-n", first, "link", "add", "bridge", "type", "bridge")
            for number, machine in enumerate(machines[1:]):
                port, cable = f"port{number}", ("peer", "name", "wire", "netns", machine.name)
                ip("-n", first, "link", "add", port, "type", "veth", *cable)
                ip("-n", first, "link", "set", port, "master", "bridge", "up")
            for machine, device in zip(machines, ["bridge", *["wire"] * (count - 1)]):
                ip("-n", machine.name, "address", "add", f"{machine.address}/24", "dev", device)
                ip("-n", machine.name, "link", "set", device, "up")
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces: {getattr(error, 'stderr', error)}")
        yield machines
    finally:
        for machine in machines:
            with contextlib.suppress(OSError, subprocess.CalledProcessError):
                ip("netns", "delete", machine.name)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
