"""uvicorn's server, with a stop that loses no request, and a limit that disturbs nobody who is
served.

uvicorn closes its listening sockets and every connection without a request. So it loses the
requests of clients that the system has connected and uvicorn has not, and those that arrive just
after their connection was made, or, on a connection that is kept, just after an answer. Here
waiting connections are taken, all are heard for a moment, and each answer says that it is the last
one of its connection.
"""

import asyncio
import contextlib
import os
import socket

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

HEARD = 0.5  # seconds in which a connection can still send a request, once the server is to stop


class Connection(H11Protocol):
    """One beyond ``limit_concurrency`` is answered 503, itself alone: uvicorn so answers everybody
    while there are too many. And one that sends nothing is closed after the time after which
    uvicorn closes one that has been answered."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        most = self.config.limit_concurrency
        self.limit_concurrency = 0 if most and len(self.connections) > most else None
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )


class Server(uvicorn.Server):
    """Stops as uvicorn does, after it took the connections that wait, and heard all it has."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        state, loop = self.server_state, asyncio.get_running_loop()
        state.default_headers = [*state.default_headers, (b"connection", b"close")]
        for connection in close_listening(self.servers, self.config.backlog):
            with contextlib.suppress(OSError):  # the client may be gone
                await loop.connect_accepted_socket(self.make_protocol, connection)
        await asyncio.sleep(HEARD)
        await super().shutdown(sockets)
        if self.force_exit:  # a second Ctrl-C: uvicorn leaves the application to a traceback
            await self.lifespan.shutdown()

    def make_protocol(self) -> asyncio.Protocol:
        """What uvicorn makes for each connection."""
        return self.config.http_protocol_class(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


def close_listening(servers: list[asyncio.Server], most: int) -> list[socket.socket]:
    """Stop listening, and return the connections that wait: of each address `most` at most, or as
    many as this process may open. One that is made in the instant between the last look and the end
    is lost: the system refuses it or resets it."""
    waiting = []
    with contextlib.ExitStack() as stack:
        for server in servers:
            for listening in server.sockets:
                with contextlib.suppress(OSError):  # none waits, or too many files are open
                    same = stack.enter_context(socket.socket(fileno=os.dup(listening.fileno())))
                    same.setblocking(False)
                    for _ in range(most):
                        waiting.append(same.accept()[0])
            server.close()
    for connection in waiting:
        connection.setblocking(False)
    return waiting
