/* Runs the checks whose names contain the argument, all without one: a line `name: result` for each. */
#include <stdarg.h>

#include "probe.h"

enum { MOST = 500, SECONDS = 10, AT_A_TIME = 8 };

struct check {
    const char *name;
    void (*run)(void);
    int result;
    pid_t process;
};

static struct check checks[MOST];
static int known;

void add_check(const char *name, void (*run)(void)) {
    if (known == MOST) _exit(98);
    checks[known++] = (struct check){.name = name, .run = run};
}

static bool noted;

void note(const char *format, ...) {
    if (noted) printf(", ");
    noted = true;
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    fflush(stdout);
}

const char *names_of(short events) {
    static char texts[8][64];
    static int next;
    static const struct {
        short event;
        const char *name;
    } names[] = {{POLLIN, "IN"},   {POLLPRI, "PRI"}, {POLLOUT, "OUT"},     {POLLERR, "ERR"},
                 {POLLHUP, "HUP"}, {POLLNVAL, "NVAL"}, {POLLRDHUP, "RDHUP"}};
    char *text = texts[next++ % 8];
    *text = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (events & names[i].event) {
            if (*text) strcat(text, "|");
            strcat(text, names[i].name);
        }
    }
    return *text ? text : "nothing";
}

void settle(void) { nanosleep(&(struct timespec){.tv_nsec = 100 * 1000 * 1000}, NULL); }

const char *happens(int socket) {
    settle();
    struct pollfd wait = {.fd = socket, .events = POLLIN | POLLPRI | POLLOUT | POLLRDHUP};
    must(poll(&wait, 1, 0));
    return names_of(wait.revents);
}

void non_blocking(int socket) { must(fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK)); }

size_t fill(int socket) {
    static char bytes[65536];
    size_t total = 0;
    int flags = must(fcntl(socket, F_GETFL));
    non_blocking(socket);
    /* What has arrived at the other end makes room here. */
    for (int quiet = 0; quiet < 5;) {
        ssize_t count = write(socket, bytes, sizeof bytes);
        if (count > 0) {
            total += count;
            quiet = 0;
        } else {
            settle();
            quiet++;
        }
    }
    must(fcntl(socket, F_SETFL, flags));
    return total;
}

ssize_t drain(int socket) {
    static char bytes[65536];
    ssize_t total = 0;
    int quiet = 0;
    while (quiet < 5) {
        ssize_t count = recv(socket, bytes, sizeof bytes, MSG_DONTWAIT);
        if (count == 0) return total;
        if (count > 0) {
            total += count;
            quiet = 0;
        } else if (errno == EAGAIN) {
            settle();
            quiet++;
        } else {
            return -1;
        }
    }
    return total;
}

struct ends connected6(void) {
    int listener = must(socket(AF_INET6, SOCK_STREAM, 0));
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    must(bind(listener, (struct sockaddr *)&address, sizeof address));
    must(listen(listener, 1));
    address.sin6_port = port_of(listener);
    struct ends ends = {.client = must(socket(AF_INET6, SOCK_STREAM, 0))};
    must(connect(ends.client, (struct sockaddr *)&address, sizeof address));
    ends.server = must(accept(listener, NULL, NULL));
    close(listener);
    return ends;
}

void close_with_reset(int socket) {
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    must(setsockopt(socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once));
    must(close(socket));
}

volatile sig_atomic_t signals;

static void counted(int signal) {
    (void)signal;
    signals++;
}

void count_signal(int signal, int flags) {
    must(sigaction(signal, &(struct sigaction){.sa_handler = counted, .sa_flags = flags}, NULL));
}

void alarm_after(int milliseconds) {
    struct itimerval timer = {.it_value.tv_usec = milliseconds * 1000};
    must(setitimer(ITIMER_REAL, &timer, NULL));
}

pid_t child_after(int milliseconds, void (*work)(int), int argument) {
    pid_t child = must(fork());
    if (child == 0) {
        nanosleep(&(struct timespec){.tv_nsec = milliseconds * 1000000L}, NULL);
        work(argument);
        _exit(0);
    }
    return child;
}

static void start(struct check *check) {
    int ends[2];
    must(pipe2(ends, O_CLOEXEC));
    check->process = must(fork());
    if (check->process == 0) {
        setpgid(0, 0);
        must(dup2(ends[1], STDOUT_FILENO));
        close(ends[0]);
        close(ends[1]);
        check->run();
        /* Its children end with it. */
        signal(SIGTERM, SIG_IGN);
        kill(0, SIGTERM);
        _exit(0);
    }
    setpgid(check->process, check->process);
    close(ends[1]);
    check->result = ends[0];
}

static void finish(struct check *check) {
    char text[4096];
    size_t length = 0;
    ssize_t count = 1;
    const char *end = "";
    while (count > 0 && length < sizeof text) {
        struct pollfd wait = {.fd = check->result, .events = POLLIN};
        if (poll(&wait, 1, SECONDS * 1000) == 0) {
            end = " ... does not end";
            break;
        }
        count = read(check->result, text + length, sizeof text - length);
        if (count > 0) length += count;
    }
    kill(-check->process, SIGKILL);
    int status;
    must(waitpid(check->process, &status, 0));
    printf("%s: %.*s%s", check->name, (int)length, text, end);
    if (WIFSIGNALED(status) && !*end) printf(" ... killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
    printf("\n");
    fflush(stdout);
    close(check->result);
}

int main(int count, char **arguments) {
    const char *part = count > 1 ? arguments[1] : "";
    struct check *chosen[MOST];
    int number = 0;
    for (int i = 0; i < known; i++) {
        if (strstr(checks[i].name, part)) chosen[number++] = &checks[i];
    }
    /* Some run ahead; what they saw is printed in order. */
    for (int i = 0; i < number + AT_A_TIME; i++) {
        if (i < number) start(chosen[i]);
        if (i >= AT_A_TIME && i - AT_A_TIME < number) finish(chosen[i - AT_A_TIME]);
    }
    return 0;
}
