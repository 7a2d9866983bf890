# Sourced in a lab over Ethernet: a second router on the stack's link, behind which is the host $far. The
# kernel is the stack's gateway, knows that, and tells who sends by it.

within() { id=$1; shift; nsenter --target "$id" --user --net --preserve-credentials "$@"; }

unshare --user --map-root-user --net sleep 100 & better=$!
until [ "$(cat "/proc/$better/comm")" = sleep ]; do sleep 0.05; done
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
ip -batch - <<END
link add hub type bridge
link set hub addrgenmode none
addr flush dev estab0
link set estab0 master hub
addr add 10.77.0.1/24 dev hub
addr add fe80::1/64 dev hub nodad
addr add fd78::1/64 dev hub nodad
link add better0 type veth peer name better1
link set better0 master hub
link set better1 netns $better
link set better0 up
link set hub up
END
echo 1 > /proc/sys/net/ipv4/conf/hub/send_redirects
within $better ip -batch - <<END
addr add 10.77.0.9/24 dev better1
addr add fe80::9/64 dev better1 nodad
addr add fd78::9/64 dev better1 nodad
addr add 198.51.100.1/32 dev lo
addr add fd99::1/128 dev lo nodad
link set lo up
link set better1 up
END
ip route add 198.51.100.0/24 via 10.77.0.9
ip route add fd99::/64 via fe80::9 dev hub
# How many packets the kernel sent on, and how often it told of the better way.
case $v in
    4) far=198.51.100.1 forwarded=IpForwDatagrams told=IcmpOutRedirects ;;
    6) far=fd99::1 forwarded=Ip6OutForwDatagrams told=Icmp6OutRedirects ;;
esac
count() { nstat -asz "$1" | awk 'END { print $2 }'; }
