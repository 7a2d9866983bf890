//! The ways from the kernel to the stack: a family of addresses over a kind of link.

/// One of them. A case's script finds what differs in variables ([`Way::variables`]).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    family: Family,
    link: &'static str,
    options: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    V4,
    V6,
}

/// Where nothing else is said.
pub(crate) const V4_TUN: Way = Way::new(Family::V4, "tun", &[]);
pub(crate) const V6_TUN: Way = Way::new(Family::V6, "tun", &[]);
pub(crate) const V4_TAP: Way = Way::new(Family::V4, "tap", &["--tap"]);
pub(crate) const V6_TAP: Way = Way::new(Family::V6, "tap", &["--tap"]);

/// What every case is tried over, unless it says why not.
pub(crate) const EVERY: &[Way] = &[V4_TUN, V6_TUN, V4_TAP, V6_TAP];

/// Each family once, and each kind of link once: for cases that take long.
pub(crate) const TWO: &[Way] = &[V4_TUN, V6_TAP];

/// Every kind of link, and the smallest packets that each family must be able to live with (RFC 1122
/// 3.3.3, RFC 8200 5).
pub(crate) const EVERY_LINK: &[Way] = &[
    V4_TUN,
    V6_TUN,
    V4_TAP,
    V6_TAP,
    V4_PACKET,
    V6_PACKET,
    Way::new(Family::V4, "no-offload", &["--no-offload"]),
    Way::new(Family::V6, "no-offload", &["--no-offload"]),
    Way::new(Family::V4, "mtu-576", &["--mtu", "576"]),
    Way::new(Family::V6, "mtu-1280", &["--mtu", "1280"]),
];

/// Where there can be neighbours besides the kernel.
pub(crate) const ETHERNET: &[Way] = &[V4_TAP, V6_TAP, V4_PACKET, V6_PACKET];

/// Where there can be routers.
pub(crate) const ETHERNET_V6: &[Way] = &[V6_TAP, V6_PACKET];

pub(crate) const V4_PACKET: Way = Way::new(Family::V4, "packet", &["--packet"]);
pub(crate) const V6_PACKET: Way = Way::new(Family::V6, "packet", &["--packet"]);

impl Way {
    const fn new(family: Family, link: &'static str, options: &'static [&'static str]) -> Self {
        Self { family, link, options }
    }

    /// What a case's name ends with.
    pub(crate) fn name(self) -> String {
        let family = if self.is_ipv6() { "v6" } else { "v4" };
        format!("{family}-{}", self.link)
    }

    /// The options of `estab lab`.
    pub(crate) fn options(self) -> &'static [&'static str] {
        self.options
    }

    pub(crate) fn is_ipv6(self) -> bool {
        self.family == Family::V6
    }

    pub(crate) fn is_tap(self) -> bool {
        self.options.contains(&"--tap")
    }

    /// The addresses of the kernel and of the stack.
    pub(crate) fn addresses(self) -> (&'static str, &'static str) {
        if self.is_ipv6() { ("fd77::1", "fd77::2") } else { ("10.77.0.1", "10.77.0.2") }
    }

    /// The address of the stack as a URL has it.
    pub(crate) fn stack_in_url(self) -> &'static str {
        if self.is_ipv6() { "[fd77::2]" } else { "10.77.0.2" }
    }

    /// The same of the kernel.
    pub(crate) fn kernel_in_url(self) -> &'static str {
        if self.is_ipv6() { "[fd77::1]" } else { "10.77.0.1" }
    }

    /// Shell variables: `$kernel` and `$stack` are addresses, `$kernel_url` and `$stack_url` are
    /// those as URLs have them, and `$v` is 4 or 6, as in `curl -$v` and socat's `TCP$v`.
    pub(crate) fn variables(self) -> String {
        let (kernel, stack) = self.addresses();
        let (kernel_url, stack_url) = (self.kernel_in_url(), self.stack_in_url());
        let v = if self.is_ipv6() { 6 } else { 4 };
        format!(
            "v={v} kernel={kernel} stack={stack} kernel_url={kernel_url} stack_url={stack_url}\n"
        )
    }
}
