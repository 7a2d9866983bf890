"""Claims the stack's address 10.77.0.2 on estab0 as another station, and hears that it is defended."""

import socket
import struct
import time

OURS, THEIRS = bytes([10, 77, 0, 2]), bytes([10, 77, 0, 1])
LIAR = bytes([2, 0, 0, 0, 0, 99])
EVERYBODY = b"\xff" * 6

link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
link.bind(("estab0", 0))


def claim():
    head = EVERYBODY + LIAR + struct.pack("!H", 0x0806)
    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + LIAR + OURS + bytes(6) + THEIRS
    link.send(head + arp)


def defended(patience):
    """Whether the stack says to everybody that the address is its own."""
    end = time.monotonic() + patience
    while (left := end - time.monotonic()) > 0:
        link.settimeout(left)
        try:
            frame = link.recv(100)
        except TimeoutError:
            return False
        sender, address, target = frame[22:28], frame[28:32], frame[38:42]
        if frame[:6] == EVERYBODY and sender != LIAR and address == target == OURS:
            return True
    return False


claim()
assert defended(5), "the first claim is answered"
claim()
assert not defended(1), "and no other for ten seconds"
print("defended once")
