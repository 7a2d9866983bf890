"""Asks ADDRESS PORT in datagrams and demands the same bytes back, from the same place."""

import socket
import sys

host, port = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
asking = socket.socket(family, socket.SOCK_DGRAM)
asking.settimeout(5)
for n in range(100):
    question = b"%d" % n * 100
    asking.sendto(question, (host, port))
    answer, source = asking.recvfrom(2000)
    assert answer == question and source[:2] == (host, port), (answer, source)
