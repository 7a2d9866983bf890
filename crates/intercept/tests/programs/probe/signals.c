/* Signals and time limits: what ends a call that waits, and with which word. */
#include "probe.h"

#include <sys/select.h>

static char byte;

static const char *accepts(int socket) { return is(accept(socket, NULL, NULL)); }

static void limit(int socket, int option, int milliseconds) {
    struct timeval time = {milliseconds / 1000, milliseconds % 1000 * 1000};
    must(setsockopt(socket, SOL_SOCKET, option, &time, sizeof time));
}

static long now(void) {
    struct timespec time;
    must(clock_gettime(CLOCK_MONOTONIC, &time));
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Whether `since` is as long ago as it should be, and not much longer. */
static const char *after(long since, long milliseconds) {
    long passed = now() - since;
    return passed < milliseconds - 20 ? "too early" : passed > milliseconds + 500 ? "too late" : "in time";
}

static void send_one(int socket) { must(send(socket, "x", 1, 0)); }

static void connect_here(int port) { must(connect_to(tcp(), port)); }

CHECK("signal: interrupts accept") {
    count_signal(SIGALRM, 0);
    int listener = listening(1);
    alarm_after(200);
    note("%s", accepts(listener));
    note("signals %d", (int)signals);
}
CHECK("signal: accept goes on") {
    count_signal(SIGALRM, SA_RESTART);
    int listener = listening(1);
    alarm_after(50);
    child_after(200, connect_here, port_of(listener));
    note("%s", accept(listener, NULL, NULL) >= 0 ? "accepted" : is(-1));
    note("signals %d", (int)signals);
}
CHECK("signal: interrupts connect") {
    count_signal(SIGALRM, 0);
    struct silence silence = silent();
    int socket = tcp();
    alarm_after(100);
    note("%s", is(connect_to(socket, silence.port)));
    alarm_after(100);
    note("again %s", is(connect_to(socket, silence.port)));
    must(accept(silence.listener, NULL, NULL));
    note("%s", names_of(happens_within(socket, POLLOUT)));
}
CHECK("signal: connect goes on") {
    count_signal(SIGALRM, SA_RESTART);
    struct silence silence = silent();
    int socket = tcp();
    void take_first(int listener) { must(accept(listener, NULL, NULL)); }
    alarm_after(100);
    child_after(300, take_first, silence.listener);
    note("%s", is(connect_to(socket, silence.port)));
    note("signals %d", (int)signals);
}
static int to_take_from;

static void take_and_wait(int number) {
    (void)number;
    signals++;
    accept(to_take_from, NULL, NULL);
    nanosleep(&(struct timespec){.tv_sec = 2}, NULL); /* The SYN has come again by then. */
}

CHECK("signal: connect is over when its handler is") {
    struct sigaction action = {.sa_handler = take_and_wait, .sa_flags = SA_RESTART};
    must(sigaction(SIGALRM, &action, NULL));
    struct silence silence = silent();
    to_take_from = silence.listener;
    int socket = tcp();
    alarm_after(100);
    note("%s", is(connect_to(socket, silence.port)));
    note("signals %d", (int)signals);
    note("again %s", is(connect_to(socket, silence.port)));
}
CHECK("signal: connect once more, and no signal came") {
    count_signal(SIGALRM, SA_RESTART);
    int listener = listening(1), socket = tcp();
    struct sockaddr_in address = loopback(port_of(listener));
    for (int i = 0; i < 2; i++) {
        note("%s", is(connect(socket, (struct sockaddr *)&address, sizeof address)));
        nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 200000000}, NULL);
    }
}
CHECK("signal: interrupts read") {
    count_signal(SIGALRM, 0);
    int client = connected().client;
    alarm_after(200);
    note("%s", is(read(client, &byte, 1)));
}
CHECK("signal: read goes on") {
    count_signal(SIGALRM, SA_RESTART);
    struct ends ends = connected();
    alarm_after(50);
    child_after(200, send_one, ends.server);
    note("%s", is(read(ends.client, &byte, 1)));
    note("signals %d", (int)signals);
}
CHECK("signal: interrupts a full write") {
    count_signal(SIGALRM, 0);
    struct ends ends = connected();
    fill(ends.client);
    alarm_after(100);
    note("%s", is(write(ends.client, &byte, 1)));
}
CHECK("signal: interrupts poll in spite of SA_RESTART") {
    count_signal(SIGALRM, SA_RESTART);
    struct pollfd wait = {.fd = listening(1), .events = POLLIN};
    alarm_after(100);
    note("%s", is(poll(&wait, 1, 2000)));
}
CHECK("signal: interrupts epoll") {
    count_signal(SIGALRM, SA_RESTART);
    int watcher = must(epoll_create1(0));
    must(epoll_ctl(watcher, EPOLL_CTL_ADD, listening(1), &(struct epoll_event){.events = EPOLLIN}));
    struct epoll_event event;
    alarm_after(100);
    note("%s", is(epoll_wait(watcher, &event, 1, 2000)));
}
CHECK("signal: let in by ppoll alone") {
    count_signal(SIGALRM, 0);
    sigset_t blocked, none;
    sigemptyset(&none);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGALRM);
    must(sigprocmask(SIG_BLOCK, &blocked, NULL));
    alarm_after(50);
    settle();
    struct pollfd wait = {.fd = connected().client, .events = POLLIN};
    note("before %d", (int)signals);
    note("%s", is(ppoll(&wait, 1, &(struct timespec){.tv_sec = 2}, &none)));
    note("after %d", (int)signals);
}
CHECK("signal: kills who blocks in accept") {
    int listener = listening(1);
    pid_t child = must(fork());
    if (child == 0) _exit(accept(listener, NULL, NULL) >= 0);
    settle();
    must(kill(child, SIGTERM));
    int status;
    must(waitpid(child, &status, 0));
    note("%s", WIFSIGNALED(status) ? sigabbrev_np(WTERMSIG(status)) : "an exit");
}
CHECK("signal: a socket's owner is told") {
    struct ends ends = connected();
    count_signal(SIGIO, SA_RESTART);
    must(fcntl(ends.client, F_SETOWN, getpid()));
    must(fcntl(ends.client, F_SETFL, fcntl(ends.client, F_GETFL) | O_ASYNC));
    signals = 0;
    must(send(ends.server, "x", 1, 0));
    settle();
    note("%s", signals ? "told" : "not told");
}
CHECK("signal: SIGURG tells of urgent data") {
    struct ends ends = connected();
    count_signal(SIGURG, SA_RESTART);
    must(fcntl(ends.client, F_SETOWN, getpid()));
    note("%s", is(send(ends.server, "x", 1, MSG_OOB)));
    settle();
    note("signals %d", (int)signals);
}
CHECK("signal: thousands in accept and connect lose nothing") {
    count_signal(SIGALRM, SA_RESTART);
    int listener = listening(64);
    in_port_t port = port_of(listener);
    pid_t server = must(fork());
    if (server == 0) {
        for (;;) close(must(accept(listener, NULL, NULL)));
    }
    struct itimerval often = {.it_interval.tv_usec = 500, .it_value.tv_usec = 500};
    must(setitimer(ITIMER_REAL, &often, NULL));
    int ended = 0;
    for (int i = 0; i < 200; i++) {
        int client = tcp();
        if (connect_to(client, port) == 0 && read(client, &byte, 1) == 0) ended++;
        close(client);
    }
    must(setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL));
    note("%d", ended);
}

CHECK("limit: read") {
    struct ends ends = connected();
    limit(ends.client, SO_RCVTIMEO, 150);
    long since = now();
    note("%s", is(read(ends.client, &byte, 1)));
    note("%s", after(since, 150));
}
CHECK("limit: recv of what comes in time") {
    struct ends ends = connected();
    limit(ends.client, SO_RCVTIMEO, 1500);
    child_after(50, send_one, ends.server);
    note("%s", is(recv(ends.client, &byte, 1, 0)));
}
CHECK("limit: part of MSG_WAITALL") {
    struct ends ends = connected();
    limit(ends.client, SO_RCVTIMEO, 150);
    must(send(ends.server, "abc", 3, 0));
    char text[8];
    note("%s", is(recv(ends.client, text, 8, MSG_WAITALL)));
}
CHECK("limit: accept") {
    int listener = listening(1);
    limit(listener, SO_RCVTIMEO, 150);
    long since = now();
    note("%s", accepts(listener));
    note("%s", after(since, 150));
}
CHECK("limit: connect") {
    struct silence silence = silent();
    int socket = tcp();
    limit(socket, SO_SNDTIMEO, 150);
    long since = now();
    note("%s", is(connect_to(socket, silence.port)));
    note("%s", after(since, 150));
    note("again %s", is(connect_to(socket, silence.port)));
}
CHECK("limit: full write") {
    struct ends ends = connected();
    fill(ends.client);
    limit(ends.client, SO_SNDTIMEO, 150);
    long since = now();
    note("%s", is(write(ends.client, &byte, 1)));
    note("%s", after(since, 150));
}
CHECK("limit: taken away again") {
    struct ends ends = connected();
    limit(ends.client, SO_RCVTIMEO, 50);
    limit(ends.client, SO_RCVTIMEO, 0);
    child_after(150, send_one, ends.server);
    note("%s", is(read(ends.client, &byte, 1)));
}
CHECK("limit: an accepted connection has its listener's") {
    int listener = listening(1);
    limit(listener, SO_RCVTIMEO, 150);
    must(connect_to(tcp(), port_of(listener)));
    int server = must(accept(listener, NULL, NULL));
    long since = now();
    note("%s", is(read(server, &byte, 1)));
    note("%s", after(since, 150));
}
CHECK("limit: poll") {
    struct pollfd wait = {.fd = connected().client, .events = POLLIN};
    long since = now();
    note("%s", is(poll(&wait, 1, 150)));
    note("%s", after(since, 150));
}
CHECK("limit: a datagram") {
    int socket = udp();
    must(bind_to(socket, 0));
    limit(socket, SO_RCVTIMEO, 150);
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    long since = now();
    note("%s", is(recvfrom(socket, &byte, 1, 0, (struct sockaddr *)&from, &length)));
    note("%s", after(since, 150));
    note("%s", is(read(socket, &byte, 1)));
}
