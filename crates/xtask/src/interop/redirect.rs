//! The kernel as a gateway that knows a better one, and tells.

use anyhow::Result;

use super::Case;
use super::bench::Bench;
use super::way::{V4_TAP, Way};

const SETUP: &str = include_str!("redirect.sh");
const ONLY: &[Way] = &[V4_TAP];

pub(super) fn cases() -> Vec<Case> {
    let case = Case::over_every("redirect", 20, redirect);
    // The lab's gateway has no link-local address, which redirects of IPv6 come from.
    vec![case.only_over(ONLY, "a router of IPv6 redirects for its link-local address")]
}

/// Both requests are answered. The first goes by way of the kernel, which says so once; the second does
/// not.
fn redirect(bench: &Bench) -> Result<()> {
    bench.write("redirect.sh", SETUP)?;
    let script = "
        . ./redirect.sh
        estab ping -c 2 198.51.100.1
        nstat -az IcmpOutRedirects | grep '^IcmpOutRedirects *1 '
        kill $better";
    bench.lab(&[], script)?.prints(&["2 requests, 2 answers"])
}
