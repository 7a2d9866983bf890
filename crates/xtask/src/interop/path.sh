# Sourced in a lab: a path whose narrowest part is in the middle.
#
#   stack --1500-- kernel --1300-- middle --1500-- far
#
# The kernel and `middle` route, and tell who sends more than 1300 bytes. `far` has the address $host,
# which is $host_url in URLs. Nobody else has any of the addresses: they are of use at once.

within() { id=$1; shift; nsenter --target "$id" --user --net --preserve-credentials "$@"; }
ready() { until [ "$(cat "/proc/$1/comm")" = sleep ]; do sleep 0.05; done; }
route() {
    within "$1" sh -c '
        echo 1 > /proc/sys/net/ipv4/ip_forward
        echo 1 > /proc/sys/net/ipv6/conf/all/forwarding'
}

case $v in
    4) host=10.79.0.2 host_url=10.79.0.2 ;;
    6) host=fd79::2 host_url=[fd79::2] ;;
esac
unshare --user --map-root-user --net sleep 100 & middle=$!
ready $middle
# Root of `middle` is root of `far` too, and may give it an interface.
nsenter --target $middle --user --net --preserve-credentials unshare --net sleep 100 & far=$!
ready $far

echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
route $middle
ip -batch - <<END
link add narrow0 mtu 1300 type veth peer name narrow1 mtu 1300
link set narrow1 netns $middle
addr add 10.78.0.1/24 dev narrow0
addr add fd78::1/64 dev narrow0 nodad
addr add fe80::1/64 dev estab0 nodad
link set narrow0 up
END
within $middle ip -batch - <<END
link add wide0 type veth peer name wide1
link set wide1 netns $far
addr add 10.78.0.2/24 dev narrow1
addr add fd78::2/64 dev narrow1 nodad
addr add 10.79.0.1/24 dev wide0
addr add fd79::1/64 dev wide0 nodad
link set narrow1 up
link set wide0 up
route add default via 10.78.0.1
route add default via fd78::1
END
within $far ip -batch - <<END
addr add 10.79.0.2/24 dev wide1
addr add fd79::2/64 dev wide1 nodad
link set lo up
link set wide1 up
route add default via 10.79.0.1
route add default via fd79::1
END
ip route add 10.79.0.0/24 via 10.78.0.2
ip route add fd79::/64 via fd78::2
# The link-local addresses, from which they ask for each other, are nobody else's either.
sleep 2
