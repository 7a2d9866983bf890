"""Echo requests in fragments that we cut ourselves: fragments.py OURS PEER.

Good ones are answered, bad ones are not, or with the ICMP error that the RFCs ask for.
"""

import os
import socket
import struct
import sys

PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_FRAGMENT, PROTOCOL_ICMP6 = 1, 6, 44, 58
IPV6_HDRINCL = 36
PARAMETER_PROBLEM = 4
# An answer takes far less, and the lack of one is looked at for so long.
PATIENCE = 0.5

ours, peer = sys.argv[1:]
v6 = ":" in peer
family = socket.AF_INET6 if v6 else socket.AF_INET
packed = [socket.inet_pton(family, address) for address in (ours, peer)]
sender = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
if v6:
    sender.setsockopt(socket.IPPROTO_IPV6, IPV6_HDRINCL, 1)
receiver = socket.socket(family, socket.SOCK_RAW, PROTOCOL_ICMP6 if v6 else PROTOCOL_ICMP)
receiver.settimeout(PATIENCE)
receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
identifier = os.getpid() & 0xFFFF
sequence = 0


def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def request(length):
    """An echo request with so many bytes, and the payload that its answer must have."""
    global sequence
    sequence += 1
    payload = os.urandom(length)
    head = struct.pack("!BBHHH", 128 if v6 else 8, 0, 0, identifier, sequence)
    pseudo = b"".join(packed) + struct.pack("!II", 8 + length, PROTOCOL_ICMP6) if v6 else b""
    total = checksum(pseudo + head + payload)
    return head[:2] + struct.pack("!H", total) + head[4:] + payload, payload


def send(message, start, end, more, name=None):
    """Sends the fragment of `message` from `start` to `end`."""
    name = sequence if name is None else name
    send_bytes(message[start:end], start, more, name)


def send_bytes(piece, start, more, name, protocol=PROTOCOL_ICMP6):
    if v6:
        fragment = struct.pack("!BBHI", protocol, 0, start | more, 0xE57AB000 + name)
        head = struct.pack("!IHBB", 6 << 28, 8 + len(piece), PROTOCOL_FRAGMENT, 64)
        packet = head + b"".join(packed) + fragment + piece
    else:
        flags = start // 8 | more << 13
        # The kernel fills in the checksum.
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(piece), name, flags, 64, PROTOCOL_ICMP, 0)
        packet = head + b"".join(packed) + piece
    sender.sendto(packet, (peer, 0))


def receive():
    """Type, code, and what follows the checksum of the next answer; None when there is none."""
    while True:
        try:
            answer = receiver.recv(1 << 16)
        except TimeoutError:
            return None
        answer = answer if v6 else answer[(answer[0] & 15) * 4 :]
        kind = answer[0]
        # Other than what neighbours say to each other, and our own requests.
        if kind in (129, PARAMETER_PROBLEM) if v6 else kind in (0, 12):
            return kind, answer[1], answer[4:]


def answered(what, payload):
    answer = receive()
    assert answer and answer[0] == (129 if v6 else 0), f"{what}: {answer and answer[:2]}"
    wanted = struct.pack("!HH", identifier, sequence) + payload
    assert answer[2] == wanted, f"{what}: another payload"


def dropped(what):
    answer = receive()
    assert answer is None, f"{what}: {answer[:2]}"


def refused(what, code):
    """A parameter problem of IPv6 (RFC 4443 3.4)."""
    if v6:
        answer = receive()
        assert answer and answer[:2] == (PARAMETER_PROBLEM, code), f"{what}: {answer}"
    else:
        dropped(what)


def cut(length, step):
    message, payload = request(length)
    starts = range(0, len(message), step)
    return message, payload, [(at, min(at + step, len(message))) for at in starts]


for what, order in [("in order", 1), ("from the end", -1)]:
    message, payload, pieces = cut(5000, 1000)
    for start, end in pieces[::order]:
        send(message, start, end, end < len(message))
    answered(what, payload)

message, payload, pieces = cut(5000, 1000)
for start, end in pieces[:-1] + pieces[1:2] + pieces[-1:]:
    send(message, start, end, end < len(message))
answered("one of them twice", payload)

# As many as the header of ICMP needs, and none larger.
message, payload, pieces = cut(400, 8)
for start, end in pieces:
    send(message, start, end, end < len(message))
answered("of eight bytes each", payload)

# RFC 5722 3, RFC 8200 4.5, and RFC 1858 for IPv4: an overlap ends the datagram, the rest comes in vain.
message, payload, pieces = cut(3000, 1000)
send(message, 0, 1000, True)
send(message, 992, 2000, True)
send(message, 2000, len(message), False)
dropped("an overlap of eight bytes")
send(message, 1000, 2000, True)
dropped("what comes after an overlap")

message, payload, pieces = cut(3000, 1000)
send(message, 2000, len(message), False)
send(message, 1000, 2000, True)
send(message, 0, 1400, True)
dropped("an overlap from below")

# RFC 8200 4.5: only the last one may have another length than a multiple of eight.
message, payload, _ = cut(3000, 1000)
send(message, 0, 1001, True)
refused("an odd length before the end", 0)

# RFC 8200 4.5, RFC 791 3.2: nothing lies beyond the largest packet.
message, payload, _ = cut(3000, 1000)
send_bytes(bytes(100), 65528, False, sequence)
refused("beyond 65,535", 0)

if v6:
    # RFC 6946 4: alone, whatever else has its identification.
    message, payload, _ = cut(2000, 1000)
    send(message, 0, 1000, True)
    waiting = sequence
    atomic, its_payload = request(100)
    send(atomic, 0, len(atomic), False, name=waiting)
    answered("an atomic one", its_payload)
    sequence, last = waiting, sequence
    send(message, 1000, len(message), False)
    answered("what an atomic one came between", payload)
    sequence = last
    # RFC 8200 4.5 and RFC 7112 5: the first fragment holds all headers.
    sequence += 1
    send_bytes(bytes(8), 0, True, sequence, PROTOCOL_TCP)
    refused("a first one with a part of TCP's header", 3)

message, payload, pieces = cut(5000, 1000)
for start, end in pieces:
    send(message, start, end, end < len(message))
answered("in order, after all this", payload)
