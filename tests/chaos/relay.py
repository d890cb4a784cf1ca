#!/usr/bin/env python3
"""A bad network: a TCP relay between workers and their server that does what it is told.

    relay.py --to 127.0.0.1:7070 [--listen 127.0.0.1:0] [--seed N [--every SECONDS]]

reads commands from its standard input, one on a line (`help` lists them); with --seed it also draws some by itself.
WAY is `up` (to the server), `down`, or `both`.
"""
import argparse
import asyncio
import random
import socket
import struct
import sys

COMMANDS = """\
delay S             every chunk waits S seconds
rate BYTES          so many bytes a second; 0: as many as there are
slice BYTES         pieces of at most so many bytes; 0: as they come
partition WAY S     nothing passes for S seconds; then what was sent meanwhile does
reset WAY BYTES     both ends are reset when so many more bytes have passed
desert WAY BYTES    likewise, but the server's end stays open and silent for 30 s
corrupt WAY         one bit of the next chunk is turned
duplicate WAY       the next chunk passes twice
drop WAY            the next chunk is lost
clear               no faults any more"""
WAYS = {"up": ("up",), "down": ("down",), "both": ("up", "down")}
DESERTED = 30  # seconds


class Cut(Exception):
    """This connection ends here."""

    def __init__(self, desert):
        super().__init__()
        self.desert = desert


class Relay:
    """Relays every connection to `listen` on to `target`. Everything but `port` belongs to the event loop's thread."""

    def __init__(self, target, seed=0, delay=0.0):
        self.target, self.random, self.base_delay = target, random.Random(seed), delay
        self.chunks = 0
        self.port = None
        self.cut_off = {"up": 0.0, "down": 0.0}  # until then, on the loop's clock
        self.clear()

    async def start(self, host="127.0.0.1", port=0):
        self.loop = asyncio.get_running_loop()
        self.server = await asyncio.start_server(self.connected, host, port)
        self.port = self.server.sockets[0].getsockname()[1]

    def clear(self):
        self.delay, self.rate, self.slice = self.base_delay, 0, 0
        self.once = {"up": [], "down": []}  # faults that wait for the next chunk
        self.cut_off = {"up": 0.0, "down": 0.0}

    def command(self, text):
        """Raises ValueError, KeyError or IndexError where `text` is no command."""
        name, *words = text.split()
        if name == "clear":
            self.clear()
        elif name == "delay":
            self.delay = self.base_delay + float(words[0])
        elif name in ("rate", "slice"):
            setattr(self, name, int(words[0]))
        elif name == "partition":
            for way in WAYS[words[0]]:
                self.cut_off[way] = self.loop.time() + float(words[1])
        elif name in ("reset", "desert"):
            for way in WAYS[words[0]]:
                self.add(way, name, int(words[1]))
        elif name in ("corrupt", "duplicate", "drop"):
            for way in WAYS[words[0]]:
                self.add(way, name, 0)
        else:
            raise ValueError(name)

    def add(self, way, name, size):
        """A fault for the next chunk. No second one of its kind: a connection that comes back is not met by a hundred."""
        if all(waiting[0] != name for waiting in self.once[way]):
            self.once[way].append([name, size])

    async def connected(self, reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.target)
        except OSError:
            reset(writer)
            return
        for end in (writer, far_writer):
            end.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pumps = [asyncio.ensure_future(self.pump(reader, far_writer, "up")),
                 asyncio.ensure_future(self.pump(far_reader, writer, "down"))]
        done, rest = await asyncio.wait(pumps, return_when=asyncio.FIRST_EXCEPTION)
        for pump in rest:
            pump.cancel()
        cuts = [pump.exception() for pump in done if pump.exception()]
        if any(isinstance(cut, Cut) and cut.desert for cut in cuts):
            reset(writer)
            await asyncio.sleep(DESERTED)
        elif not cuts:
            for end in (writer, far_writer):
                end.close()
            return
        reset(writer)
        reset(far_writer)

    async def pump(self, reader, writer, way):
        while chunk := await reader.read(1 << 16):
            while self.loop.time() < self.cut_off[way]:
                await asyncio.sleep(0.02)
            if self.delay > 0:
                await asyncio.sleep(self.delay)
            self.chunks += 1
            cut = self.due_cut(way, len(chunk))
            for piece in self.pieces(self.spoiled(chunk, way) if cut is None else chunk[: cut[1]]):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(len(piece) / self.rate if self.rate else 0)
            if cut is not None:
                raise Cut(cut[0] == "desert")
        if writer.can_write_eof():
            writer.write_eof()

    def due_cut(self, way, size):
        """The cut that falls into the next `size` bytes, with its place in them."""
        for fault in self.once[way]:
            if fault[0] not in ("reset", "desert"):
                continue
            if fault[1] <= size:
                self.once[way].remove(fault)
                return fault
            fault[1] -= size
        return None

    def spoiled(self, chunk, way):
        waiting, self.once[way] = self.once[way], [f for f in self.once[way] if f[0] in ("reset", "desert")]
        for name in [fault[0] for fault in waiting]:
            if name == "corrupt" and chunk:
                at = self.random.randrange(len(chunk))
                chunk = chunk[:at] + bytes([chunk[at] ^ (1 << self.random.randrange(8))]) + chunk[at + 1:]
            elif name == "duplicate":
                chunk += chunk
            elif name == "drop":
                chunk = b""
        return chunk

    def pieces(self, chunk):
        size = self.slice or (1024 if self.rate else len(chunk) or 1)
        return [chunk[at: at + size] for at in range(0, len(chunk), size)]


def reset(writer):
    """Closes with a reset, which says nothing and overtakes what was sent."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def draw(rng):
    """A command, at random."""
    way = rng.choice(("up", "down", "both"))
    return rng.choice((
        f"delay {rng.uniform(0.005, 0.1):.3f}", f"rate {rng.choice((20000, 100000))}", f"slice {rng.choice((1, 7, 100))}",
        f"partition {way} {rng.uniform(0.5, 13):.1f}", f"reset {way} {rng.randrange(20000)}",
        f"desert {way} {rng.randrange(20000)}", f"corrupt {way}", f"duplicate {way}", f"drop {way}", "clear"))


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", required=True, metavar="HOST:PORT")
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--every", type=float, default=3, metavar="SECONDS")
    args = parser.parse_args()
    host, port = args.to.rsplit(":", 1)
    relay = Relay((host, int(port)), args.seed or 0)
    host, port = args.listen.rsplit(":", 1)
    await relay.start(host, int(port))
    print(f"listening on {host}:{relay.port}", flush=True)

    async def chaos():
        rng = random.Random(args.seed)
        while True:
            await asyncio.sleep(rng.expovariate(1 / args.every))
            text = draw(rng)
            print(text, flush=True)
            relay.command(text)

    drawing = asyncio.ensure_future(chaos()) if args.seed is not None else None
    while line := await relay.loop.run_in_executor(None, sys.stdin.readline):
        try:
            print(COMMANDS) if line.strip() == "help" else relay.command(line)
        except (ValueError, KeyError, IndexError):
            print(f"no command: {line.strip()!r}; `help` lists them", flush=True)
    if drawing:
        await drawing


if __name__ == "__main__":
    asyncio.run(main())
