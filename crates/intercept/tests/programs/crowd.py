"""A crowd of connections at one asyncio server, all open at once.

crowd.py serve ADDRESS PORT          echoes
crowd.py meet ADDRESS PORT NUMBER    opens so many, and each must get back what it sent
"""

import asyncio
import resource
import sys


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def serve(address, port):
    server = await asyncio.start_server(echo, address, port, backlog=4096)
    await server.serve_forever()


async def meet(address, port, number):
    at_once = asyncio.Semaphore(200)

    async def connect():
        async with at_once:
            return await asyncio.open_connection(address, port)

    everybody = await asyncio.gather(*(connect() for _ in range(number)))

    async def exchange(place):
        reader, writer = everybody[place]
        said = b"%d: " % place + bytes(range(256)) * 4
        writer.write(said)
        await writer.drain()
        assert await reader.readexactly(len(said)) == said
        writer.close()

    await asyncio.gather(*(exchange(place) for place in range(number)))
    print(number, "answered")


soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
what, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
if what == "serve":
    asyncio.run(serve(address, port))
else:
    asyncio.run(meet(address, port, int(sys.argv[4])))
