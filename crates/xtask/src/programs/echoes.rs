//! Servers that send back what they get: of processes, of threads, of events, static and not.

use super::conversation::{BOTH, Conversation, EVERYWHERE, Part, V4};

pub(super) const CONVERSATIONS: &[Conversation] = &[
    Conversation {
        name: "crowd",
        server: Part {
            program: "asyncio of python3",
            uses: "epoll, 5,000 connections at once",
            script: "exec python3 $bin/crowd.py serve $at 7000",
        },
        client: Part {
            program: "asyncio of python3",
            uses: "5,000 non-blocking connects",
            script: "
                ready 7000
                [ \"$(python3 $bin/crowd.py meet $at 7000 5000)\" = '5000 answered' ]",
        },
        seconds: 60,
        arrangements: EVERYWHERE,
        ways: V4,
    },
    Conversation {
        name: "forking",
        server: Part {
            program: "a forking server in C",
            uses: "bind and listen in the parent, accept in children, a process for each connection",
            script: "exec $bin/forking-server $at 7000",
        },
        client: EIGHT_AT_ONCE,
        seconds: 30,
        arrangements: EVERYWHERE,
        ways: V4,
    },
    Conversation {
        name: "forking-static",
        server: Part {
            program: "the same, static",
            uses: "",
            script: "exec $bin/forking-server-static $at 7000",
        },
        client: EIGHT_AT_ONCE,
        seconds: 30,
        arrangements: EVERYWHERE,
        ways: V4,
    },
    Conversation {
        name: "threaded",
        server: Part {
            program: "a threaded server in C",
            uses: "eight threads that block in accept on one socket",
            script: "exec $bin/threaded-server $at 7000",
        },
        client: EIGHT_AT_ONCE,
        seconds: 30,
        arrangements: EVERYWHERE,
        ways: V4,
    },
    Conversation {
        name: "threaded-static",
        server: Part {
            program: "the same, static",
            uses: "",
            script: "exec $bin/threaded-server-static $at 7000",
        },
        client: EIGHT_AT_ONCE,
        seconds: 30,
        arrangements: EVERYWHERE,
        ways: V4,
    },
    Conversation {
        name: "socat",
        server: Part {
            program: "socat with a process for each connection",
            uses: "select, half-closed connections, a program started with pipes",
            script: "exec socat TCP$v-LISTEN:7000,bind=$at_url,fork,reuseaddr EXEC:cat",
        },
        client: Part {
            program: "socat, and /dev/tcp of bash",
            uses: "the connection as a descriptor of the shell, inherited by programs",
            script: "
                ready 7000
                socat -t 20 - TCP$v:$at_url:7000 < file | same file
                exec 3<>/dev/tcp/$at/7000
                cat file >&3 &
                head -c $(stat -c %s file) <&3 | same file",
        },
        seconds: 30,
        arrangements: EVERYWHERE,
        ways: BOTH,
    },
    Conversation {
        name: "udp",
        server: Part {
            program: "socat for datagrams",
            uses: "recvfrom with names, a process for each datagram",
            script: "
                socat UDP$v-RECVFROM:5300,bind=$at_url,fork PIPE &
                # The client waits for a listener.
                exec socat TCP$v-LISTEN:5301,bind=$at_url,fork,reuseaddr EXEC:cat",
        },
        client: Part {
            program: "python3 with datagrams",
            uses: "sendto and recvfrom, time limits",
            script: "
                ready 5301
                python3 $bin/ask.py $at 5300",
        },
        seconds: 30,
        arrangements: EVERYWHERE,
        ways: BOTH,
    },
];

/// A mebibyte there and back, eight times at once.
const EIGHT_AT_ONCE: Part = Part {
    program: "socat",
    uses: "select, half-closed connections",
    script: "
        ready 7000
        for n in 1 2 3 4 5 6 7 8; do
            socat -t 20 - TCP$v:$at_url:7000 < file > got$n & clients[n]=$!
        done
        for n in 1 2 3 4 5 6 7 8; do
            wait ${clients[n]}
            same file < got$n
        done",
};
