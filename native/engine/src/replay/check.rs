//! Whether a thread makes the recorded call: number, arguments, place, and the bytes that it hands out.

use trace_format::event::Side;
use trace_format::table::Arch;

use super::desync::{DesyncReason, window};
use super::event::{Captured, Event};
use super::kernel::Pieces;
use super::tracee::Thread;
use crate::capture::Call;
use crate::memory::Memory;
use crate::plan;
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

/// The architecture by which a stopped thread enters a call.
#[must_use]
pub fn arch_of(info: &SyscallInfo) -> Arch {
    const AUDIT_ARCH_I386: u32 = 0x4000_0003;
    if info.arch == AUDIT_ARCH_I386 { Arch::I386 } else { Arch::X86_64 }
}

/// The call that a thread has entered, as the recorder would see it.
#[must_use]
pub fn call_of(info: &SyscallInfo) -> Call {
    let arch = arch_of(info);
    let number = info.first as u32;
    Call {
        arch,
        number,
        plan: plan::by_number(arch, number),
        args: info.args,
        ip: info.ip,
        sp: info.sp,
        start: 0,
        entry_seq: 0,
        restarted: false,
    }
}

/// Compares all but memory.
pub fn call(event: &Event<'_>, info: &SyscallInfo) -> Result<(), Difference> {
    if arch_of(info) as u8 != event.arch() || info.first as u32 != event.code() as u32 {
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
    let mut inputs = event.captures().filter(Captured::is_input).peekable();
    while inputs.peek().is_some() {
        room.clear();
        let group = inputs.clone();
        let mut count = 0;
        while let Some(input) = inputs.next_if(|_| !room.is_full()) {
            room.want(input.addr, input.bytes.len());
            count += 1;
        }
        let mut left = room.read(thread.tid, buffer);
        let mut actual = &buffer[..];
        for input in group.take(count) {
            // The kernel stops at the first piece that it cannot read whole.
            let (own, rest) = actual.split_at(input.bytes.len());
            let got = left.min(input.bytes.len());
            if let Some(difference) = differs(&input, &own[..got]) {
                return Err(difference);
            }
            left -= got;
            actual = rest;
        }
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
