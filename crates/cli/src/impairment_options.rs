//! The options that make a link worse, for both directions and for each of them.

use std::time::Duration;

use clap::Args;

use crate::values::{BitRate, Probability, duration};

/// How a direction of the link is made worse, as far as it was asked for.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Worse {
    pub(crate) loss: Option<Probability>,
    pub(crate) delay: Option<Duration>,
    pub(crate) jitter: Option<Duration>,
    pub(crate) reorder: Option<Probability>,
    pub(crate) duplicate: Option<Probability>,
    pub(crate) corrupt: Option<Probability>,
    pub(crate) rate: Option<BitRate>,
    pub(crate) queue: Option<usize>,
}

impl Worse {
    /// What is asked for here, and where nothing is, what `other` asks for.
    pub(crate) fn or(self, other: Worse) -> Worse {
        Worse {
            loss: self.loss.or(other.loss),
            delay: self.delay.or(other.delay),
            jitter: self.jitter.or(other.jitter),
            reorder: self.reorder.or(other.reorder),
            duplicate: self.duplicate.or(other.duplicate),
            corrupt: self.corrupt.or(other.corrupt),
            rate: self.rate.or(other.rate),
            queue: self.queue.or(other.queue),
        }
    }
}

/// Defines the impairment options of one direction, their names behind a prefix.
macro_rules! impairment_options {
    ($name:ident, $prefix:literal, $heading:literal, $which:literal, $hide:literal) => {
        #[derive(Args, Clone, Debug)]
        #[command(next_help_heading = $heading)]
        pub(crate) struct $name {
            #[arg(id = concat!($prefix, "loss"), long = concat!($prefix, "loss"), value_name = "SHARE", hide_short_help = $hide, help = concat!("Lose this share of the packets ", $which, ": 2%"))]
            loss: Option<Probability>,
            #[arg(id = concat!($prefix, "delay"), long = concat!($prefix, "delay"), value_name = "TIME", value_parser = duration, hide_short_help = $hide, help = concat!("Delay the packets ", $which, ": 5ms"))]
            delay: Option<Duration>,
            #[arg(id = concat!($prefix, "jitter"), long = concat!($prefix, "jitter"), value_name = "TIME", value_parser = duration, hide_short_help = $hide, help = concat!("Vary the delay of the packets ", $which, " by up to this, to both sides"))]
            jitter: Option<Duration>,
            #[arg(id = concat!($prefix, "reorder"), long = concat!($prefix, "reorder"), value_name = "SHARE", hide_short_help = $hide, help = concat!("Let this share of the packets ", $which, " fall behind later ones"))]
            reorder: Option<Probability>,
            #[arg(id = concat!($prefix, "duplicate"), long = concat!($prefix, "duplicate"), value_name = "SHARE", hide_short_help = $hide, help = concat!("Deliver this share of the packets ", $which, " twice"))]
            duplicate: Option<Probability>,
            #[arg(id = concat!($prefix, "corrupt"), long = concat!($prefix, "corrupt"), value_name = "SHARE", hide_short_help = $hide, help = concat!("Flip a bit in this share of the packets ", $which))]
            corrupt: Option<Probability>,
            #[arg(id = concat!($prefix, "rate"), long = concat!($prefix, "rate"), value_name = "RATE", hide_short_help = $hide, help = concat!("Let the packets ", $which, " pass no faster than this: 10mbit"))]
            rate: Option<BitRate>,
            #[arg(id = concat!($prefix, "queue"), long = concat!($prefix, "queue"), value_name = "PACKETS", hide_short_help = $hide, help = concat!("Hold at most this many packets ", $which, " back; more are lost"))]
            queue: Option<usize>,
        }

        impl $name {
            /// What was asked for.
            pub(crate) fn worse(&self) -> Worse {
                let Self { loss, delay, jitter, reorder, duplicate, corrupt, rate, queue } = *self;
                Worse { loss, delay, jitter, reorder, duplicate, corrupt, rate, queue }
            }
        }
    };
}

impairment_options!(Both, "", "A worse link, in both directions", "of both directions", false);
impairment_options!(Inbound, "in-", "A worse link towards the stack", "to the stack", true);
impairment_options!(Outbound, "out-", "A worse link from the stack", "from the stack", true);
