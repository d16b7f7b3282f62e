//! Sites of calls are patched, and shown as the program has them where it looks, while nobody runs there.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use libc::pid_t;
use trace_format::event::Side;
use trace_format::table::Arch;

use crate::agent::code::{Code, State};
use crate::agent::known::Part;
use crate::agent::remote::Borrowed;
use crate::agent::window::{Kind, Passed, Refused};
use crate::capture::Call;
use crate::image::{self, Images};
use crate::record::layouts::file_position;
use crate::record::{Recorder, shown};
use crate::sys::{self, Resume};
use crate::task::{Space, Task};
use crate::unwind::module::Module;

/// Code that is longer is not looked at for the first call in it.
const MOST_AT_ONCE: u64 = 4 << 20;

impl Recorder {
    /// A task has entered a call that moves code, or hands it out: it is as the program has it from now on.
    pub(super) fn uncover_own(&mut self, tid: pid_t) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let space = Rc::clone(&task.space);
        let mut parts = Vec::new();
        if let Some(call) = task.call.filter(|call| call.name() == "mremap") {
            parts.push((call.args[0], call.args[1]));
        }
        {
            let code = &space.borrow().code;
            let (mut at, bytes) = (0, &mut task.memory.bytes);
            for capture in &task.memory.captures {
                let end = at + capture.len as usize;
                if capture.side == Side::In && code.shows(capture.addr, capture.wanted) {
                    parts.push((capture.addr, capture.wanted));
                    code.cover_up(capture.addr, &mut bytes[at..end]);
                }
                at = end;
            }
        }
        self.uncover(tid, (tid, &space), &parts);
    }

    /// A task has entered a call that reads memory of a process, its own or another's: code in it is as the program has it from now on.
    pub(super) fn uncover_looked_at(&mut self, tid: pid_t) {
        let Some(task) = self.tasks.get(&tid) else { return };
        let Some(call) = task.call.filter(|call| call.arch == Arch::X86_64) else { return };
        let Some((other, parts)) = self.looks_at(task, &call) else { return };
        let (other, space) = (other.tid, Rc::clone(&other.space));
        self.uncover(tid, (other, &space), &parts);
    }

    /// Of which process a call reads memory that is not given to it, and which: addresses and lengths.
    fn looks_at(&self, task: &Task, call: &Call) -> Option<(&Task, Vec<(u64, u64)>)> {
        if call.name() == "process_vm_readv" {
            return Some((
                self.task_numbered(task, call.int(0))?,
                shown::vector(task.tid, call.args[3], call.args[4])?,
            ));
        }
        if self.world.memory_files.is_empty() || !shown::reads(call.name()) {
            return None;
        }
        let object = task.fds.borrow().get(call.int(0))?;
        let pid = self.world.memory_files.get(&object)?;
        let other = self.tasks.values().find(|other| other.process.borrow().pid == *pid)?;
        let length = shown::buffers(task.tid, call)?.iter().map(|(_, length)| length).sum();
        let place = shown::place_of(call).or_else(|| file_position(task.tid, call.int(0)))?;
        Some((other, vec![(place, length)]))
    }

    /// Puts back the program's own code in parts of the memory of a task, while another one, or the same, stands still.
    fn uncover(&mut self, by: pid_t, (of, space): (pid_t, &Rc<RefCell<Space>>), parts: &[(u64, u64)]) {
        if parts.is_empty() || !space.borrow().code.is_patched() {
            return;
        }
        let held = self.hold_running(by, space);
        for (start, length) in parts {
            space.borrow_mut().code.clear_part(of, *start, *length);
        }
        self.tell_code(space);
        self.release(held);
    }

    /// Tells the agents of an address space where there are jumps. There may be one now where a handler has to come back to.
    fn tell_code(&self, space: &Rc<RefCell<Space>>) {
        let parts = space.borrow().code.parts();
        let sharing = self.tasks.values().filter(|task| Rc::ptr_eq(&task.space, space));
        for ring in sharing.filter_map(|task| task.ring.as_ref()) {
            ring.set_code(&parts);
            ring.set_back(0, 0);
        }
    }

    /// Whether every thread of an address space finds a block of its own when it comes to a patched site. One that is in a call
    /// which stopped it gets one before it goes on.
    pub(in crate::record) fn all_have_rings(&self, space: &Rc<RefCell<Space>>) -> bool {
        // Where they take turns, each has one at least from when it goes on.
        let mut sharing = self.tasks.values().filter(|task| Rc::ptr_eq(&task.space, space));
        self.world.replayable || sharing.all(|task| task.ring.is_some() || task.call.is_some())
    }

    /// Whether the program of a task, in another process, has made calls in what is mapped at an address. There are programs that do
    /// not run such code, but read and translate it, and run a copy of it themselves.
    pub(super) fn runs_mapped(&self, tid: pid_t, addr: u64) -> bool {
        let (Some(task), Some(agent)) = (self.tasks.get(&tid), &self.world.agent) else { return false };
        let code = &task.space.borrow().code;
        let (Some(part), Some(program)) = (code.part_at(addr), code.program()) else { return false };
        agent.known.runs(program, &part) && code.is_mapped_once(&part)
    }

    /// Patches what is known of the code at an address, when that has not been done in this process.
    pub(super) fn patch_known(&mut self, tid: pid_t, addr: u64) {
        let Some(task) = self.tasks.get(&tid) else { return };
        let (pid, space) = (task.process.borrow().pid, Rc::clone(&task.space));
        let part = {
            let code = &space.borrow().code;
            let is_new = code.state == State::Present && !code.is_patched_as_known(addr);
            code.part_at(addr).filter(|_| is_new)
        };
        let Some(part) = part.filter(|_| self.all_have_rings(&space)) else { return };
        let insides = self.world.agent.as_ref().map_or_else(Vec::new, |agent| agent.known.insides(&part));
        let is_changed = |ip| insides.iter().any(|inside| inside.contains(&ip));
        let Some(held) = self.hold_others(tid, &space, is_changed) else { return };
        if let Some(task) = self.tasks.get(&tid) {
            self.world.runs_library(task, &part);
        }
        let Some(agent) = &mut self.world.agent else { return };
        if let Some(program) = space.borrow().code.program() {
            agent.known.has_run(program, &part);
        }
        if let Ok(mut thread) = Borrowed::new(agent.image, pid, tid) {
            let code = &mut space.borrow_mut().code;
            let at = thread.regs.rip;
            let patched = code.patch_known(agent.image.entries(), &mut thread, &mut agent.known, (&part, at));
            agent.counts.patched += patched.unwrap_or(0);
            if agent.known.has_site(&part, addr) {
                // The call that stopped it, and will not in the next process.
                code.has_used(&mut agent.known, addr);
            }
        }
        self.release(held);
        self.tell_code(&space);
    }

    /// Patches what has stopped copies of a task's process, which the next ones would stop at as well.
    pub(super) fn catch_up(&mut self, tid: pid_t) {
        let Some(task) = self.tasks.get(&tid) else { return };
        let (pid, space) = (task.process.borrow().pid, Rc::clone(&task.space));
        if !space.borrow().code.has_news() || !self.all_have_rings(&space) {
            return;
        }
        let news = space.borrow_mut().code.news();
        if news.is_empty() {
            return;
        }
        let insides: Vec<_> = {
            let (Some(agent), code) = (&self.world.agent, &space.borrow().code) else { return };
            news.iter().filter_map(|ip| code.part_at(*ip)).flat_map(|part| agent.known.insides(&part)).collect()
        };
        let is_changed = |ip| insides.iter().any(|inside| inside.contains(&ip));
        let Some(held) = self.hold_others(tid, &space, is_changed) else { return };
        let Some(agent) = &mut self.world.agent else { return };
        if let Ok(mut thread) = Borrowed::new(agent.image, pid, tid) {
            let at = thread.regs.rip;
            let code = &mut space.borrow_mut().code;
            agent.counts.patched += code.catch_up(agent.image.entries(), &mut thread, &agent.known, (&news, at));
        }
        self.release(held);
        self.tell_code(&space);
    }

    /// Patches the site of a call that a task has just made, if that is worth its price by now.
    pub(super) fn patch_if_worth(&mut self, tid: pid_t, call: &Call) {
        let (Some(agent), Some(task)) = (&self.world.agent, self.tasks.get(&tid)) else { return };
        let space = Rc::clone(&task.space);
        let is_cheap = |code: &Code, part: &Part| code.from_start && part.length <= MOST_AT_ONCE;
        let at_once = |code: &Code| {
            let is_settled = |part: Part| is_cheap(code, &part) || agent.known.has_site(&part, call.ip);
            agent.eager || code.part_at(call.ip).is_some_and(is_settled)
        };
        let is_worth = space.borrow_mut().code.is_worth(call.ip, at_once);
        if is_worth && self.all_have_rings(&space) {
            self.patch(tid, Passed::call(call.ip, call.number));
        }
    }

    /// A task has entered a call that does not come back, or not here: its site is patched in the next process that runs this code.
    pub(super) fn learn_last(&mut self, tid: pid_t) {
        let (Some(agent), Some(task)) = (&mut self.world.agent, self.tasks.get(&tid)) else { return };
        let is_last = |call: &Call| call.arch == Arch::X86_64 && matches!(call.name(), "exit_group" | "execve");
        let Some(call) = task.call.filter(is_last) else { return };
        let code = &mut task.space.borrow_mut().code;
        if task.ring.is_some() && code.state == State::Present {
            code.learn(&mut agent.known, tid, Passed::call(call.ip, call.number));
        }
    }

    /// Patches the site that a task has just passed. When another thread is in the way, the next time will do.
    pub(in crate::record) fn patch(&mut self, tid: pid_t, passed: Passed) {
        let Passed { ip, kind, .. } = passed;
        let Some(agent) = &mut self.world.agent else { return };
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let pid = task.process.borrow().pid;
        let space = Rc::clone(&task.space);
        let chosen = if is_own_code(tid, ip, self.world.replayable) {
            let code = &space.borrow().code;
            let part = code.part_at(ip);
            let chosen = code.choose(&mut agent.known, tid, passed, part);
            if chosen.is_ok() && is_return(passed) && !tells_of_frame(&mut self.world.images, tid, ip) {
                if let Some(part) = &part {
                    agent.known.refuse(part, ip, Refused::Recognised);
                }
                Err(Refused::Recognised)
            } else {
                chosen
            }
        } else {
            Err(Refused::Written)
        };
        let outcome = match chosen {
            Err(reason) => Err(reason),
            Ok(chosen) => {
                let Some(held) = self.hold_others(tid, &space, |at| chosen.is_inside(at)) else { return };
                let Some(agent) = &mut self.world.agent else { return };
                let outcome = match Borrowed::new(agent.image, pid, tid) {
                    Ok(mut thread) if stands_behind(passed, &thread.regs, |at| chosen.is_inside(at)) => {
                        space.borrow_mut().code.patch(agent.image.entries(), &mut thread, &mut agent.known, chosen)
                    }
                    _ => Err(Refused::ReadOnly),
                };
                self.release(held);
                outcome
            }
        };
        let Some(agent) = &mut self.world.agent else { return };
        match outcome {
            Ok(()) => {
                agent.counts.patched += 1;
                if kind == Kind::Call {
                    space.borrow_mut().code.has_used(&mut agent.known, ip);
                }
                self.tell_code(&space);
            }
            Err(reason) => {
                space.borrow_mut().code.refuse(ip, reason);
                *agent.counts.refused.entry(reason).or_default() += 1;
            }
        }
    }

    /// Stops the other threads that run in an address space, and says which. `None` when one of them stands where the code is to be
    /// changed. Those that sleep in a call run nothing before it ends.
    fn hold_others(
        &mut self,
        tid: pid_t,
        space: &Rc<RefCell<Space>>,
        is_changed: impl Fn(u64) -> bool,
    ) -> Option<Vec<pid_t>> {
        if Rc::strong_count(space) <= 2 {
            return Some(Vec::new());
        }
        let (held, is_clear) = self.hold(tid, space, is_changed);
        if is_clear {
            return Some(held);
        }
        self.release(held);
        None
    }

    /// Stops the other threads that run in an address space while code is put back that was there before: one that came by would find half
    /// of it.
    pub(super) fn hold_running(&mut self, tid: pid_t, space: &Rc<RefCell<Space>>) -> Vec<pid_t> {
        let is_own = self.tasks.get(&tid).is_some_and(|task| Rc::ptr_eq(&task.space, space));
        // Where they take turns, no other runs; nor where there is none. At the end those that were let go run as they like.
        let take_turns = self.world.replayable && !self.detaching;
        if is_own && (take_turns || Rc::strong_count(space) <= 2) || !space.borrow().code.is_patched() {
            return Vec::new();
        }
        self.hold(tid, space, |_| false).0
    }

    /// Stops the other threads that run in an address space, as far as they are not stopped, and whether none stands where code is changed.
    fn hold(&mut self, tid: pid_t, space: &Rc<RefCell<Space>>, is_changed: impl Fn(u64) -> bool) -> (Vec<pid_t>, bool) {
        let in_way = |tid: pid_t| sys::registers(tid).is_ok_and(|regs| is_changed(regs.rip));
        let mut held = Vec::new();
        let mut is_clear = true;
        let others = self.tasks.values().filter(|other| other.tid != tid && Rc::ptr_eq(&other.space, space));
        for other in others {
            let other_tid = other.tid;
            if let Some(call) = &other.call {
                // It comes back to behind the call.
                is_clear &= !is_changed(call.ip);
            } else if self.stops.iter().any(|stop| stop.tid == other_tid) {
                is_clear &= !in_way(other_tid);
            } else if other.in_group_stop {
                // Continued, it reports that before it runs anything; where it stands is not told before.
                is_clear = false;
            } else {
                match sys::state_of(other_tid) {
                    // It sleeps in a call that the agent has made, or runs nothing any more.
                    Some(b'S' | b'Z' | b'X') | None => continue,
                    Some(b'R') => {}
                    // It waits for a page of the code that it is in, or stands in a stop that was not told of.
                    Some(_) => {
                        is_clear = false;
                        continue;
                    }
                }
                let Ok(waited) = sys::interrupt(other_tid).and_then(|()| sys::wait_stop(other_tid)) else { continue };
                if libc::WIFSTOPPED(waited.status) {
                    is_clear &= !in_way(other_tid);
                }
                if waited.status >> 16 == sys::event::STOP && libc::WSTOPSIG(waited.status) == libc::SIGTRAP {
                    held.push(other_tid);
                } else {
                    // It has come to a stop of its own, and will report the one that was asked for later.
                    self.stops.push_back(waited);
                }
            }
        }
        (held, is_clear)
    }

    /// Threads that were held go on. One that was to be stopped for another reason, too, is to be so again.
    pub(super) fn release(&mut self, held: Vec<pid_t>) {
        for tid in held {
            if self.detaching {
                let _ = sys::interrupt(tid);
            }
            let how = self.tasks.get_mut(&tid).map_or(Resume::Cont, |task| self.world.between_calls(task));
            let _ = sys::resume(tid, how, 0);
        }
    }
}

/// What a call that was successful has put into a part of the address space, or taken from there, is not what was patched.
pub(in crate::record) fn forget_code(task: &Task, call: &Call, result: i64) {
    let [old, length, new_length, ..] = call.args;
    if matches!(call.name(), "mprotect" | "pkey_mprotect") {
        task.space.borrow_mut().code.protected(old, length);
    }
    let result = result as u64;
    let parts: &[(u64, u64)] = match call.name() {
        "munmap" => &[(old, length)],
        "mmap" | "mmap2" => &[(result, length)],
        "mremap" => &[(old, length), (result, new_length)],
        _ => return,
    };
    let code = &mut task.space.borrow_mut().code;
    for (start, length) in parts {
        code.unmapped(*start, *length);
    }
}

/// Whether a thread has passed a site, and is somewhere where its code may be changed: behind it, or where a handler has come back to.
fn stands_behind(passed: Passed, regs: &libc::user_regs_struct, is_inside: impl Fn(u64) -> bool) -> bool {
    if is_return(passed) { !is_inside(regs.rip) } else { regs.rip == passed.ip }
}

/// Whether a site is that of rt_sigreturn(2).
fn is_return(passed: Passed) -> bool {
    passed.kind == Kind::Call && passed.eax == Some(libc::SYS_rt_sigreturn as u32)
}

/// Whether unwinders find a signal's frame by the tables of the file whose code is at an address. Where there are none they look at the
/// instructions, which have to stay then.
fn tells_of_frame(images: &mut Images, tid: pid_t, ip: u64) -> bool {
    let Some(mapping) = image::executable_mapping_at(tid, ip) else { return false };
    let hash = images.facts_of_mapping(&mapping, &image::reachable(tid, &mapping.path)).hash;
    let module = hash.and_then(|hash| images.binary(&hash)).and_then(|binary| Module::new(Arc::new(binary)));
    module.is_some_and(|module| {
        let address = module.address_of(ip - 1 - mapping.start + mapping.offset);
        address.is_some_and(|address| module.is_signal_frame(address))
    })
}

/// Whether code may be changed: what is written to shared memory is in its file, too. `replayable`: only that of a file, which the program
/// does not write.
fn is_own_code(tid: pid_t, ip: u64, replayable: bool) -> bool {
    let writes = libc::PROT_WRITE as u64;
    image::executable_mapping_at(tid, ip)
        .is_some_and(|mapping| !mapping.shared && (!replayable || (mapping.ino != 0 && mapping.prot & writes == 0)))
}
