"""Asks COUNT addresses and ports of both families at once who they are, by TCP and some by UDP."""

import asyncio
import ipaddress
import socket
import sys

COUNT = int(sys.argv[1])
AT_ONCE = 200


def far(n):
    """Address and port number n; no two are the same."""
    if n % 2:
        host = ipaddress.IPv6Address((0x20010DB8 << 96) + (n % 7 << 64) + n)
    else:
        host = ipaddress.IPv4Address((198 << 24) + (18 << 16) + n)
    return str(host), 1 + n * 6 % 65535


def name_of(host, port):
    return f"[{host}]:{port}\n" if ":" in host else f"{host}:{port}\n"


async def ask(n, gate):
    host, port = far(n)
    async with gate:
        reader, writer = await asyncio.open_connection(host, port)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answer.decode() == name_of(host, port), (host, port, answer)


async def ask_all():
    gate = asyncio.Semaphore(AT_ONCE)
    await asyncio.gather(*(ask(n, gate) for n in range(COUNT)))


def ask_by_udp(n):
    host, port = far(n)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.settimeout(5)
        asking.connect((host, port))
        asking.send(b"who?")
        assert asking.recv(100).decode() == name_of(host, port), (host, port)


def counts_of_tcp():
    names, values = (line.split()[1:] for line in open("/proc/net/snmp") if line.startswith("Tcp:"))
    return dict(zip(names, map(int, values)))


asyncio.run(ask_all())
for n in range(COUNT // 10):
    ask_by_udp(n)
counts = counts_of_tcp()
assert counts["ActiveOpens"] == COUNT, counts
# A reset that came would have ended a handshake or a connection; one that we sent, a stray packet.
strays = {name: counts[name] for name in ("AttemptFails", "EstabResets", "OutRsts", "InErrs")}
assert not any(strays.values()), strays
print(f"{COUNT} answered")
