/* Sockets as descriptors: copied, inherited, handed over, and what the file calls say of them. */
#include "probe.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* What one end sends, the other gets. */
static const char *works(int from, int to) {
    char byte = 0;
    if (send(from, "x", 1, MSG_NOSIGNAL) != 1) return "cannot send";
    happens_within(to, POLLIN);
    return recv(to, &byte, 1, MSG_DONTWAIT) == 1 && byte == 'x' ? "works" : "does not work";
}

static void hand_over(int channel, int descriptor) {
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.header), &descriptor, sizeof descriptor);
    struct msghdr message = {.msg_iov = &(struct iovec){"x", 1}, .msg_iovlen = 1,
                             .msg_control = &control, .msg_controllen = sizeof control};
    must(sendmsg(channel, &message, 0));
}

static int take_over(int channel) {
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    char byte;
    struct msghdr message = {.msg_iov = &(struct iovec){&byte, 1}, .msg_iovlen = 1,
                             .msg_control = &control, .msg_controllen = sizeof control};
    must(recvmsg(channel, &message, 0));
    int descriptor;
    memcpy(&descriptor, CMSG_DATA(&control.header), sizeof descriptor);
    return descriptor;
}

CHECK("descriptor: dup, dup2, fcntl") {
    struct ends ends = connected();
    int copy = must(dup(ends.client));
    note("%s", works(copy, ends.server));
    must(dup2(ends.client, 100));
    note("%s", works(100, ends.server));
    note("%s", works(must(fcntl(ends.client, F_DUPFD_CLOEXEC, 200)), ends.server));
    note("%s", port_of(100) == port_of(ends.client) ? "same name" : "another name");
}
CHECK("descriptor: a socket under the number of another") {
    struct ends one = connected(), two = connected();
    must(dup2(one.client, two.client));
    note("%s", works(two.client, one.server));
    note("%s", happens(two.server));
    note("%s", port_of(two.client) == port_of(one.client) ? "same name" : "another name");
}
CHECK("descriptor: a number is used again") {
    int first = tcp();
    must(bind_to(first, 0));
    must(close(first));
    int second = tcp();
    note("%s", first == second ? "same number" : "another");
    note("port %s", port_of(second) ? "kept" : "0");
}
CHECK("descriptor: child connects for its parent") {
    int listener = listening(1), socket = tcp();
    if (must(fork()) == 0) _exit(connect_to(socket, port_of(listener)) != 0);
    int status;
    must(wait(&status));
    note("%d", WEXITSTATUS(status));
    note("%s", works(socket, must(accept(listener, NULL, NULL))));
}
CHECK("descriptor: SCM_RIGHTS of a connection") {
    struct ends ends = connected();
    int channel[2];
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, channel));
    if (must(fork()) == 0) {
        close(ends.client);
        int taken = take_over(channel[1]);
        must(send(taken, port_of(taken) ? "y" : "n", 1, 0));
        _exit(0);
    }
    hand_over(channel[0], ends.client);
    close(ends.client);
    char byte = 0;
    must(recv(ends.server, &byte, 1, 0));
    note("%c", byte);
    note("end %s", is(recv(ends.server, &byte, 1, 0)));
}
CHECK("descriptor: SCM_RIGHTS of a listener") {
    int listener = listening(1), channel[2];
    in_port_t port = port_of(listener);
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, channel));
    if (must(fork()) == 0) {
        close(listener);
        int taken = take_over(channel[1]);
        must(send(must(accept(taken, NULL, NULL)), "a", 1, 0));
        _exit(0);
    }
    hand_over(channel[0], listener);
    close(listener);
    int client = tcp();
    must(connect_to(client, port));
    char byte = 0;
    must(recv(client, &byte, 1, 0));
    note("%c", byte);
}
CHECK("descriptor: closed at exec or kept") {
    int kept = tcp(), closed = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    char script[128];
    const char *test = "[ -e /proc/self/fd/%d ] && printf kept; [ -e /proc/self/fd/%d ] || printf ', closed'";
    snprintf(script, sizeof script, test, kept, closed);
    must(execl("/bin/sh", "sh", "-c", script, NULL));
}
CHECK("descriptor: as standard input and output of a program") {
    struct ends ends = connected();
    if (must(fork()) == 0) {
        must(dup2(ends.server, 0));
        must(dup2(ends.server, 1));
        close(ends.client);
        close(ends.server);
        must(execlp("tr", "tr", "a-z", "A-Z", NULL));
    }
    close(ends.server);
    must(send(ends.client, "shout", 5, 0));
    must(shutdown(ends.client, SHUT_WR));
    char text[16] = {0};
    note("%s", is(recv(ends.client, text, 5, MSG_WAITALL)));
    note("%s", text);
    note("end %s", is(recv(ends.client, text, 5, 0)));
}
CHECK("descriptor: flags of socket") {
    int socket_ = must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    note("%s", fcntl(socket_, F_GETFL) & O_NONBLOCK ? "non-blocking" : "blocking");
    note("%s", fcntl(socket_, F_GETFD) & FD_CLOEXEC ? "closed at exec" : "kept");
    note("%s", (fcntl(socket_, F_GETFL) & O_ACCMODE) == O_RDWR ? "both ways" : "one way");
}
CHECK("descriptor: flags of accept are its own") {
    int listener = listening(2);
    non_blocking(listener);
    must(fcntl(listener, F_SETFD, FD_CLOEXEC));
    must(connect_to(tcp(), port_of(listener)));
    must(connect_to(tcp(), port_of(listener)));
    happens_within(listener, POLLIN);
    settle();
    int plain = must(accept(listener, NULL, NULL));
    int flagged = must(accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
    for (int i = 0, both[2] = {plain, flagged}; i < 2; i++) {
        note("%s", fcntl(both[i], F_GETFL) & O_NONBLOCK ? "non-blocking" : "blocking");
        note("%s", fcntl(both[i], F_GETFD) & FD_CLOEXEC ? "closed at exec" : "kept");
    }
    note("wrong flags %s", is(accept4(listener, NULL, NULL, 1)));
}
CHECK("descriptor: FIONBIO") {
    int listener = listening(1);
    note("%s", is(ioctl(listener, FIONBIO, &(int){1})));
    note("%s", is(accept(listener, NULL, NULL)));
}
CHECK("descriptor: fstat and seek") {
    int socket = tcp();
    struct stat status;
    note("%s", is(fstat(socket, &status)));
    note("%s", S_ISSOCK(status.st_mode) ? "a socket" : "no socket");
    note("size %ld", (long)status.st_size);
    note("lseek %s", is(lseek(socket, 0, SEEK_CUR)));
    note("ftruncate %s", is(ftruncate(socket, 0)));
    note("pread %s", is(pread(socket, &status, 1, 0)));
    note("isatty %s", is(isatty(socket)));
}
CHECK("descriptor: link in /proc") {
    char path[32], target[32] = {0};
    snprintf(path, sizeof path, "/proc/self/fd/%d", tcp());
    must(readlink(path, target, sizeof target - 1));
    note("%.8s", target);
    note("open %s", is(open(path, O_RDWR)));
}
CHECK("descriptor: no more are allowed") {
    int listener = listening(2);
    must(connect_to(tcp(), port_of(listener)));
    happens_within(listener, POLLIN);
    must(setrlimit(RLIMIT_NOFILE, &(struct rlimit){64, 64}));
    while (dup(listener) >= 0) continue;
    note("socket %s", is(socket(AF_INET, SOCK_STREAM, 0)));
    note("accept %s", is(accept(listener, NULL, NULL)));
    must(close(63));
    note("later %s", accept(listener, NULL, NULL) == 63 ? "accepted" : is(-1));
}
CHECK("descriptor: stdio on a connection") {
    struct ends ends = connected();
    FILE *there = fdopen(ends.server, "r+"), *here = fdopen(ends.client, "r+");
    fprintf(here, "a line\nand another\n");
    fflush(here);
    char line[32];
    note("%s", strtok(fgets(line, sizeof line, there), "\n"));
    note("%s", strtok(fgets(line, sizeof line, there), "\n"));
}
CHECK("descriptor: threads share them") {
    struct ends ends = connected();
    pid_t child = must(syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0));
    if (child == 0) {
        int fresh = socket(AF_INET, SOCK_STREAM, 0);
        close(ends.client);
        _exit(fresh);
    }
    int status;
    must(waitpid(child, &status, 0));
    note("%s", is(bind_to(WEXITSTATUS(status), 0)));
    note("%s", happens(ends.server));
}
CHECK("descriptor: of a process that nobody may look into") {
    must(prctl(PR_SET_DUMPABLE, 0));
    struct ends ends = connected();
    struct sockaddr_in from;
    note("%s", is(getpeername(ends.server, (struct sockaddr *)&from, &(socklen_t){sizeof from})));
    note("%s", inet_ntoa(from.sin_addr));
    note("%s", is(send(ends.client, "x", 1, 0)));
    char byte;
    note("%s", is(recv(ends.server, &byte, 1, 0)));
    close_with_reset(ends.client);
    settle();
    note("%s", is(recv(ends.server, &byte, 1, 0)));
}
