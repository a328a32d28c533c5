"""Services of the perception node, called from asyncio."""

from __future__ import annotations

import asyncio
from typing import Any

from rclpy.client import Client
from rclpy.node import Node

from rmpsam_ros.node import qos


class CallError(RuntimeError):
    """A service that cannot be asked or does not answer; the message says what to do."""


class Services:
    """Clients of one node's services, made when they are first needed.

    Args:
        loop: where the answers are awaited.
        target: full name of the perception node.
    """

    def __init__(self, node: Node, loop: asyncio.AbstractEventLoop, target: str) -> None:
        self._node, self._loop, self._target = node, loop, target
        self._clients: dict[str, Client] = {}

    async def call(self, kind: Any, name: str, request: Any, timeout: float) -> Any:
        """Return the answer of service `name` below the node.

        Raises:
            CallError: the node does not offer it, or does not answer within `timeout` seconds.
        """
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = self._node.create_client(
                kind, f"{self._target}/{name}", qos_profile=qos.requests()
            )
        full = f"{self._target}/{name}"
        if not await self._is_ready(client):
            raise CallError(f"{full} is not there; is the node running, on this ROS_DOMAIN_ID?")
        answer: asyncio.Future[Any] = self._loop.create_future()
        future = client.call_async(request)
        future.add_done_callback(lambda done: self._hand_over(done, answer))
        try:
            return await asyncio.wait_for(answer, timeout)
        except asyncio.TimeoutError:
            raise CallError(f"{full} does not answer within {timeout:g} s") from None
        finally:
            if not future.done():
                client.remove_pending_request(future)

    async def _is_ready(self, client: Client) -> bool:
        """Wait a little: discovery needs a moment for a client that is new."""
        for _ in range(20):
            if client.service_is_ready():
                return True
            await asyncio.sleep(0.05)
        return False

    def _hand_over(self, done: Any, answer: asyncio.Future[Any]) -> None:
        """Pass an answer from the executor's thread to the loop."""

        def settle() -> None:
            if answer.done():
                return
            error = done.exception()
            if error is not None:
                answer.set_exception(CallError(str(error)))
            else:
                answer.set_result(done.result())

        try:
            self._loop.call_soon_threadsafe(settle)
        except RuntimeError:  # the loop has ended
            pass
