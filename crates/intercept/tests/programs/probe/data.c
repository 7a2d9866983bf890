/* Bytes: peeked at, cut, gathered, copied from files, and counted. */
#include "probe.h"

#include <linux/sockios.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

static char buffer[1 << 20];

static const char *receives(int socket, size_t most, int flags) {
    memset(buffer, 0, sizeof buffer);
    return is(recv(socket, buffer, most, flags));
}

/* A file without a name that holds `length` letters. */
static int file_of(size_t length) {
    int file = must(memfd_create("letters", MFD_CLOEXEC));
    for (size_t done = 0; done < length; done++) {
        size_t place = done % sizeof buffer;
        buffer[place] = 'a' + done % 26;
        if (place + 1 == sizeof buffer || done + 1 == length) must(write(file, buffer, place + 1));
    }
    must(lseek(file, 0, SEEK_SET));
    return file;
}

/* Whether `length` letters arrive in order. */
static const char *letters_arrive(int socket, size_t length) {
    for (size_t done = 0; done < length;) {
        ssize_t count = recv(socket, buffer, sizeof buffer, 0);
        if (count <= 0) return is(count);
        for (ssize_t i = 0; i < count; i++, done++) {
            if (buffer[i] != (char)('a' + done % 26)) return "another byte";
        }
    }
    return "whole";
}

CHECK("data: MSG_PEEK") {
    struct ends ends = connected();
    must(send(ends.server, "abc", 3, 0));
    happens_within(ends.client, POLLIN);
    note("%s", receives(ends.client, 2, MSG_PEEK));
    note("%s", receives(ends.client, 9, MSG_PEEK));
    note("%s", receives(ends.client, 9, 0));
    note("%s", buffer);
}
CHECK("data: MSG_TRUNC throws away") {
    struct ends ends = connected();
    must(send(ends.server, "abcdef", 6, 0));
    happens_within(ends.client, POLLIN);
    note("%s", is(recv(ends.client, NULL, 4, MSG_TRUNC)));
    note("%s", receives(ends.client, 9, 0));
    note("%s", buffer);
}
CHECK("data: MSG_WAITALL") {
    struct ends ends = connected();
    void send_two(int socket) {
        must(send(socket, "ab", 2, 0));
        settle();
        must(send(socket, "cd", 2, 0));
    }
    child_after(20, send_two, ends.server);
    note("%s", receives(ends.client, 4, MSG_WAITALL));
    note("%s", buffer);
}
CHECK("data: MSG_WAITALL and the end") {
    struct ends ends = connected();
    must(send(ends.server, "ab", 2, 0));
    must(close(ends.server));
    note("%s", receives(ends.client, 4, MSG_WAITALL));
}
CHECK("data: MSG_DONTWAIT") {
    note("%s", receives(connected().client, 4, MSG_DONTWAIT));
}
CHECK("data: MSG_NOSIGNAL") {
    struct ends ends = connected();
    must(shutdown(ends.client, SHUT_WR));
    note("%s", is(send(ends.client, "x", 1, MSG_NOSIGNAL)));
}
CHECK("data: MSG_MORE") {
    struct ends ends = connected();
    note("%s", is(send(ends.server, "ab", 2, MSG_MORE)));
    note("%s", is(send(ends.server, "cd", 2, 0)));
    note("%s", receives(ends.client, 4, MSG_WAITALL));
    note("%s", buffer);
}
CHECK("data: MSG_MORE goes out by itself") {
    struct ends ends = connected();
    must(send(ends.server, "ab", 2, MSG_MORE));
    happens_within(ends.client, POLLIN);
    note("%s", receives(ends.client, 4, MSG_DONTWAIT));
}
CHECK("data: MSG_ERRQUEUE") { note("%s", receives(connected().client, 4, MSG_ERRQUEUE)); }
CHECK("data: MSG_ZEROCOPY without the option") {
    struct ends ends = connected();
    note("%s", is(send(ends.client, "x", 1, MSG_ZEROCOPY)));
    note("%s", receives(ends.server, 4, 0));
}
CHECK("data: urgent") {
    struct ends ends = connected();
    note("%s", is(send(ends.server, "ab", 2, MSG_OOB)));
    happens_within(ends.client, POLLPRI);
    note("mark %s", is(sockatmark(ends.client)));
    note("urgent %s", receives(ends.client, 1, MSG_OOB));
    note("%c", *buffer ? *buffer : '-');
    note("rest %s", receives(ends.client, 9, MSG_DONTWAIT));
}
CHECK("data: urgent, in line") {
    struct ends ends = connected();
    must(setsockopt(ends.client, SOL_SOCKET, SO_OOBINLINE, &(int){1}, sizeof(int)));
    note("%s", is(send(ends.server, "ab", 2, MSG_OOB)));
    happens_within(ends.client, POLLPRI);
    note("%s", receives(ends.client, 9, MSG_DONTWAIT));
    note("%s", receives(ends.client, 9, MSG_DONTWAIT));
}
CHECK("data: no urgent byte is there") { note("%s", receives(connected().client, 1, MSG_OOB)); }
CHECK("data: nothing is sent and received") {
    struct ends ends = connected();
    note("send %s", is(send(ends.client, "", 0, 0)));
    note("write %s", is(write(ends.client, "", 0)));
    note("recv %s", receives(ends.client, 0, MSG_DONTWAIT));
    note("read %s", is(read(ends.client, buffer, 0)));
    note("%s", happens(ends.server));
}
CHECK("data: several buffers") {
    struct ends ends = connected();
    struct iovec parts[3] = {{"ab", 2}, {"", 0}, {"cde", 3}};
    note("%s", is(writev(ends.server, parts, 3)));
    happens_within(ends.client, POLLIN);
    char one[2], two[9] = {0};
    struct iovec places[2] = {{one, 2}, {two, 8}};
    note("%s", is(readv(ends.client, places, 2)));
    note("%.2s %s", one, two);
    static struct iovec many[2000];
    note("too many %s", is(writev(ends.server, many, 2000)));
}
CHECK("data: sendmsg and recvmsg") {
    struct ends ends = connected();
    struct iovec parts[2] = {{"ab", 2}, {"cd", 2}};
    struct msghdr out = {.msg_iov = parts, .msg_iovlen = 2};
    note("%s", is(sendmsg(ends.server, &out, 0)));
    happens_within(ends.client, POLLIN);
    struct sockaddr_in name = {0};
    char control[64];
    struct iovec place = {buffer, sizeof buffer};
    struct msghdr in = {.msg_iov = &place, .msg_iovlen = 1, .msg_name = &name, .msg_flags = -1,
                        .msg_namelen = sizeof name, .msg_control = control, .msg_controllen = 64};
    note("%s", is(recvmsg(ends.client, &in, 0)));
    note("name %d, control %d, flags %x", (int)in.msg_namelen, (int)in.msg_controllen, in.msg_flags);
}
CHECK("data: sendmmsg and recvmmsg") {
    struct ends ends = connected();
    struct iovec parts[2] = {{"ab", 2}, {"cd", 2}};
    struct mmsghdr out[2] = {{.msg_hdr = {.msg_iov = &parts[0], .msg_iovlen = 1}},
                             {.msg_hdr = {.msg_iov = &parts[1], .msg_iovlen = 1}}};
    note("%s", is(sendmmsg(ends.server, out, 2, 0)));
    settle();
    struct iovec place = {buffer, sizeof buffer};
    struct mmsghdr in = {.msg_hdr = {.msg_iov = &place, .msg_iovlen = 1}};
    note("%s", is(recvmmsg(ends.client, &in, 1, MSG_DONTWAIT, NULL)));
    note("%d", in.msg_len);
}
CHECK("data: an address beside a connection") {
    struct ends ends = connected();
    struct sockaddr_in address = loopback(htons(9));
    note("send %s", is(sendto(ends.server, "ab", 2, 0, (struct sockaddr *)&address, sizeof address)));
    happens_within(ends.client, POLLIN);
    socklen_t length = sizeof address;
    note("recv %s", is(recvfrom(ends.client, buffer, 9, 0, (struct sockaddr *)&address, &length)));
    note("name of %d bytes", (int)length);
}
CHECK("data: sendfile") {
    struct ends ends = connected();
    int file = file_of(100000);
    off_t place = 26;
    note("%s", is(sendfile(ends.server, file, &place, 52)));
    note("%s", letters_arrive(ends.client, 52));
    note("place %ld", (long)place);
    note("all %s", is(sendfile(ends.server, file, NULL, 200000)));
    note("%s", letters_arrive(ends.client, 100000));
}
CHECK("data: splice both ways") {
    struct ends ends = connected();
    int way[2];
    must(pipe(way));
    must(write(way[1], "abcdef", 6));
    note("out %s", is(splice(way[0], NULL, ends.server, NULL, 6, 0)));
    happens_within(ends.client, POLLIN);
    note("in %s", is(splice(ends.client, NULL, way[1], NULL, 100, 0)));
    note("%s", is(read(way[0], buffer, 100)));
}
CHECK("data: copy_file_range is refused") {
    note("%s", is(copy_file_range(file_of(10), NULL, connected().client, NULL, 10, 0)));
}
CHECK("data: FIONREAD") {
    struct ends ends = connected();
    int count = -1;
    must(ioctl(ends.client, FIONREAD, &count));
    note("%d", count);
    must(send(ends.server, "abcde", 5, 0));
    settle();
    must(ioctl(ends.client, FIONREAD, &count));
    note("%d", count);
    must(shutdown(ends.server, SHUT_WR));
    settle();
    must(ioctl(ends.client, FIONREAD, &count));
    note("%d", count);
    note("listener %s", is(ioctl(listening(1), FIONREAD, &count)));
}
CHECK("data: SIOCOUTQ") {
    struct ends ends = connected();
    int count = -1;
    must(send(ends.client, "abcde", 5, 0));
    settle();
    note("%s", is(ioctl(ends.client, SIOCOUTQ, &count)));
    note("%d", count);
}
CHECK("data: megabytes both ways at once") {
    struct ends ends = connected();
    enum { TOTAL = 8 << 20 };
    pid_t writer = must(fork());
    if (writer == 0) {
        int file = file_of(TOTAL);
        for (off_t done = 0; done < TOTAL;) must(sendfile(ends.client, file, &done, TOTAL - done));
        _exit(0);
    }
    pid_t echo = must(fork());
    if (echo == 0) {
        close(ends.client);
        ssize_t count;
        while ((count = must(read(ends.server, buffer, sizeof buffer))) > 0) {
            for (ssize_t done = 0; done < count;) {
                done += must(write(ends.server, buffer + done, count - done));
            }
        }
        _exit(0);
    }
    note("%s", letters_arrive(ends.client, TOTAL));
}
CHECK("data: a megabyte over IPv6") {
    struct ends ends = connected6();
    pid_t writer = must(fork());
    if (writer == 0) {
        int file = file_of(1 << 20);
        for (off_t done = 0; done < 1 << 20;) must(sendfile(ends.client, file, &done, 1 << 20));
        _exit(0);
    }
    note("%s", letters_arrive(ends.server, 1 << 20));
}
CHECK("data: what does not fit is taken in part") {
    struct ends ends = connected();
    fill(ends.client);
    note("%s", is(send(ends.client, buffer, sizeof buffer, MSG_DONTWAIT)));
    char half[16384];
    recv(ends.server, buffer, sizeof buffer, 0);
    drain(ends.server);
    happens_within(ends.client, POLLOUT);
    non_blocking(ends.client);
    memset(half, 'x', sizeof half);
    note("%s", is(send(ends.client, half, sizeof half, 0)));
}
CHECK("data: much fits before anybody reads") {
    struct ends ends = connected();
    note("%s", fill(ends.client) >= 100000 ? "at least 100000 bytes" : "little");
}
CHECK("data: all that was taken arrives") {
    struct ends ends = connected();
    size_t filled = fill(ends.client);
    must(shutdown(ends.client, SHUT_WR));
    note("%s", drain(ends.server) == (ssize_t)filled ? "all" : "less");
}
CHECK("data: a blocked writer goes on") {
    struct ends ends = connected();
    size_t filled = fill(ends.client);
    void write_more(int socket) { must(write(socket, buffer, sizeof buffer)); }
    child_after(0, write_more, ends.client);
    close(ends.client);
    settle();
    size_t total = 0;
    for (ssize_t count; (count = must(read(ends.server, buffer, sizeof buffer))) > 0;) total += count;
    note("%s", total == filled + sizeof buffer ? "all" : "less");
}
