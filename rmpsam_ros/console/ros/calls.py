"""Services and actions of the perception node, called from asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from rclpy.action import ActionClient
from rclpy.client import Client
from rclpy.node import Node

from rmpsam_ros.node import qos

CANCEL_TIMEOUT = 3.0  # seconds; the node ends the step that it is at


class CallError(RuntimeError):
    """A service that cannot be asked or does not answer; the message says what to do."""


def _cancel(sent: Any) -> None:
    """Cancel a goal that was sent, if it was accepted."""
    if sent.exception() is None and sent.result().accepted:
        sent.result().cancel_goal_async()


class Services:
    """Clients of one node's services and actions, made when they are first needed.

    Args:
        loop: where the answers are awaited.
        target: full name of the perception node.
    """

    def __init__(self, node: Node, loop: asyncio.AbstractEventLoop, target: str) -> None:
        self._node, self._loop, self._target = node, loop, target
        self._clients: dict[str, Client] = {}
        self._actions: dict[str, ActionClient] = {}

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
        await self._wait_until(client.service_is_ready, full)
        future = client.call_async(request)
        try:
            return await asyncio.wait_for(self._answer(future), timeout)
        except asyncio.TimeoutError:
            raise CallError(f"{full} does not answer within {timeout:g} s") from None
        finally:
            if not future.done():
                client.remove_pending_request(future)

    async def work(
        self,
        kind: Any,
        name: str,
        goal: Any,
        on_feedback: Callable[[Any], None],
        timeout: float,
    ) -> Any:
        """Return the result of action `name` below the node; who cancels this cancels the goal.

        Args:
            on_feedback: called in the loop with every feedback.

        Raises:
            CallError: as `call`, or the goal is not accepted.
        """
        client = self._actions.get(name)
        if client is None:
            client = self._actions[name] = qos.create_action_client(
                self._node, kind, f"{self._target}/{name}"
            )
        full = f"{self._target}/{name}"
        await self._wait_until(client.server_is_ready, full)

        def tell(message: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(on_feedback, message.feedback)

        sent = client.send_goal_async(goal, tell)
        try:
            handle = await asyncio.wait_for(self._answer(sent), timeout)
        except BaseException:
            sent.add_done_callback(_cancel)  # also if it is accepted later
            raise
        if not handle.accepted:
            raise CallError(f"{full} does not accept the goal")
        result = self._answer(handle.get_result_async())
        try:
            return (await asyncio.wait_for(asyncio.shield(result), timeout)).result
        except asyncio.TimeoutError:
            raise CallError(f"{full} does not answer within {timeout:g} s") from None
        finally:
            if not result.done():
                _cancel(sent)
                await asyncio.wait([result], timeout=CANCEL_TIMEOUT)

    async def _wait_until(self, is_ready: Callable[[], bool], full: str) -> None:
        """Wait a little: discovery needs a moment for a client that is new."""
        for _ in range(20):
            if is_ready():
                return
            await asyncio.sleep(0.05)
        raise CallError(f"{full} is not there; is the node running, on this ROS_DOMAIN_ID?")

    def _answer(self, future: Any) -> asyncio.Future[Any]:
        """Return a future of the loop for one of ROS."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        future.add_done_callback(lambda done: self._hand_over(done, answer))
        return answer

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
