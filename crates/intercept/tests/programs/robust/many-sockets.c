/*
 * Opens sockets until there are no more, says with which error, closes them, and sees that sockets work
 * again.
 */
#include <sys/resource.h>
#include <time.h>

#include "../sockets.h"

enum { MOST = 100000 };

int main(void) {
    struct rlimit limit;
    must(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max;
    must(setrlimit(RLIMIT_NOFILE, &limit));
    for (int round = 0; round < 3; round++) {
        static int sockets[MOST];
        int number = 0;
        while (number < MOST && (sockets[number] = socket(AF_INET, SOCK_STREAM, 0)) >= 0) number++;
        printf("%s: %s\n", number >= 50 ? "many sockets" : "few sockets",
               number == MOST ? "no limit" : strerrorname_np(errno));
        while (number > 0) close(sockets[--number]);
        /* Who else has descriptors for them hears of it a moment later. */
        nanosleep(&(struct timespec){.tv_nsec = 100 * 1000 * 1000}, NULL);
        struct ends ends = connected();
        char byte = 0;
        must(send(ends.client, "x", 1, 0));
        must(recv(ends.server, &byte, 1, 0));
        printf("after them: %c\n", byte);
        close(ends.client);
        close(ends.server);
    }
    return 0;
}
