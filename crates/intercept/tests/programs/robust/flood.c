/*
 * Sends for two seconds to who never reads, over several connections, and says whether each was held
 * back. Nothing on the way may keep more than buffers hold.
 */
#include <time.h>

#include "../sockets.h"

enum { CONNECTIONS = 8, MOST = 64 << 20 };

int main(void) {
    static char bytes[65536];
    struct ends ends[CONNECTIONS];
    size_t sent[CONNECTIONS] = {0};
    for (int i = 0; i < CONNECTIONS; i++) {
        ends[i] = connected();
        must(fcntl(ends[i].client, F_SETFL, O_NONBLOCK));
    }
    for (time_t end = time(NULL) + 2; time(NULL) <= end;) {
        bool some = false;
        for (int i = 0; i < CONNECTIONS; i++) {
            ssize_t count = send(ends[i].client, bytes, sizeof bytes, 0);
            if (count > 0) sent[i] += count;
            some |= count > 0;
        }
        if (!some) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    for (int i = 0; i < CONNECTIONS; i++) {
        if (sent[i] > MOST) printf("connection %d took %zu bytes\n", i, sent[i]);
    }
    printf("held back\n");
    return 0;
}
