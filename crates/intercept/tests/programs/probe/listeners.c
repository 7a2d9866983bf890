/* Listeners: queues, sharing, and accepting in several processes and threads. */
#include <pthread.h>

#include "probe.h"

static const char *receives(int socket) {
    static char text[64];
    happens_within(socket, POLLIN);
    ssize_t count = recv(socket, text, sizeof text - 1, MSG_DONTWAIT);
    if (count < 0) return is(-1);
    text[count] = 0;
    return text;
}

CHECK("listener: data before accept") {
    int listener = listening(1), client = tcp();
    must(connect_to(client, port_of(listener)));
    must(send(client, "early", 5, 0));
    must(close(client));
    settle();
    note("%s", receives(must(accept(listener, NULL, NULL))));
}
CHECK("listener: accept in the order of arrival") {
    int listener = listening(8);
    for (int i = 0; i < 4; i++) {
        int client = tcp();
        must(connect_to(client, port_of(listener)));
        must(send(client, &"0123"[i], 1, 0));
        settle();
    }
    for (int i = 0; i < 4; i++) note("%s", receives(must(accept(listener, NULL, NULL))));
}
CHECK("listener: names of an accepted connection") {
    int listener = listening(1), client = tcp();
    must(connect_to(client, port_of(listener)));
    struct sockaddr_in name, peer, local;
    socklen_t length = sizeof name;
    int server = must(accept(listener, (struct sockaddr *)&name, &length));
    note("length %d, family %d", (int)length, name.sin_family);
    note("%s", name.sin_port == port_of(client) ? "the client's" : "another");
    length = sizeof peer;
    must(getpeername(server, (struct sockaddr *)&peer, &length));
    note("%s", peer.sin_port == name.sin_port ? "same" : "another");
    length = sizeof local;
    must(getsockname(server, (struct sockaddr *)&local, &length));
    note("%s", local.sin_port == port_of(listener) ? "the listener's" : "another");
    note("%s", inet_ntoa(local.sin_addr));
}
CHECK("listener: a short place for the name") {
    int listener = listening(1);
    must(connect_to(tcp(), port_of(listener)));
    struct sockaddr_in name = {0};
    socklen_t length = 2;
    note("%s", accept(listener, (struct sockaddr *)&name, &length) < 0 ? is(-1) : "accepted");
    note("length %d, family %d, port %d", (int)length, name.sin_family, name.sin_port);
}
CHECK("listener: a bad place for the name") {
    int listener = listening(1);
    must(connect_to(tcp(), port_of(listener)));
    happens_within(listener, POLLIN);
    socklen_t length = 16;
    note("%s", is(accept(listener, (struct sockaddr *)8, &length)));
}
CHECK("listener: queue of a backlog") {
    int listener = listening(2), connected = 0;
    for (int i = 0; i < 6; i++) {
        int client = tcp();
        non_blocking(client);
        connect_to(client, port_of(listener));
        struct pollfd wait = {.fd = client, .events = POLLOUT};
        connected += poll(&wait, 1, 300) == 1 && !(wait.revents & POLLERR);
    }
    note("%d of 6", connected);
}
CHECK("listener: backlog of 0 and below") {
    for (int backlog = 0; backlog >= -1; backlog--) {
        int listener = listening(backlog);
        note("%s", is(connect_to(tcp(), port_of(listener))));
    }
}
CHECK("listener: the first of a full queue makes room") {
    struct silence silence = silent();
    int client = tcp();
    non_blocking(client);
    note("%s", is(connect_to(client, silence.port)));
    must(accept(silence.listener, NULL, NULL));
    struct pollfd wait = {.fd = client, .events = POLLOUT};
    must(poll(&wait, 1, 4000));
    note("%s", names_of(wait.revents));
}
CHECK("listener: in the child of who listens") {
    int listener = listening(1);
    if (must(fork()) == 0) {
        must(send(must(accept(listener, NULL, NULL)), "child", 5, 0));
        _exit(0);
    }
    in_port_t port = port_of(listener);
    close(listener);
    int client = tcp();
    must(connect_to(client, port));
    note("%s", receives(client));
}
CHECK("listener: listens as long as one process has it") {
    int listener = listening(1);
    in_port_t port = port_of(listener);
    void wait_for_death(int socket) { (void)socket; pause(); }
    pid_t child = child_after(0, wait_for_death, listener);
    close(listener);
    note("%s", is(connect_to(tcp(), port)));
    must(kill(child, SIGKILL));
    must(waitpid(child, NULL, 0));
    settle();
    note("%s", is(connect_to(tcp(), port)));
}
CHECK("listener: several processes accept") {
    int listener = listening(16);
    for (int i = 0; i < 4; i++) {
        if (must(fork()) == 0) {
            for (;;) {
                int connection = must(accept(listener, NULL, NULL));
                must(send(connection, "x", 1, 0));
                close(connection);
            }
        }
    }
    int served = 0;
    for (int i = 0; i < 40; i++) {
        int client = tcp();
        must(connect_to(client, port_of(listener)));
        served += *receives(client) == 'x';
        close(client);
    }
    note("%d", served);
}
static int shared;
static void *serve_one(void *nothing) {
    int connection = must(accept(shared, NULL, NULL));
    must(send(connection, "x", 1, 0));
    return nothing;
}
CHECK("listener: threads block in accept, each gets one") {
    shared = listening(16);
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) pthread_create(&threads[i], NULL, serve_one, NULL);
    settle();
    for (int i = 0; i < 8; i++) must(connect_to(tcp(), port_of(shared)));
    int ended = 0;
    for (int i = 0; i < 8; i++) ended += pthread_join(threads[i], NULL) == 0;
    note("%d", ended);
}
CHECK("listener: SO_REUSEPORT shares connections") {
    int first = tcp(), second = tcp();
    must(setsockopt(first, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int)));
    must(setsockopt(second, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int)));
    must(bind_to(first, 0));
    must(bind_to(second, port_of(first)));
    must(listen(first, 128));
    must(listen(second, 128));
    for (int i = 0; i < 64; i++) must(connect_to(tcp(), port_of(first)));
    settle();
    non_blocking(first), non_blocking(second);
    int by_first = 0, by_second = 0;
    while (accept(first, NULL, NULL) >= 0) by_first++;
    while (accept(second, NULL, NULL) >= 0) by_second++;
    note("%d in all, %s", by_first + by_second, by_first && by_second ? "both" : "one alone");
}
CHECK("listener: a blocked accept ends when another thread shuts it") {
    int listener = listening(1);
    void shut(int socket) { must(shutdown(socket, SHUT_RDWR)); }
    child_after(100, shut, listener);
    note("%s", is(accept(listener, NULL, NULL)));
}
CHECK("listener: the client is gone before accept") {
    int listener = listening(2), client = tcp();
    must(connect_to(client, port_of(listener)));
    settle();
    close_with_reset(client);
    settle();
    note("%s", names_of(happens_within(listener, POLLIN)));
    int server = accept(listener, NULL, NULL);
    note("%s", server < 0 ? is(-1) : "accepted");
    char byte;
    note("%s", is(recv(server, &byte, 1, 0)));
}
CHECK("listener: a port is free after it") {
    int listener = listening(1);
    in_port_t port = port_of(listener);
    must(close(listener));
    settle();
    note("%s", is(bind_to(tcp(), port)));
}
CHECK("dual: IPv6 hears IPv4") {
    int listener = must(socket(AF_INET6, SOCK_STREAM, 0));
    struct sockaddr_in6 name = {.sin6_family = AF_INET6};
    must(bind(listener, (struct sockaddr *)&name, sizeof name));
    must(listen(listener, 1));
    note("%s", is(connect_to(tcp(), port_of(listener))));
    socklen_t length = sizeof name;
    int server = must(accept(listener, (struct sockaddr *)&name, &length));
    char text[INET6_ADDRSTRLEN];
    note("%s", inet_ntop(AF_INET6, &name.sin6_addr, text, sizeof text));
    length = sizeof name;
    must(getsockname(server, (struct sockaddr *)&name, &length));
    note("%s", inet_ntop(AF_INET6, &name.sin6_addr, text, sizeof text));
}
CHECK("dual: IPV6_V6ONLY does not") {
    int listener = must(socket(AF_INET6, SOCK_STREAM, 0));
    must(setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, sizeof(int)));
    struct sockaddr_in6 name = {.sin6_family = AF_INET6};
    must(bind(listener, (struct sockaddr *)&name, sizeof name));
    must(listen(listener, 1));
    note("%s", is(connect_to(tcp(), port_of(listener))));
}
CHECK("dual: both families on one port") {
    int listener = must(socket(AF_INET6, SOCK_STREAM, 0)), other = tcp();
    struct sockaddr_in6 name = {.sin6_family = AF_INET6};
    must(bind(listener, (struct sockaddr *)&name, sizeof name));
    must(listen(listener, 1));
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = port_of(listener)};
    note("%s", is(bind(other, (struct sockaddr *)&any, sizeof any)));
    must(close(listener));
    listener = must(socket(AF_INET6, SOCK_STREAM, 0));
    must(setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, sizeof(int)));
    must(bind(listener, (struct sockaddr *)&name, sizeof name));
    must(listen(listener, 1));
    any.sin_port = port_of(listener);
    note("alone %s", is(bind(other, (struct sockaddr *)&any, sizeof any)));
    note("%s", is(listen(other, 1)));
}
CHECK("dual: connect to an IPv4 address") {
    int listener = listening(1), client = must(socket(AF_INET6, SOCK_STREAM, 0));
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = port_of(listener)};
    inet_pton(AF_INET6, "::ffff:127.0.0.1", &name.sin6_addr);
    note("%s", is(connect(client, (struct sockaddr *)&name, sizeof name)));
    char text[INET6_ADDRSTRLEN];
    socklen_t length = sizeof name;
    must(getsockname(client, (struct sockaddr *)&name, &length));
    note("%s", inet_ntop(AF_INET6, &name.sin6_addr, text, sizeof text));
    note("length %d", (int)length);
}
CHECK("dual: an IPv4 address for an IPv6 socket") {
    struct sockaddr_in address = loopback(port_of(listening(1)));
    int client = must(socket(AF_INET6, SOCK_STREAM, 0));
    note("%s", is(connect(client, (struct sockaddr *)&address, sizeof address)));
    note("bind %s", is(bind(client, (struct sockaddr *)&address, sizeof address)));
}
CHECK("IPv6: names") {
    struct ends ends = connected6();
    struct sockaddr_in6 name;
    socklen_t length = sizeof name;
    must(getpeername(ends.client, (struct sockaddr *)&name, &length));
    char text[INET6_ADDRSTRLEN];
    note("%s", inet_ntop(AF_INET6, &name.sin6_addr, text, sizeof text));
    note("length %d, scope %d", (int)length, (int)name.sin6_scope_id);
    note("%s", name.sin6_port == port_of(ends.server) ? "the server's" : "another");
}
CHECK("IPv6: refused") {
    int client = must(socket(AF_INET6, SOCK_STREAM, 0));
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT,
                                .sin6_port = nobodys_port()};
    note("%s", is(connect(client, (struct sockaddr *)&name, sizeof name)));
    note("short %s", is(connect(client, (struct sockaddr *)&name, 20)));
}
