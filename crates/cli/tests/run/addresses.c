/* Says which addresses of IPv4 a socket knows (SIOCGIFCONF), and their networks' masks. */
#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static const char *in(const struct sockaddr *address) {
    return inet_ntoa(((const struct sockaddr_in *)address)->sin_addr);
}

int main(void) {
    int socket_ = socket(AF_INET, SOCK_STREAM, 0);
    struct ifreq all[16];
    struct ifconf list = {.ifc_len = sizeof all, .ifc_req = all};
    if (ioctl(socket_, SIOCGIFCONF, &list) < 0) return perror("SIOCGIFCONF"), 1;
    for (struct ifreq *it = all; (char *)it < (char *)all + list.ifc_len; it++) {
        printf("%s", in(&it->ifr_addr));
        if (ioctl(socket_, SIOCGIFNETMASK, it) < 0) return perror("SIOCGIFNETMASK"), 1;
        printf(" of %s\n", in(&it->ifr_netmask));
    }
    return 0;
}
