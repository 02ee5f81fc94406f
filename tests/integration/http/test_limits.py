"""Sockets of every bad kind, against a server with short limits on this loop."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from pykvd.http import Exchange, HttpLimits, Response
from tests.integration.http.serving import Connection, echo, eventually, serving

SHORT = HttpLimits(
    max_head_bytes=2048,
    max_body_bytes=1000,
    max_pipelined_bytes=4096,
    head_timeout=0.2,
    body_timeout=0.2,
    idle_timeout=0.2,
    write_timeout=0.2,
    half_closed_timeout=0.2,
    linger=0.2,
    high_water=64 << 10,
    low_water=16 << 10,
)
PATIENT = replace(
    SHORT, head_timeout=60, body_timeout=60, idle_timeout=60, write_timeout=60, linger=60
)
GET = b"GET /echo HTTP/1.1\r\nHost: h\r\n\r\n"


class Held:
    """A handler that answers when told to."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.gone = 0

    def __call__(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        exchange.on_gone = self._left

    def _left(self) -> None:
        self.gone += 1


@pytest.mark.parametrize(
    "opening",
    [
        b"GET /e",
        b"GET /echo HTTP/1.1\r\nHost:",
        b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabc",
        b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
    ],
)
async def test_slow_senders_are_told_and_cut(opening: bytes) -> None:
    async with serving({"/echo": echo}, SHORT) as (address, http):
        with Connection(address) as client:
            client.send(opening)
            answer = await asyncio.to_thread(client.rest)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"error":' in answer
        await eventually(lambda: http.connections == 0)


async def test_a_byte_now_and_then_does_not_buy_time() -> None:
    async with serving({"/echo": echo}, SHORT) as (address, http):
        with Connection(address) as client:
            client.send(b"GET /echo HTTP/1.1\r\nHost: h\r\nX: ")
            await eventually(lambda: http.connections == 1)
            async with asyncio.timeout(10):
                while http.connections:
                    with suppress(OSError):
                        client.send(b"x")
                    await asyncio.sleep(0.02)


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with serving({"/echo": echo}, SHORT) as (address, http):
        with Connection(address) as client:
            answer = await asyncio.to_thread(client.request, "POST", "/echo", b"x")
            assert answer.body == b"x"
            assert await asyncio.to_thread(client.rest) == b""
        await eventually(lambda: http.connections == 0)


async def test_a_client_that_does_not_read_is_cut() -> None:
    def flood(exchange: Exchange) -> None:
        exchange.respond(Response(200, (), bytes(32 << 20)))

    async with serving({"/flood": flood}, SHORT) as (address, http):
        with Connection(address) as client:
            client.send(GET.replace(b"/echo", b"/flood"))
            await eventually(lambda: http.connections == 1)
            await eventually(lambda: http.connections == 0)


async def test_a_slow_reader_gets_all_of_it() -> None:
    size = 4 << 20

    def flood(exchange: Exchange) -> None:
        exchange.respond(Response(200, (), bytes(size)))

    async with serving({"/flood": flood}, PATIENT) as (address, _):
        with Connection(address) as client:
            client.send(GET.replace(b"/echo", b"/flood"))
            answer = await asyncio.to_thread(client.answer)
            assert len(answer.body) == size


async def test_streams_say_when_the_client_is_slow_and_when_it_is_not() -> None:
    held = Held()
    async with serving({"/held": held}, PATIENT) as (address, _):
        with Connection(address) as client:
            client.send(GET.replace(b"/echo", b"/held"))
            await eventually(lambda: bool(held.exchanges))
            (exchange,) = held.exchanges
            writable = asyncio.Event()
            exchange.on_writable = writable.set
            exchange.begin(200, ())
            while not exchange.congested:
                exchange.write(bytes(64 << 10))
                await asyncio.sleep(0)
            assert exchange.buffered > PATIENT.low_water
            reading = asyncio.create_task(asyncio.to_thread(client.answer))
            await asyncio.wait_for(writable.wait(), 10)
            assert not exchange.congested
            exchange.end()
            assert set((await reading).body) == {0}


async def test_pipelined_requests_are_answered_in_order() -> None:
    held = Held()
    async with serving({"/held": held, "/echo": echo}, PATIENT) as (address, _):
        with Connection(address) as client:
            client.send(GET.replace(b"/echo", b"/held") + GET + GET.replace(b"/echo", b"/nope"))
            await eventually(lambda: bool(held.exchanges))
            held.exchanges[0].respond(Response(200, (), b"first"))
            answers = [await asyncio.to_thread(client.answer) for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 404]
        assert answers[0].body == b"first"


async def test_what_is_sent_far_ahead_waits_in_the_kernel() -> None:
    held = Held()
    async with serving({"/held": held, "/echo": echo}, PATIENT) as (address, _):
        with Connection(address) as client:
            count = 400_000  # twelve megabytes, more than sockets hold
            client.send(GET.replace(b"/echo", b"/held"))
            sending = asyncio.create_task(asyncio.to_thread(client.send, GET * count))
            await eventually(lambda: bool(held.exchanges))
            assert not (await asyncio.wait((sending,), timeout=0.5))[0]
            held.exchanges[0].respond(Response(200))
            answers = [await asyncio.to_thread(client.answer) for _ in range(100)]
            assert all(answer.status == 200 for answer in answers)
            client.close()
            await asyncio.wait((sending,))
            sending.exception()


async def test_a_half_closed_client_gets_its_answers() -> None:
    async with serving({"/echo": echo}, PATIENT) as (address, http):
        with Connection(address) as client:
            client.send(GET + GET.replace(b"/echo", b"/nope"))
            client.finish_sending()
            first = await asyncio.to_thread(client.answer)
            second = await asyncio.to_thread(client.answer)
            assert (first.status, second.status) == (200, 404)
            assert await asyncio.to_thread(client.rest) == b""
        await eventually(lambda: http.connections == 0)


async def test_a_half_closed_client_gets_a_late_answer_too() -> None:
    held = Held()
    async with serving({"/held": held}, PATIENT) as (address, _):
        with Connection(address) as client:
            client.send(GET.replace(b"/echo", b"/held"))
            client.finish_sending()
            await eventually(lambda: bool(held.exchanges))
            held.exchanges[0].respond(Response(200, (), b"late"))
            assert (await asyncio.to_thread(client.answer)).body == b"late"
            assert held.gone == 0


async def test_a_half_closed_client_counts_as_gone_after_a_while() -> None:
    held = Held()
    async with serving({"/held": held}, SHORT) as (address, _):
        with Connection(address) as client:
            client.send(GET.replace(b"/echo", b"/held"))
            client.finish_sending()
            await eventually(lambda: held.gone == 1)


async def test_a_stream_ends_when_its_client_leaves() -> None:
    held = Held()
    async with serving({"/held": held}, PATIENT) as (address, http):
        with Connection(address) as client:
            client.send(GET.replace(b"/echo", b"/held"))
            await eventually(lambda: bool(held.exchanges))
            held.exchanges[0].begin(200, ())
            held.exchanges[0].write(b"x")
        await eventually(lambda: held.gone == 1)
        await eventually(lambda: http.connections == 0)
        held.exchanges[0].write(b"to nobody")
        held.exchanges[0].end()


async def test_the_number_of_connections_is_bounded() -> None:
    async with serving({"/echo": echo}, PATIENT, max_connections=2) as (address, http):
        with Connection(address) as first, Connection(address) as second:
            for client in (first, second):
                assert (await asyncio.to_thread(client.request, "GET", "/echo")).status == 200
            with Connection(address) as third:
                with suppress(OSError):
                    third.send(GET)
                assert await asyncio.to_thread(third.rest) == b""
            assert (await asyncio.to_thread(first.request, "GET", "/echo")).status == 200
        await eventually(lambda: http.connections == 0)
        with Connection(address) as fourth:
            assert (await asyncio.to_thread(fourth.request, "GET", "/echo")).status == 200


async def test_who_sends_far_ahead_takes_turns_with_others() -> None:
    counts = [0]
    loop = asyncio.get_running_loop()

    def count(exchange: Exchange) -> None:
        counts[-1] += 1
        exchange.respond(Response(200))

    def next_turn() -> None:
        counts.append(0)
        if sum(counts) < 2000:
            loop.call_soon(next_turn)

    async with serving({"/echo": count}, PATIENT) as (address, _):
        with Connection(address) as client:
            sending = asyncio.create_task(asyncio.to_thread(client.send, GET * 2000))
            next_turn()
            for _ in range(2000):
                assert (await asyncio.to_thread(client.answer)).status == 200
            await sending
    assert sum(counts) == 2000
    assert max(counts) <= 16


async def test_who_asks_much_and_reads_nothing_waits() -> None:
    served = 0

    def large(exchange: Exchange) -> None:
        nonlocal served
        served += 1
        exchange.respond(Response(200, (), bytes(1 << 20)))

    async with serving({"/echo": large}, PATIENT) as (address, http):
        with Connection(address) as client:
            client.send(GET * 300)
            await eventually(lambda: served > 0)
            with Connection(address) as other:
                await asyncio.to_thread(other.request, "GET", "/nope")
            assert served < 30  # what sockets hold, and one more
            for _ in range(300):
                assert (await asyncio.to_thread(client.answer)).status == 200
            assert served == 300
        await eventually(lambda: http.connections == 0)


async def test_half_sent_bodies_of_all_are_bounded() -> None:
    limits = replace(
        PATIENT, max_body_bytes=50_000, max_held_bytes=30_000, max_pipelined_bytes=10_000
    )
    opening = b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 40000\r\n\r\n" + bytes(20_000)
    async with serving({"/echo": echo}, limits) as (address, http):
        with Connection(address) as first, Connection(address) as second:
            first.send(opening)
            await eventually(lambda: http.held > 20_000 - 1)
            second.send(opening)
            assert (await asyncio.to_thread(second.answer)).status == 503  # its head is known
            first.send(bytes(20_000))
            assert len((await asyncio.to_thread(first.answer)).body) == 40_000
        await eventually(lambda: http.connections == 0)
        assert http.held == 0


async def test_draining_ends_idle_connections_and_waits_for_answers() -> None:
    held = Held()
    async with serving({"/held": held, "/echo": echo}, PATIENT) as (address, http):
        with Connection(address) as idle, Connection(address) as busy:
            await asyncio.to_thread(idle.request, "GET", "/echo")
            busy.send(GET.replace(b"/echo", b"/held"))
            await eventually(lambda: bool(held.exchanges))
            draining = asyncio.create_task(http.drain(10))
            assert await asyncio.to_thread(idle.rest) == b""
            assert not draining.done()
            held.exchanges[0].respond(Response(200, (), b"done"))
            assert (await asyncio.to_thread(busy.answer)).body == b"done"
            assert await asyncio.to_thread(busy.rest) == b""
        await asyncio.wait_for(draining, 10)


async def test_a_handler_that_breaks_is_answered_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(exchange: Exchange) -> None:
        raise ZeroDivisionError

    async with serving({"/broken": broken, "/echo": echo}, PATIENT) as (address, _):
        with Connection(address) as client:
            answer = await asyncio.to_thread(client.request, "GET", "/broken")
            assert answer.status == 500
            assert answer.json["message"] == "internal error"
            assert (await asyncio.to_thread(client.request, "GET", "/echo")).status == 200
    assert "the handler of GET /broken failed" in caplog.text
