"""Clients that are no workers: what comes to an open port, by mistake or on purpose."""
import hashlib
import pickle
import random
import socket
import struct
import subprocess
import zlib

MAGIC = b"TERN"


def header(rng, kind):
    """A frame's header, more or less. Its checksum is wrong: a right one needs CRC32C."""
    length = rng.choice((0, 16, 1 << 20, (1 << 32) - 1))
    return struct.pack("<4sBBBBQQQIHHII", MAGIC, 1, 0, kind, 0, 1, 7, 0, 1, 0, 0, length, zlib.crc32(b""))


def greetings(rng):
    """What strangers say."""
    return {
        "nothing": b"",
        "pickle": pickle.dumps({"gradients": [1.0] * 100, "worker": 1}),
        "length-prefixed pickle": struct.pack(">I", 4000) + pickle.dumps(list(range(1000))),
        "http": b"GET /metrics HTTP/1.1\r\nHost: server\r\n\r\n",
        "random bytes": rng.randbytes(rng.randrange(1, 5000)),
        "half a header": header(rng, 1)[:rng.randrange(1, 47)],
        "a header": header(rng, rng.randrange(16)),
        "a header and a body": header(rng, rng.randrange(16)) + rng.randbytes(5000),
        "a header cut 2+2": header(rng, 1)[:2],
        "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(300),
    }


def visit(rng, port, token):
    """A fault of nemesis: yields waits. `token`: the file that gets a stranger through TLS, or None for plain text."""
    text = rng.choice(sorted(greetings(rng).items()))[1]
    if token is not None and rng.random() < 0.4:
        yield from behind_tls(rng, port, token, text)
        return
    crowd = []
    try:
        for _ in range(rng.choice((1, 1, 3, 40))):
            connection = socket.create_connection(("127.0.0.1", port), timeout=1)
            crowd.append(connection)
            connection.sendall(text)
        yield rng.uniform(0, 7)  # silent, beyond the handshake's time or not
        for connection in crowd:
            connection.sendall(text)
        yield 0.2
    except OSError:  # refused, or hung up on: as it should be
        yield 0
    finally:
        for connection in crowd:
            connection.close()


def behind_tls(rng, port, token, text):
    """Garbage from somebody who has the token."""
    key = hashlib.sha256(bytes.fromhex(token.read_text().strip())).hexdigest()
    try:
        client = subprocess.Popen(["openssl", "s_client", "-quiet", "-tls1_3", "-psk", key, "-psk_identity", "tern", "-connect",
                                   f"127.0.0.1:{port}"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
    except OSError:  # no openssl here
        return
    try:
        client.stdin.write(text)
        client.stdin.flush()
        yield rng.uniform(0.2, 7)
    except OSError:
        yield 0
    finally:
        client.kill()
        client.wait()
        client.stdin.close()
