//! Any text, judged as a packet script: a verdict or an error, never a panic and never no end.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run script -- -max_total_time=60 -only_ascii=1 -dict=script.dict`
#![no_main]

use libfuzzer_sys::fuzz_target;
use sim::script::{Options, check_text, judge_text};

fuzz_target!(|text: &str| {
    // What can be run can be read.
    let readable = check_text(text, &Options::default()).is_ok();
    for options in [Options::strict(), Options { log: true, ..Options::relaxed() }] {
        let run = judge_text(text, &options);
        assert!(readable || run.verdict.is_err());
        // Judged twice, it is the same.
        assert_eq!(judge_text(text, &options).verdict, run.verdict);
    }
});
