/* What a program is told of its network's interfaces: by ioctl, and by netlink (getifaddrs). */
#include "probe.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>

static const struct {
    unsigned long request;
    const char *name;
} questions[] = {
    {SIOCGIFFLAGS, "flags"},     {SIOCGIFADDR, "address"},   {SIOCGIFDSTADDR, "destination"},
    {SIOCGIFBRDADDR, "broadcast"}, {SIOCGIFNETMASK, "netmask"}, {SIOCGIFMETRIC, "metric"},
    {SIOCGIFMTU, "MTU"},         {SIOCGIFHWADDR, "hardware"}, {SIOCGIFINDEX, "index"},
    {SIOCGIFTXQLEN, "queue"},    {SIOCGIFMAP, "map"},
};

/* The interface that has `address`, as SIOCGIFCONF lists it. */
static struct ifreq that_has(int socket, const char *address) {
    static struct ifreq all[64];
    struct ifconf list = {.ifc_len = sizeof all, .ifc_req = all};
    must(ioctl(socket, SIOCGIFCONF, &list));
    for (int i = 0; i < list.ifc_len / (int)sizeof *all; i++) {
        struct sockaddr_in *here = (struct sockaddr_in *)&all[i].ifr_addr;
        if (strcmp(inet_ntoa(here->sin_addr), address) == 0) return all[i];
    }
    return (struct ifreq){0};
}
static struct ifreq named(const char *name) {
    struct ifreq record = {0};
    strncpy(record.ifr_name, name, IFNAMSIZ - 1);
    return record;
}
static const char *address_in(const struct ifreq *record) {
    return inet_ntoa(((struct sockaddr_in *)&record->ifr_addr)->sin_addr);
}

CHECK("interfaces: SIOCGIFCONF lists the addresses") {
    int families[] = {AF_INET, AF_INET6}, kinds[] = {SOCK_STREAM, SOCK_DGRAM};
    for (int i = 0; i < 4; i++) {
        int socket_ = must(socket(families[i / 2], kinds[i % 2], 0));
        note("%s", that_has(socket_, "127.0.0.1").ifr_name);
        note("%s", *that_has(socket_, "10.77.0.2").ifr_name ? "ours" : "without ours");
        note("%s", *that_has(socket_, "10.77.0.1").ifr_name ? "the peer's" : "without the peer's");
    }
}
CHECK("interfaces: SIOCGIFCONF without a place, and with little") {
    int socket = udp();
    struct ifreq one;
    struct ifconf list = {.ifc_len = 0, .ifc_req = NULL};
    note("%s", is(ioctl(socket, SIOCGIFCONF, &list)));
    note("two %s", list.ifc_len == 2 * sizeof one ? "fit" : "do not");
    list = (struct ifconf){.ifc_len = sizeof one + 5, .ifc_req = &one};
    note("%s", is(ioctl(socket, SIOCGIFCONF, &list)));
    note("one %s", list.ifc_len == sizeof one ? "fits" : "does not");
    list = (struct ifconf){.ifc_len = sizeof one - 1, .ifc_req = &one};
    note("%s", is(ioctl(socket, SIOCGIFCONF, &list)));
    note("%d", list.ifc_len);
    list = (struct ifconf){.ifc_len = sizeof one, .ifc_req = (struct ifreq *)8};
    note("%s", is(ioctl(socket, SIOCGIFCONF, &list)));
    note("%s", is(ioctl(socket, SIOCGIFCONF, (void *)8)));
}
CHECK("interfaces: what the loopback is") {
    int socket = tcp();
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) {
        struct ifreq record = named("lo");
        note("%s %s", questions[i].name, is(ioctl(socket, questions[i].request, &record)));
        switch (questions[i].request) {
        case SIOCGIFADDR:
        case SIOCGIFNETMASK: note("%s", address_in(&record)); break;
        case SIOCGIFFLAGS: note("%#x", record.ifr_flags); break;
        case SIOCGIFINDEX:
        case SIOCGIFMTU: note("%d", record.ifr_ifindex); break;
        case SIOCGIFHWADDR: note("%d", record.ifr_hwaddr.sa_family); break;
        }
    }
}
CHECK("interfaces: what the link is") {
    int socket = udp();
    struct ifreq ours = that_has(socket, "10.77.0.2"), record = ours;
    note("flags %s", is(ioctl(socket, SIOCGIFFLAGS, &record)));
    note("%s", record.ifr_flags & IFF_UP && record.ifr_flags & IFF_RUNNING ? "up and running" : "not up");
    note("%s", record.ifr_flags & IFF_LOOPBACK ? "a loopback" : "no loopback");
    note("%s", record.ifr_flags & IFF_MULTICAST ? "groups" : "no groups");
    record = ours;
    note("netmask %s", is(ioctl(socket, SIOCGIFNETMASK, &record)));
    note("%s", address_in(&record));
    record = ours;
    note("MTU %s", is(ioctl(socket, SIOCGIFMTU, &record)));
    note("%d", record.ifr_mtu);
    record = ours;
    note("hardware %s", is(ioctl(socket, SIOCGIFHWADDR, &record)));
    note("%d", record.ifr_hwaddr.sa_family);
    record = ours;
    must(ioctl(socket, SIOCGIFINDEX, &record));
    note("its index %s", record.ifr_ifindex == (int)if_nametoindex(ours.ifr_name) ? "is netlink's" : "is another");
    record = (struct ifreq){.ifr_ifindex = record.ifr_ifindex};
    note("name %s", is(ioctl(socket, SIOCGIFNAME, &record)));
    note("%s", strcmp(record.ifr_name, ours.ifr_name) ? "another's" : "its own");
}
CHECK("interfaces: one that is not there") {
    int four = tcp(), six = must(socket(AF_INET6, SOCK_DGRAM, 0));
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) {
        struct ifreq record = named("none0");
        note("%s %s", questions[i].name, is(ioctl(four, questions[i].request, &record)));
        note("%s", is(ioctl(six, questions[i].request, &record)));
    }
    note("name %s", is(ioctl(four, SIOCGIFNAME, &(struct ifreq){.ifr_ifindex = 77})));
}
CHECK("interfaces: a socket of IPv6 asks") {
    int six = must(socket(AF_INET6, SOCK_STREAM, 0));
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) {
        struct ifreq record = named("lo");
        note("%s %s", questions[i].name, is(ioctl(six, questions[i].request, &record)));
    }
}
CHECK("interfaces: nothing can be changed") {
    int socket = udp();
    struct ifreq record = named("lo");
    note("flags %s", is(ioctl(socket, SIOCSIFFLAGS, &record)));
    note("MTU %s", is(ioctl(socket, SIOCSIFMTU, &record)));
    ((struct sockaddr_in *)&record.ifr_addr)->sin_family = AF_INET;
    note("address %s", is(ioctl(socket, SIOCSIFADDR, &record)));
    struct rtentry route = {.rt_dst.sa_family = AF_INET, .rt_flags = RTF_UP};
    note("route %s", is(ioctl(socket, SIOCADDRT, &route)));
    note("%s", is(ioctl(socket, SIOCDELRT, &route)));
}
CHECK("interfaces: getifaddrs says what SIOCGIFCONF says") {
    int socket = udp(), found = 0, unknown = 0, count;
    struct ifreq all[64];
    struct ifconf list = {.ifc_len = sizeof all, .ifc_req = all};
    must(ioctl(socket, SIOCGIFCONF, &list));
    count = list.ifc_len / sizeof *all;
    struct ifaddrs *first;
    must(getifaddrs(&first));
    for (struct ifaddrs *it = first; it; it = it->ifa_next) {
        if (!it->ifa_addr || it->ifa_addr->sa_family != AF_INET) continue;
        bool known = false;
        for (int i = 0; i < count; i++) {
            struct ifreq mask = all[i];
            must(ioctl(socket, SIOCGIFNETMASK, &mask));
            known |= strcmp(it->ifa_name, all[i].ifr_name) == 0 &&
                     memcmp(it->ifa_addr, &all[i].ifr_addr, sizeof all[i].ifr_addr) == 0 &&
                     memcmp(&((struct sockaddr_in *)it->ifa_netmask)->sin_addr,
                            &((struct sockaddr_in *)&mask.ifr_netmask)->sin_addr, 4) == 0;
        }
        known ? found++ : unknown++;
    }
    note("%s", found == count ? "all are there" : "some are missing");
    note("%d more", unknown);
}
CHECK("interfaces: every address that is told can be bound to") {
    struct ifaddrs *first;
    must(getifaddrs(&first));
    int bound = 0;
    for (struct ifaddrs *it = first; it; it = it->ifa_next) {
        if (!it->ifa_addr || it->ifa_addr->sa_family == AF_PACKET) continue;
        bool six = it->ifa_addr->sa_family == AF_INET6;
        /* That of a link may be a candidate yet. */
        if (six && IN6_IS_ADDR_LINKLOCAL(&((struct sockaddr_in6 *)it->ifa_addr)->sin6_addr)) continue;
        int socket_ = must(socket(it->ifa_addr->sa_family, SOCK_DGRAM, 0));
        int done = bind(socket_, it->ifa_addr, six ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
        if (done < 0) note("%s", is(done));
        bound += done == 0;
    }
    note("%s", bound >= 3 ? "all" : "few");
}
CHECK("interfaces: its index is good for groups") {
    int four = udp(), six = must(socket(AF_INET6, SOCK_DGRAM, 0));
    struct ifreq ours = that_has(four, "10.77.0.2");
    must(ioctl(four, SIOCGIFINDEX, &ours));
    struct ip_mreqn group = {.imr_ifindex = ours.ifr_ifindex};
    inet_pton(AF_INET, "239.1.2.3", &group.imr_multiaddr);
    note("%s", is(setsockopt(four, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group)));
    struct ipv6_mreq group6 = {.ipv6mr_interface = ours.ifr_ifindex};
    inet_pton(AF_INET6, "ff05::1:3", &group6.ipv6mr_multiaddr);
    note("%s", is(setsockopt(six, IPPROTO_IPV6, IPV6_JOIN_GROUP, &group6, sizeof group6)));
    note("%s", is(setsockopt(six, IPPROTO_IPV6, IPV6_MULTICAST_IF, &ours.ifr_ifindex, sizeof(int))));
}
CHECK("interfaces: the kernel's own sockets are asked themselves") {
    int unix_ = must(socket(AF_UNIX, SOCK_DGRAM, 0));
    struct ifreq record = named("lo");
    note("index %s", is(ioctl(unix_, SIOCGIFINDEX, &record)));
    note("address %s", is(ioctl(unix_, SIOCGIFADDR, &record)));
    note("%s", is(ioctl(STDIN_FILENO, SIOCGIFINDEX, &record)));
}
