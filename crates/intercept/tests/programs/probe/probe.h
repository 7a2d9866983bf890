/*
 * The frame of the probe. A check looks at one thing and notes what it sees; it runs in a process of
 * its own, so that it cannot disturb another and may hang. What is noted must not vary: no addresses,
 * ports, times or counts that the network decides.
 */
#ifndef PROBE_H
#define PROBE_H
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "../sockets.h"

/* CHECK(name) { ... } defines a check; files run in the order of their linking. */
#define CHECK(name) CHECK_IN(name, __LINE__)
#define CHECK_IN(name, line) CHECK_AT(name, line)
#define CHECK_AT(name, line)                                                     \
    static void check_##line(void);                                              \
    __attribute__((constructor)) static void add_##line(void) {                  \
        add_check(name, check_##line);                                           \
    }                                                                            \
    static void check_##line(void)

void add_check(const char *name, void (*run)(void));

/* Adds to what the check saw. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The names of poll's events. */
const char *names_of(short events);

/* Everything that poll says of `socket` once the network has come to rest. */
const char *happens(int socket);

/* Lets the network come to rest. */
void settle(void);

void non_blocking(int socket);

/* Fills the way to the other end until nothing more is taken; how many bytes were. */
size_t fill(int socket);

/* Reads until there is nothing; how many bytes came, or -1 with the error if that is not EAGAIN. */
ssize_t drain(int socket);

/* Both ends of a connection over IPv6. */
struct ends connected6(void);

/* Makes the other end of `socket` see a reset when `socket` is closed. */
void close_with_reset(int socket);

/* Counts SIGNAL and goes on; with `flags` of sigaction. */
void count_signal(int signal, int flags);
extern volatile sig_atomic_t signals;

/* Sends SIGALRM to the process after so many milliseconds, once. */
void alarm_after(int milliseconds);

/* Runs `work` in a child with the argument after so many milliseconds. */
pid_t child_after(int milliseconds, void (*work)(int), int argument);

#endif
