"""uvicorn's server, with a stop that loses no request.

uvicorn closes its listening sockets and every connection without a request. Two kinds of requests
are lost by that: of clients that the system has connected and uvicorn has not, and those that
arrive just after their connection was taken. Here both kinds are taken, and heard for a moment.
"""

import asyncio
import contextlib
import os
import socket

import uvicorn

HEARD = 0.5  # seconds in which a connection can still send a request, once the server is to stop


class Server(uvicorn.Server):
    """Stops as uvicorn does, after it took the connections that wait, and heard all it has."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        waiting = [connection for server in self.servers for connection in take_and_close(server)]
        for connection in waiting:
            await loop.connect_accepted_socket(self.make_protocol, connection)
        await asyncio.sleep(HEARD)
        await super().shutdown(sockets)

    def make_protocol(self) -> asyncio.Protocol:
        """What uvicorn makes for each connection."""
        return self.config.http_protocol_class(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


def take_and_close(server: asyncio.Server) -> list[socket.socket]:
    """The connections that wait for `server`, which listens no more."""
    waiting = []
    with contextlib.ExitStack() as stack:
        for listening in server.sockets:
            same = stack.enter_context(socket.socket(fileno=os.dup(listening.fileno())))
            same.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    waiting.append(same.accept()[0])
        server.close()  # in the same step, so that nobody is connected in between
    for connection in waiting:
        connection.setblocking(False)
    return waiting
