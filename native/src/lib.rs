//! The addon boundary: options in, results or coded errors out. Knows no ptrace and keeps no state.

mod doctor;
mod elf;
mod enforce;
mod files;
mod reader;
mod record;
mod replay;
mod stacks;
mod tables;
mod tally;
mod usage;

use napi_derive::napi;
use trace_engine::end;

/// Ends this process at once, without node's clean-up: it would reset the terminal, which the recorded program may have
/// changed on purpose.
#[napi]
pub fn exit_now(code: i32) {
    end::exit_now(code)
}

/// Ends this process by `signal`, as its default action would, but without a core file of node.
/// Returns only if the signal's default action is not to end a process.
#[napi]
pub fn die_by_signal(signal: i32) {
    end::die_by_signal(signal);
}
