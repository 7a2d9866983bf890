"""Talks to echo_group in its group of some sources, of the family 4 or 6: sources.py 4.

The kernel speaks from two addresses, of which the stack hears one, and is told to hear the other. Then the
kernel makes the same calls itself: its reports are the same, byte by byte.
"""

import socket
import struct
import sys
import time

v6 = sys.argv[1] == "6"
family = socket.AF_INET6 if v6 else socket.AF_INET
group, port = "ff35::77" if v6 else "232.77.0.1", 7777
first, second = ("fd77::9", "fd77::1") if v6 else ("10.77.0.9", "10.77.0.1")
link = socket.if_nametoindex("estab0")
ALLOW, BLOCK = 5, 6
PACKET_OUTGOING = 4
IP_ADD_SOURCE_MEMBERSHIP, IP_DROP_SOURCE_MEMBERSHIP = 39, 40
MCAST_JOIN_SOURCE_GROUP, MCAST_LEAVE_SOURCE_GROUP = 46, 47


def packed(address):
    return socket.inet_pton(family, address)


def storage(address):
    """A sockaddr_storage."""
    head = struct.pack("=HHI", family, 0, 0) + packed(address)
    return head.ljust(128, b"\0")


def source_call(member, joins, source):
    if v6:
        name = MCAST_JOIN_SOURCE_GROUP if joins else MCAST_LEAVE_SOURCE_GROUP
        value = struct.pack("@I4x", link) + storage(group) + storage(source)
        member.setsockopt(socket.IPPROTO_IPV6, name, value)
    else:
        name = IP_ADD_SOURCE_MEMBERSHIP if joins else IP_DROP_SOURCE_MEMBERSHIP
        value = packed(group) + packed(second) + packed(source)
        member.setsockopt(socket.IPPROTO_IP, name, value)


def speaker(address):
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.bind((address, 0))
    if v6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, link)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
    else:
        here = struct.pack("=4s4si", packed(group), packed(address), link)
        made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, here)
        made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    return made


# What is reported goes to all routers of the link, which nobody here is: a raw socket hears it, and one of all
# types what the kernel itself says.
ETH_P_ALL, ETH_P_OURS = 3, 0x86DD if v6 else 0x0800
reports = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
reports.bind(("estab0", 0))
reports.settimeout(5)
hears = socket.socket(family, socket.SOCK_DGRAM)
hears.bind((group, port))
hears.settimeout(5)
if v6:
    member = packed(group) + struct.pack("@I", link)
    hears.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
else:
    member = struct.pack("=4sii", packed(group), 0, link)
    hears.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
speakers = {address: speaker(address) for address in (first, second)}


def says(address, payload):
    speakers[address].sendto(payload, (group, port))


def repeated(address, payload):
    """The payload comes back from the group, and nothing else that was said before it does."""
    says(address, payload)
    heard, source = hears.recvfrom(1 << 16)
    assert heard == payload, (heard, payload)
    assert source[0] == ("fd77::2" if v6 else "10.77.0.2"), source


def reported(by_kernel, kind, source):
    """The report of one record that says this of the group: twice, as every change is told."""
    record = struct.pack("!BBH", kind, 0, 1) + packed(group) + packed(source)
    found = []
    end = time.monotonic() + 5
    while len(found) < 2 and time.monotonic() < end:
        packet, (_, kind_of_packet, direction, *_) = reports.recvfrom(1 << 16)
        if kind_of_packet != ETH_P_OURS or not packet:
            continue
        # The header of IPv6 and eight bytes of hop-by-hop options, or that of IPv4 with an option.
        message = packet[48:] if v6 else packet[(packet[0] & 15) * 4 :]
        is_report = packet[6] == 0 if v6 else packet[9] == 2
        is_report = is_report and message[0] == (143 if v6 else 0x22)
        if is_report and (direction == PACKET_OUTGOING) == by_kernel and message[8:] == record:
            found.append(message)
    assert len(found) == 2, (by_kernel, kind, source, found)
    # The checksum of IPv6 counts who says it.
    return found[0][:2] + found[0][4:] if v6 else found[0]


# The stack may not have joined yet: the first ones may go nowhere.
hears.settimeout(0.2)
for _ in range(50):
    try:
        repeated(first, b"is anybody there?")
        break
    except TimeoutError:
        pass
hears.settimeout(5)
# What is still to be told of the joining would be told with what follows.
time.sleep(2)
says(second, b"nobody hears this")
repeated(first, b"but this")
repeated(first, b"also " + second.encode())
allowed = reported(False, ALLOW, second)
repeated(second, b"now it is heard")
repeated(first, b"leave")
blocked = reported(False, BLOCK, first)
says(first, b"nobody hears this any more")
repeated(second, b"but still this")

# The same calls to the kernel, which was in the group for all sources until now.
hears.close()
time.sleep(2.5)
ours = socket.socket(family, socket.SOCK_DGRAM)
source_call(ours, True, first)
reported(True, ALLOW, first)
source_call(ours, True, second)
assert reported(True, ALLOW, second) == allowed, allowed
source_call(ours, False, first)
assert reported(True, BLOCK, first) == blocked, blocked
print("heard from some, and told as the kernel tells it")
