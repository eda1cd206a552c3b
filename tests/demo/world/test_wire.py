"""The world's own HTTP: a server that ends while its clients come and go."""

import socket
import threading

from quell.demo.world.programs.wire import Answer, Client, Request, Server


def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def hello(_: Request) -> Answer:
    return Answer(200, b"hello")


def test_a_talk_that_ends_while_the_server_drains_disturbs_nobody() -> None:
    for _ in range(40):
        server = Server(number := port(), hello)
        talks = [socket.create_connection(("127.0.0.1", number)) for _ in range(20)]
        for talk in talks:  # each has been taken in: it is answered
            talk.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert talk.recv(4096).startswith(b"HTTP/1.1 200")
        hanging_up = threading.Thread(target=lambda talks=talks: [talk.close() for talk in talks])
        hanging_up.start()
        server.drain(1.0)
        hanging_up.join()


def test_after_draining_nobody_listens() -> None:
    server = Server(number := port(), hello)
    client = Client(number, timeout=2.0)
    assert client.ask("GET", "/") == (200, b"hello")
    server.drain(1.0)
    try:
        socket.create_connection(("127.0.0.1", number), timeout=1.0).close()
    except OSError:
        return
    raise AssertionError("it still listens")
