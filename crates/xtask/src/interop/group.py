"""Talks to echo_group in its group, of the family 4 or 6: group.py 4."""

import socket
import struct
import sys
import time

v6 = sys.argv[1] == "6"
family = socket.AF_INET6 if v6 else socket.AF_INET
group, port = "ff15::77" if v6 else "239.77.0.1", 7777
link = socket.if_nametoindex("estab0")
packed = socket.inet_pton(family, group)

member = socket.socket(family, socket.SOCK_DGRAM)
member.settimeout(5)
member.bind((group, port))
if v6:
    member.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, packed + struct.pack("@I", link))
    member.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, link)
    member.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
else:
    here = struct.pack("=4sii", packed, 0, link)
    member.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, here)
    member.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, here)
    member.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
# What we report goes to all routers of the link, which the kernel here is not: a raw socket hears it.
reports = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x86DD if v6 else 0x0800))
reports.bind(("estab0", 0))
reports.settimeout(5)


def repeated(payload):
    """The payload comes back from the group, sent by the stack."""
    member.sendto(payload, (group, port))
    heard, source = member.recvfrom(1 << 16)
    assert heard == payload, (len(heard), len(payload))
    assert source[0] == ("fd77::2" if v6 else "10.77.0.2"), source


def reports_leaving():
    """A report of version 3, or 2 for IPv6, that says of the group that nothing is to be heard."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        packet = reports.recv(1 << 16)
        # The header of IPv6 and eight bytes of hop-by-hop options, or that of IPv4 with an option.
        message = packet[48:] if v6 else packet[(packet[0] & 15) * 4 :]
        ours = packet[6] == 0 if v6 else packet[9] == 2
        # One record: CHANGE_TO_INCLUDE_MODE without any source (RFC 9776 5.1, RFC 9777 6.1).
        if ours and message[0] == (143 if v6 else 0x22) and message[8:12] == b"\x03\0\0\0":
            assert message[12 : 12 + len(packed)] == packed, message
            return
    raise AssertionError("no report")


# The stack may not have joined yet: the first ones may go nowhere.
member.settimeout(0.2)
for _ in range(50):
    try:
        repeated(b"is anybody there?")
        break
    except TimeoutError:
        pass
member.settimeout(5)
for length in (0, 1, 1400):
    repeated(bytes(length))
# In fragments, both ways.
member.sendto(b"9" * 1900, (group, port))
assert member.recv(1 << 16) == b"9" * 1900
repeated(b"leave")
reports_leaving()
member.settimeout(0.5)
member.sendto(b"still there?", (group, port))
try:
    raise AssertionError(member.recv(1 << 16))
except TimeoutError:
    print("heard, and left")
