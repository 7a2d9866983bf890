# Sourced in a lab over Ethernet: a second router on the stack's link, 10.77.0.9, behind which is the host
# 198.51.100.1. The kernel is the stack's gateway, knows that, and tells who sends by it.

within() { id=$1; shift; nsenter --target "$id" --user --net --preserve-credentials "$@"; }

unshare --user --map-root-user --net sleep 100 & better=$!
until [ "$(cat "/proc/$better/comm")" = sleep ]; do sleep 0.05; done
echo 1 > /proc/sys/net/ipv4/ip_forward
ip -batch - <<END
link add hub type bridge
addr flush dev estab0
link set estab0 master hub
addr add 10.77.0.1/24 dev hub
link add better0 type veth peer name better1
link set better0 master hub
link set better1 netns $better
link set better0 up
link set hub up
END
echo 1 > /proc/sys/net/ipv4/conf/hub/send_redirects
within $better ip -batch - <<END
addr add 10.77.0.9/24 dev better1
addr add 198.51.100.1/32 dev lo
link set lo up
link set better1 up
END
ip route add 198.51.100.0/24 via 10.77.0.9
