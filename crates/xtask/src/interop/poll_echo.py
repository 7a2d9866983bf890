"""Talks to an echo server over many connections at once, and says how many answers were right."""

import selectors
import socket
import sys

SERVER = ("10.77.0.2", 7)
COUNT, LENGTH, DATAGRAMS = int(sys.argv[1]), 300_000, 100


def question(number):
    return (b"%06d" % number) * (LENGTH // 6)


class Talk:
    def __init__(self, number):
        self.question, self.sent, self.answer = question(number), 0, bytearray()
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex(SERVER)

    def write(self):
        self.sent += self.socket.send(self.question[self.sent : self.sent + 65536])
        if self.sent == len(self.question):
            self.socket.shutdown(socket.SHUT_WR)

    def read(self):
        part = self.socket.recv(65536)
        self.answer += part
        return len(part)


def main():
    right, waits = 0, selectors.DefaultSelector()
    for number in range(COUNT):
        talk = Talk(number)
        waits.register(talk.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, talk)
    while waits.get_map():
        ready = waits.select(10)
        if not ready:
            sys.exit("nothing for ten seconds")
        for key, events in ready:
            talk = key.data
            if events & selectors.EVENT_WRITE:
                talk.write()
                if talk.sent == len(talk.question):
                    waits.modify(talk.socket, selectors.EVENT_READ, talk)
            if events & selectors.EVENT_READ and talk.read() == 0:
                right += talk.answer == talk.question
                waits.unregister(talk.socket)
                talk.socket.close()
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.connect(SERVER)
    datagrams.settimeout(10)
    for number in range(DATAGRAMS):
        datagrams.send(b"%d" % number)
        right += datagrams.recv(100) == b"%d" % number
    print(f"{right} right")


main()
