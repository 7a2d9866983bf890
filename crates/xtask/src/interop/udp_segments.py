"""Sends COUNT datagrams with one call to the echo server at HOST, and takes them back with as few."""

import socket
import struct
import sys

HOST, COUNT, SIZE = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
UDP_SEGMENT, UDP_GRO = 103, 104

family = socket.AF_INET6 if ":" in HOST else socket.AF_INET
asking = socket.socket(family, socket.SOCK_DGRAM)
asking.settimeout(5)
asking.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
asking.connect((HOST, 7))

# The last one is shorter than the others.
sent = bytes(n % 251 for n in range(COUNT * SIZE - 100))
size = struct.pack("H", SIZE)
asking.sendmsg([sent], [(socket.IPPROTO_UDP, UDP_SEGMENT, size)])

got, calls, strides = b"", 0, set()
while len(got) < len(sent):
    data, ancillary, _, _ = asking.recvmsg(65535, 100)
    calls += 1
    assert len(data) <= SIZE or ancillary, (len(data), ancillary)
    strides.update(struct.unpack("i", value)[0] for _, _, value in ancillary)
    got += data
assert got == sent
assert strides <= {SIZE}, strides
print("one" if calls == 1 else "several" if calls < COUNT else "each", "of", COUNT)
