/* Binds port 7000, and keeps it without listening while it has an argument. */
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int count, char **arguments) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(7000)};
    int here = socket(AF_INET, SOCK_STREAM, 0);

    (void)arguments;
    if (bind(here, (struct sockaddr *)&address, sizeof address)) {
        perror("bind");
        return 1;
    }
    puts("bound");
    fflush(stdout);
    if (count > 1)
        pause();
}
