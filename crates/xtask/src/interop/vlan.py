"""Talks to the stack at 10.77.0.2, which is in VLAN 7 of estab0, as a station of that VLAN; the kernel need
not know VLANs for it."""

import socket
import struct
import time

OURS, THEIRS = bytes([10, 77, 0, 2]), bytes([10, 77, 0, 99])
STATION, EVERYBODY = bytes([2, 0, 0, 0, 0, 99]), b"\xff" * 6
SOL_PACKET, PACKET_AUXDATA, VLAN_VALID = 263, 8, 0x10

link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
link.bind(("estab0", 0))
link.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return 0xFFFF - (total + (total >> 16) & 0xFFFF)


def send(to, tag, ethertype, payload):
    head = to + STATION + (struct.pack("!HH", 0x8100, tag) if tag else b"")
    link.send(head + struct.pack("!H", ethertype) + payload)


def answer(is_it, patience=5):
    """The VLAN and the frame of the first answer to us that is it; the kernel takes the tag out."""
    end = time.monotonic() + patience
    while (left := end - time.monotonic()) > 0:
        link.settimeout(left)
        try:
            frame, control, _, _ = link.recvmsg(2000, 100)
        except TimeoutError:
            return None
        status, _, _, _, _, tag, _ = struct.unpack("=IIIHHHH", control[0][2])
        if frame[:6] == STATION and is_it(frame):
            return (tag & 0xFFF if status & VLAN_VALID else 0), frame
    return None


def who_has(tag):
    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + STATION + THEIRS + bytes(6) + OURS
    send(EVERYBODY, tag, 0x0806, arp)


def is_arp(frame):
    return frame[12:14] == b"\x08\x06"


for tag in (0, 8):
    who_has(tag)
    assert answer(is_arp, 0.5) is None, tag
who_has(7)
vlan, frame = answer(is_arp)
assert vlan == 7 and frame[28:32] == OURS, (vlan, frame)
stack = frame[22:28]
# An echo request, whose answer comes in the VLAN, too.
echo = struct.pack("!BBHHH", 8, 0, 0, 1, 1) + b"hello, VLAN!"
echo = echo[:2] + struct.pack("!H", checksum(echo)) + echo[4:]
ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(echo), 0, 0, 64, 1, 0, THEIRS, OURS)
ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
send(stack, 7, 0x0800, ip + echo)
vlan, frame = answer(lambda frame: frame[12:14] == b"\x08\x00")
assert vlan == 7 and frame[34] == 0 and frame[42:].startswith(b"hello, VLAN!"), (vlan, frame)
print("answered in its VLAN, and nowhere else")
