//! The way to the kernel, told by `estab traceroute`.

use anyhow::Result;

use super::Case;
use super::bench::Bench;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("traceroute-kernel", 30, |bench| traceroute(bench, &[])),
        Case::new("traceroute-kernel-tap", 30, |bench| traceroute(bench, &["--tap"])),
    ]
}

/// The kernel answers both kinds of probes of both families.
fn traceroute(bench: &Bench, options: &[&str]) -> Result<()> {
    let script = "
        for address in 10.77.0.1 fd77::1; do
            estab traceroute $address | tee udp
            estab traceroute -I $address | tee echo
            for probes in udp echo; do
                test $(wc -l < $probes) = 2
                grep -q \"^ 1  $address  \" $probes
            done
        done";
    bench.lab(options, script)?;
    Ok(())
}
