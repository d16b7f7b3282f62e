//! Instructions whose results no call tells of, and that do not trap: RDRAND, RDSEED, RDPID. Those that are proved to be in a program
//! file are replaced by `ud2` when it is mapped, and answered where that traps. Replay puts the same bytes there.

use trace_format::event::{EventKind, Side, Trap, slot};

use super::World;
use crate::cpu;
use crate::image::{ElfFacts, Mapping};
use crate::memory::{Capturer, Memory};
use crate::siginfo::{self, SigInfo};
use crate::sys;
use crate::task::{Boundary, Task};
use crate::trap::{self, UNDEFINED};
use crate::unseen::Site;

/// Bytes of the opcode that is behind the prefixes of each of them.
const OPCODE: [u8; 2] = [0x0f, 0xc7];
/// Longest of them: prefix, REX, opcode, operand.
const LONGEST: usize = 6;

impl World {
    /// Makes the instructions of a mapping trap. Addresses and lengths of what was changed.
    pub(super) fn trap_unseen(&mut self, task: &Task, mapping: &Mapping, facts: &ElfFacts) -> Vec<(u64, u64)> {
        let mut changed = Vec::new();
        for site in facts.unseen.iter() {
            let Some(inside) = site.offset.checked_sub(mapping.offset) else { continue };
            if inside.saturating_add(u64::from(site.length)) > mapping.length || !cpu::has(site.trap) {
                continue;
            }
            let addr = mapping.start + inside;
            let is_there = {
                let length = usize::from(site.length).min(LONGEST);
                let mut code = [0; LONGEST];
                let got = sys::read_pieces(task.tid, &[(addr, length)], &mut code);
                got == length && code[..length].get(length - 3..length - 1) == Some(&OPCODE)
            };
            if !is_there {
                continue;
            }
            if sys::write_code(task.tid, &[(addr, &UNDEFINED)]).is_err() {
                self.note("the processor's random numbers could not be made visible: a replay may stop there");
                continue;
            }
            task.space.borrow_mut().unseen.push((addr, *site));
            changed.push((addr, UNDEFINED.len() as u64));
        }
        changed
    }

    /// The same for what the call has mapped or made executable that a task is in.
    pub(super) fn trap_unseen_of_call(&mut self, task: &mut Task, mapping: &Mapping, facts: &ElfFacts) {
        if mapping.shared {
            return;
        }
        for (addr, length) in self.trap_unseen(task, mapping, facts) {
            let mut capturer = Capturer { tid: task.tid, word: 8, data: self.data, memory: &mut task.memory };
            capturer.structure(slot::LAYOUT, Side::Out, addr, length);
        }
    }

    /// A part of the address space is something else now.
    pub(super) fn forget_unseen(task: &Task, start: u64, length: u64) {
        let mut space = task.space.borrow_mut();
        if !space.unseen.is_empty() {
            space.unseen.retain(|(addr, _)| addr.wrapping_sub(start) >= length);
        }
    }

    /// The instruction that was replaced at an address.
    pub(super) fn unseen_at(task: &Task, ip: u64) -> Option<Site> {
        let space = task.space.borrow();
        let site = space.unseen.iter().find(|(addr, _)| *addr == ip).map(|(_, site)| *site)?;
        let mut code = [0; 2];
        (sys::read_pieces(task.tid, &[(ip, 2)], &mut code) == 2 && code == UNDEFINED).then_some(site)
    }

    /// Answers such an instruction for a task that has trapped at one; whether it has.
    pub(super) fn answer_unseen(&mut self, task: &mut Task, info: &SigInfo) -> bool {
        if siginfo::code(info) != siginfo::ILL_ILLOPN || task.space.borrow().unseen.is_empty() {
            return false;
        }
        let Ok(mut regs) = sys::registers(task.tid) else { return false };
        let Some(site) = World::unseen_at(task, regs.rip) else { return false };
        let (value, carry) = match site.trap {
            Trap::Rdpid => (u64::from(self.timestamps.next().1), false),
            trap => cpu::draw(trap == Trap::Rdseed, site.width),
        };
        let mut event = self.event(task, EventKind::Trap, site.trap as i32);
        (event.ip, event.sp, event.nargs) = (regs.rip, regs.rsp, 5);
        let (register, width, length) = (u64::from(site.register), u64::from(site.width), u64::from(site.length));
        event.args = [value, u64::from(carry), register, width, length, 0];
        event.ret = i64::from(self.keep_signal(task, libc::SIGILL, &regs));
        let is_one = trap::answer(&mut regs, Some(site.trap), (value, carry), (register, width), length);
        if !is_one || sys::set_registers(task.tid, &regs).is_err() {
            return is_one;
        }
        task.boundary = Some(Boundary::at(regs.rip, regs.rsp));
        self.commit(event, &Memory::default());
        true
    }

    /// Puts the instructions back, for nobody will answer them any more.
    pub(super) fn put_unseen_back(task: &Task) {
        for (addr, site) in task.space.borrow_mut().unseen.drain(..) {
            let _ = sys::write_code(task.tid, &[(addr, &site.first)]);
        }
    }
}
