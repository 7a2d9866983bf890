"""Short connections: short.py client|server ADDRESS PORT COUNT.

`client` closes first, after one byte has come back from an echo server; `server` lets an HTTP
server close first. Every answer is looked at.
"""

import asyncio
import sys

AT_ONCE = 32


async def client_closes(address, port):
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    writer.close()
    await writer.wait_closed()


async def server_closes(address, port):
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(b"GET / HTTP/1.0\r\nHost: estab\r\n\r\n")
    answer = await reader.read(-1)
    assert b"It works" in answer, answer
    writer.close()
    await writer.wait_closed()


async def main():
    who, address, port, count = sys.argv[1:]
    one = {"client": client_closes, "server": server_closes}[who]
    turns = iter(range(int(count)))

    async def worker():
        for _ in turns:
            await asyncio.wait_for(one(address, int(port)), 20)

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


asyncio.run(main())
