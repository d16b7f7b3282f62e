//! Whether a thread makes the recorded call: number, arguments, place, and the bytes that it hands out.

use trace_format::event::{Side, flag};
use trace_format::numbers::nr;

use super::desync::{DesyncReason, window};
use super::event::{Captured, Event};
use super::kernel::{MOST_PIECES, Pieces};
use super::tracee::Thread;
use crate::memory::Memory;
use crate::sys::SyscallInfo;

/// A difference, with pieces of memory around it where it is one of memory.
#[derive(Debug)]
pub struct Difference {
    pub reason: DesyncReason,
    pub expected: Vec<u8>,
    pub actual: Vec<u8>,
    pub window: u64,
}

impl From<DesyncReason> for Difference {
    fn from(reason: DesyncReason) -> Difference {
        Difference { reason, expected: Vec::new(), actual: Vec::new(), window: 0 }
    }
}

/// Compares all but memory.
pub fn call(event: &Event<'_>, info: &SyscallInfo) -> Result<(), Difference> {
    if info.machine() as u8 != event.arch() || !is_number(event, info) {
        return Err(DesyncReason::Number.into());
    }
    for index in 0..event.nargs() {
        if event.arg(index) != info.args[index] {
            return Err(DesyncReason::Argument(index as u8).into());
        }
    }
    if event.ip() != info.ip {
        return Err(DesyncReason::Ip.into());
    }
    if event.sp() != info.sp {
        return Err(DesyncReason::Sp.into());
    }
    Ok(())
}

/// Whether that is the number of the recorded call. Older traces tell what goes on (ERESTART_RESTARTBLOCK) as restart_syscall(2).
fn is_number(event: &Event<'_>, info: &SyscallInfo) -> bool {
    let resumes = || nr::RESTART_SYSCALL.on(info.machine()).map(i32::from) == Some(event.code());
    info.first as u32 == event.code() as u32 || event.flags() & flag::RESTARTED != 0 && resumes()
}

fn differs(capture: &Captured<'_>, actual: &[u8]) -> Option<Difference> {
    let length = capture.bytes.len().min(actual.len());
    if capture.bytes[..length] == actual[..length] && length == capture.bytes.len() {
        return None;
    }
    let at = capture.bytes.iter().zip(actual).position(|(expected, actual)| expected != actual).unwrap_or(length);
    let (expected, actual, start) = window(capture.bytes, actual, at);
    let reason = DesyncReason::Memory { slot: capture.slot, addr: capture.addr, offset: at as u64 };
    Some(Difference { reason, expected, actual, window: start })
}

/// Compares the memory that a call reads with that of the thread, which stands at its entry.
pub fn memory(event: &Event<'_>, thread: &Thread, room: &mut Pieces, buffer: &mut Vec<u8>) -> Result<(), Difference> {
    if let Some(memory) = &thread.memory {
        return taken(event, memory);
    }
    let inputs = || event.captures().filter(Captured::is_input);
    let mut done = 0;
    loop {
        room.clear();
        for input in inputs().skip(done).take(MOST_PIECES) {
            room.want(input.addr, input.bytes.len());
        }
        if room.is_empty() {
            break;
        }
        let mut left = room.read(thread.tid, buffer);
        let mut actual = &buffer[..];
        for input in inputs().skip(done).take(MOST_PIECES) {
            // The kernel stops at the first piece that it cannot read whole.
            let (own, rest) = actual.split_at(input.bytes.len());
            let got = left.min(input.bytes.len());
            if let Some(difference) = differs(&input, &own[..got]) {
                return Err(difference);
            }
            left -= got;
            actual = rest;
        }
        done += MOST_PIECES;
    }
    if buffer.len() > 1 << 20 {
        buffer.truncate(1 << 16);
        buffer.shrink_to_fit();
    }
    Ok(())
}

/// The same with memory that was taken when the thread came to the call.
fn taken(event: &Event<'_>, memory: &Memory) -> Result<(), Difference> {
    let mut starts = Vec::with_capacity(memory.captures.len());
    let mut start = 0;
    for capture in &memory.captures {
        starts.push(start);
        start += capture.len as usize;
    }
    let mut from = 0;
    for input in event.captures().filter(Captured::is_input) {
        let is_it = |at: &usize| {
            let capture = &memory.captures[*at];
            capture.side == Side::In && capture.slot == input.slot && capture.addr == input.addr
        };
        // The same code took both, so they come in the same order.
        let found = (from..memory.captures.len()).find(is_it).or_else(|| (0..from).find(is_it));
        let actual = match found {
            Some(at) => {
                from = at + 1;
                memory.bytes.get(starts[at]..starts[at] + memory.captures[at].len as usize).unwrap_or_default()
            }
            None => &[],
        };
        if let Some(difference) = differs(&input, actual) {
            return Err(difference);
        }
    }
    Ok(())
}
