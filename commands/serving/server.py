"""uvicorn's server, with a shutdown that loses no request, and a connection limit that affects only
the connections beyond it.

On shutdown, uvicorn closes its listening sockets and every idle connection. So it loses the
requests of clients that the kernel has connected but uvicorn has not accepted, and requests that
arrive just after the connection was made or, on a keep-alive connection, just after a response.
Here pending connections are accepted, all connections may still send a request for a moment, and
each response announces that it is the last one on its connection.
"""

import asyncio
import contextlib
import os
import socket

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

DRAIN = 0.5  # seconds in which connections may still send a request, once the server is to stop


class Connection(H11Protocol):
    """A connection; only one beyond ``limit_concurrency`` is answered 503, whereas uvicorn answers
    503 to everybody while there are too many. One that sends nothing is closed after uvicorn's
    keep-alive timeout, which otherwise applies only after a response."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        limit = self.config.limit_concurrency
        self.limit_concurrency = 0 if limit and len(self.connections) > limit else None
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )


class Server(uvicorn.Server):
    """Shuts down like uvicorn, after accepting pending connections and draining all of them."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        state, loop = self.server_state, asyncio.get_running_loop()
        state.default_headers = [*state.default_headers, (b"connection", b"close")]
        for connection in close_listening(self.servers, self.config.backlog):
            with contextlib.suppress(OSError):  # the client may be gone
                await loop.connect_accepted_socket(self.make_protocol, connection)
        await asyncio.sleep(DRAIN)
        await super().shutdown(sockets)
        if self.force_exit:  # a second Ctrl-C: else the application would end with a traceback
            await self.lifespan.shutdown()

    def make_protocol(self) -> asyncio.Protocol:
        """The protocol of a new connection, as uvicorn makes it."""
        return self.config.http_protocol_class(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


def close_listening(servers: list[asyncio.Server], limit: int) -> list[socket.socket]:
    """Stop listening, and return the pending connections: at most `limit` per address, or as many
    as this process may open. A connection made between the last accept and the close is lost: the
    kernel refuses or resets it."""
    pending = []
    with contextlib.ExitStack() as stack:
        for server in servers:
            for listening in server.sockets:
                with contextlib.suppress(OSError):  # none is pending, or too many files are open
                    copy = stack.enter_context(socket.socket(fileno=os.dup(listening.fileno())))
                    copy.setblocking(False)
                    for _ in range(limit):
                        pending.append(copy.accept()[0])
            server.close()
    for connection in pending:
        connection.setblocking(False)
    return pending
