"""The console as a process: what a stranger gets, what is logged, and that nothing dies of it."""

import asyncio
import json
import re
import selectors
import socket
import subprocess
from urllib.parse import urlsplit

import pytest

pytest.importorskip("aiohttp", reason="needs aiohttp")

import aiohttp

from rmpsam_ros.console.connections import MAX_CONNECTIONS


@pytest.fixture(scope="module")
def console(launch):
    program = launch("rmpsam_console", {"port": 0, "max_clients": 3, "node": "/nobody"})
    program.url  # noqa: B018  it has started
    yield program
    assert program.end() == 0
    assert "Traceback" not in program.log


@pytest.fixture(scope="module")
def place(console):
    """Host and port, and the token."""
    parts = urlsplit(console.url)
    return parts.netloc, parts.fragment.removeprefix("token=")


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 120))


async def get(host, path, headers=None, method="GET"):
    async with (
        aiohttp.ClientSession() as client,
        client.request(
            method, f"http://{host}{path}", headers=headers or {}, allow_redirects=False
        ) as response,
    ):
        return response.status, await response.text(), response.headers


async def enter(client, host, token, origin=None, **options):
    """A socket that has said hello."""
    headers = {"Origin": origin or f"http://{host}"}
    sock = await client.ws_connect(f"ws://{host}/socket", headers=headers, **options)
    await sock.send_json({"type": "hello", "token": token})
    return sock


async def first_message(host, token, **options):
    """Type of the first message to a newcomer; or the code with which it is closed."""
    async with aiohttp.ClientSession() as client:
        sock = await enter(client, host, token, **options)
        message = await sock.receive(timeout=10)
        if message.type is aiohttp.WSMsgType.TEXT:
            await sock.close()
            return json.loads(message.data)["type"]
        return sock.close_code


def raw(host, data):
    """The answer to bytes that no client would send."""
    name, _, port = host.rpartition(":")
    with socket.create_connection((name, int(port)), timeout=10) as connection:
        connection.sendall(data)
        connection.settimeout(10)
        found = b""
        while chunk := connection.recv(65536):
            found += chunk
            if b"\r\n\r\n" in found:
                break
        return found


def still_works(place):
    host, token = place
    assert run(get(host, "/"))[0] == 200
    assert run(first_message(host, token)) == "welcome"


# The page ---------------------------------------------------------------------------------------


def test_every_file_of_the_page_comes_with_its_type(place):
    host, _ = place
    status, page, headers = run(get(host, "/"))
    assert status == 200 and headers["Content-Type"].startswith("text/html")
    names = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert "main.js" in names and "style.css" in names
    todo, done = set(names), set()
    while todo:
        name = todo.pop()
        status, text, headers = run(get(host, f"/{name}"))
        assert status == 200, name
        kind = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
        assert headers["Content-Type"].split(";")[0] == kind[name.rpartition(".")[2]]
        assert headers["X-Content-Type-Options"] == "nosniff"
        done.add(name)
        todo |= set(re.findall(r'from "\./([^"]+)"', text)) - done
    assert len(done) > 10


def test_nothing_comes_from_elsewhere(place):
    """Works without internet: no address of another server in any file of the page."""
    from rmpsam_ros.console.server import page_files

    for name, (body, _, _) in page_files().items():
        found = set(re.findall(r"(?:https?:)?//[\w.-]+\.[a-z]{2,}[^\s\"']*", body.decode()))
        assert found <= {"http://www.w3.org/2000/svg"}, name


def test_markup_has_no_scripts_and_styles_of_its_own():
    pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
    from rmpsam_ros.console.server import page_files

    page = page_files()["index.html"][0].decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert not re.search(r"<style|\sstyle=|\son\w+=", page)


def test_answers_carry_the_policy_and_unchanged_files_are_not_sent_again(place):
    host, _ = place
    _, _, headers = run(get(host, "/main.js"))
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    status, text, _ = run(get(host, "/main.js", {"If-None-Match": headers["ETag"]}))
    assert (status, text) == (304, "")


TRAVERSALS = (
    "/../server.py",
    "/..%2fserver.py",
    "/%2e%2e/server.py",
    "/....//server.py",
    "//etc/passwd",
    "/%2fetc%2fpasswd",
    "/page/../../server.py",
    "/..\\server.py",
    "/main.js%00.png",
    "/main.js/",
    "/server.py",
    "/.git/config",
    "/dataset.zip/../index.html",
)


@pytest.mark.parametrize("path", TRAVERSALS)
def test_path_traversal(place, path):
    host, _ = place
    answer = raw(host, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    status = int(answer.split()[1])
    assert status in (400, 403, 404), answer[:200]
    assert b"import" not in answer and b"root:" not in answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_other_methods(place, method):
    assert run(get(place[0], "/", method=method))[0] == 405


# Strangers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/main.js", "/socket", "/dataset.zip", "/nothing"])
def test_a_foreign_host_is_refused_and_logged(console, place, path):
    status, text, headers = run(get(place[0], path, {"Host": "evil.example:80"}))
    assert status == 403 and "host 'evil.example:80'" in text
    assert "Content-Security-Policy" in headers
    assert "evil.example" in console.log


@pytest.mark.parametrize("path", ["/", "/socket", "/dataset.zip"])
def test_a_foreign_origin_is_refused(console, place, path):
    status, text, _ = run(get(place[0], path, {"Origin": "https://evil.example"}))
    assert status == 403 and "origin" in text
    assert "https://evil.example" in console.log


def test_a_socket_from_a_foreign_page_is_refused(place):
    host, token = place
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        run(first_message(host, token, origin="https://evil.example"))
    assert refusal.value.status == 403


@pytest.mark.parametrize("token", ["", "wrong", None, 3, {"a": 1}, "ü", "x" * 200])
def test_a_wrong_token_is_refused_and_logged(console, place, token):
    assert run(first_message(place[0], token)) == aiohttp.WSCloseCode.POLICY_VIOLATION
    assert "wrong token" in console.log
    still_works(place)


def test_the_token_is_nowhere_but_in_the_address(console, place):
    host, token = place
    assert token in console.log and console.log.count(token) == 1
    for path in ("/", "/main.js", "/dataset.zip"):
        _, text, headers = run(get(host, path))
        assert token not in text and token not in str(headers)


async def without_hello(host, messages):
    async with aiohttp.ClientSession() as client:
        sock = await client.ws_connect(f"ws://{host}/socket", headers={"Origin": f"http://{host}"})
        for message in messages:
            await sock.send_str(message)
        received = await sock.receive(timeout=15)
        return received.type, sock.close_code


@pytest.mark.parametrize(
    "message", ['{"type": "view"}', '{"type": "parameters", "id": 1}', "hello", "{}"]
)
def test_nothing_is_answered_before_the_token(place, message):
    kind, code = run(without_hello(place[0], [message]))
    assert kind is aiohttp.WSMsgType.CLOSE and code == aiohttp.WSCloseCode.POLICY_VIOLATION


def test_a_silent_socket_is_closed(place):
    kind, _ = run(without_hello(place[0], []))
    assert kind is aiohttp.WSMsgType.CLOSE


@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer wrong", "Basic TOKEN"])
def test_the_data_set_needs_the_token(place, authorization):
    host, token = place
    headers = {"Authorization": authorization.replace("TOKEN", token)} if authorization else {}
    assert run(get(host, "/dataset.zip", headers))[0] == 401


def test_an_empty_data_set_says_so(place):
    host, token = place
    status, text, _ = run(get(host, "/dataset.zip", {"Authorization": f"Bearer {token}"}))
    assert status == 409 and "no frame has been collected" in text


# Too much ---------------------------------------------------------------------------------------


async def send_and_see(host, token, send):
    """How a socket is closed after something was sent on it."""
    async with aiohttp.ClientSession() as client:
        sock = await enter(client, host, token)
        await sock.receive(timeout=10)
        await send(sock)
        while True:
            message = await sock.receive(timeout=20)
            if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED):
                return sock.close_code


def test_an_oversize_message_closes_its_socket_only(place):
    host, token = place
    text = json.dumps({"type": "rename", "id": 1, "name": "x" * 100_000})
    code = run(send_and_see(host, token, lambda sock: sock.send_str(text)))
    assert code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
    still_works(place)


def test_bytes_are_refused(place):
    host, token = place
    code = run(send_and_see(host, token, lambda sock: sock.send_bytes(b"abc")))
    assert code == aiohttp.WSCloseCode.POLICY_VIOLATION


def test_a_flood_of_messages_closes_its_socket(console, place):
    host, token = place

    async def flood(sock):
        for number in range(1000):
            if sock.closed:
                return
            await sock.send_json({"type": "ack", "number": number})

    assert run(send_and_see(host, token, flood)) == aiohttp.WSCloseCode.POLICY_VIOLATION
    assert "too many messages" in console.log
    still_works(place)


async def replies(host, token, texts):
    """Replies to messages, in their order."""
    async with aiohttp.ClientSession() as client:
        sock = await enter(client, host, token)
        for text in texts:
            await sock.send_str(text)
        found = []
        while len(found) < len(texts):
            message = json.loads((await sock.receive(timeout=20)).data)
            if message["type"] == "reply":
                found.append(message)
        await sock.close()
        return found


NONSENSE = (
    "{",
    "[1]",
    '{"type": "ack"}',
    '{"type": "ack", "number": "1"}',
    '{"type": "view", "id": 1, "camera": "/etc", "quality": "medium", "side": 0, "paused": false}',
    '{"type": "view", "id": 1, "camera": null, "quality": "best", "side": 0, "paused": false}',
    '{"type": "view", "id": 1, "camera": null, "quality": [], "side": {}, "paused": false}',
    '{"type": "prompt"}',
    '{"type": "prompt", "id": 1}',
    '{"type": "__class__", "id": 1}',
    '{"type": "set_parameter", "id": 2, "name": "x", "value": 1}',
    '{"type": "transition", "id": 3, "transition": "shutdown"}',
    '{"type": "cancel", "job": -1}',
    '{"type": "rename", "id": 4, "object_id": "a", "name": "\\u0000"}',
)


@pytest.mark.parametrize("text", NONSENSE)
def test_nonsense_is_refused_with_a_reason(place, text):
    (reply,) = run(replies(*place, [text]))
    assert reply["ok"] is False and reply["message"]


def test_more_browsers_than_allowed(place):
    host, token = place

    async def enter_many():
        async with aiohttp.ClientSession() as client:
            socks = [await enter(client, host, token) for _ in range(4)]
            return [(await sock.receive(timeout=10)).type for sock in socks]

    kinds = run(enter_many())
    assert kinds == 3 * [aiohttp.WSMsgType.TEXT] + [aiohttp.WSMsgType.CLOSE]
    still_works(place)


def test_a_thousand_connections(console, place, wait_for):
    """They are told that there are too many; afterwards all is as before."""
    host, _ = place
    name, _, port = host.rpartition(":")
    held = [socket.create_connection((name, int(port)), timeout=20) for _ in range(1000)]

    ready = selectors.PollSelector()  # select() ends at descriptor 1 023
    for one in held:
        ready.register(one, selectors.EVENT_READ)

    def answered():
        return [key.fileobj for key, _ in ready.select(0.1)]

    wait_for(
        lambda: len(answered()) >= 1000 - MAX_CONNECTIONS, "an answer to those that are too many"
    )
    assert {one.recv(100)[:12] for one in answered()} <= {b"HTTP/1.1 503", b""}
    assert console.process.poll() is None
    for connection in held:
        connection.close()
    still_works(place)
    assert "too many are open" in console.log


def test_headers_without_end(place):
    host, _ = place
    answer = raw(host, b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n")
    assert answer.split()[1] in (b"400", b"431")
    still_works(place)


# The program ------------------------------------------------------------------------------------


def test_only_loopback_is_listened_on(console, place):
    port = place[0].rpartition(":")[2]
    table = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=False)
    if table.returncode:
        pytest.skip("there is no ss")
    own = [line for line in table.stdout.splitlines() if f"pid={console.process.pid}," in line]
    addresses = [line.split()[3] for line in own]
    assert f"127.0.0.1:{port}" in addresses
    assert all(address.startswith("127.0.0.1:") for address in addresses)


def test_a_taken_port_is_said(launch, place):
    second = launch("rmpsam_console", {"port": int(place[0].rpartition(":")[2])})
    assert second.process.wait(180) == 1
    assert "choose another port" in second.log and "Traceback" not in second.log


def test_an_open_console_without_token_is_not_started(launch):
    program = launch("rmpsam_console", {"address": "0.0.0.0", "require_token": False})
    assert program.process.wait(180) == 1
    assert "require_token is false" in program.log and "Traceback" not in program.log


def test_read_only(launch):
    program = launch("rmpsam_console", {"port": 0, "read_only": True, "node": "/nobody"})
    parts = urlsplit(program.url)
    asked = ["prompt", "remove", "clear", "rename", "everything", "set_parameter", "transition"]
    asked += ["collect", "record", "discard"]
    texts = [json.dumps({"type": name, "id": number}) for number, name in enumerate(asked)]
    # Not more at a time than are worked on.
    token = parts.fragment.removeprefix("token=")
    for text in texts:
        (reply,) = run(replies(parts.netloc, token, [text]))
        assert "read_only" in reply["message"]
    assert program.end() == 0


def test_every_request_is_either_reading_or_writing():
    """What is not in READING is refused by a console that only shows: nothing is forgotten."""
    pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
    from rmpsam_ros.console.commands import COMMANDS, READING

    assert READING == {"parameters", "list"} and READING < COMMANDS.keys()
