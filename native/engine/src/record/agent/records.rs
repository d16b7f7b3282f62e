//! What the rings hold becomes events: in the order in which the calls ended, each as if the recorder had seen it made.

use libc::{c_int, pid_t};
use trace_format::event::{Lost, Side, Status};
use trace_format::table::Arch;

use crate::agent::ring::{Captured, Damage, End, Progress, Record, Ring};
use crate::agent::table;
use crate::capture::Call;
use crate::image::FileId;
use crate::memory::Memory;
use crate::objects::{Facts, Identity};
use crate::plan::{self, Effect};
use crate::record::calls::continue_interrupted;
use crate::record::control::Control;
use crate::record::{Recorder, World};
use crate::resolve;
use crate::sys;
use crate::task::Task;

/// So many bytes of records are taken at once: the processor still has them when they become events.
const PIECE_BYTES: u64 = 64 << 10;

/// A file that the agent has mapped.
pub(in crate::record) struct ToldFile {
    /// In the state in which it was before it was mapped.
    pub file: FileId,
    /// None of a file whose content is kept.
    pub content: Option<Vec<u8>>,
    /// What was lent to its process and has taken its place, by number.
    pub twin: Option<usize>,
}

impl Recorder {
    /// Takes what is in the rings of all tasks, in the order in which the calls ended. Whether there was anything.
    /// `stopped`: a task that has come to a stop, or ended.
    ///
    /// The end of a process comes before the call of its parent that tells of it, wait4(2). The parent hears of it when it has been
    /// waited for here, but may be quicker than what is done about it then.
    pub(in crate::record) fn drain(&mut self, stopped: Option<pid_t>) -> bool {
        let mut unseen = Unseen::default();
        let is_any = self.drain_before_ends(stopped, &mut unseen);
        while !unseen.held.is_empty() {
            let held = std::mem::take(&mut unseen.held);
            let told = held.iter().fold(false, |told, (_, pid)| self.tell_ends_of(*pid) | told);
            if !told {
                // They are being told. But nothing of a task that stands still comes behind its stop.
                let is_held = |tid: &pid_t| held.iter().any(|(own, _)| own == tid);
                match stopped.filter(|tid| unseen.let_go.is_none() && is_held(tid)) {
                    Some(tid) => unseen.let_go = Some(tid),
                    None => break,
                }
            }
            self.drain_before_ends(stopped, &mut unseen);
        }
        is_any
    }

    /// Tells of the ends of a process and its threads that have been waited for already. Whether there were any.
    fn tell_ends_of(&mut self, pid: pid_t) -> bool {
        let mut is_any = false;
        while let Some(index) = self.stops.iter().position(|waited| {
            let task = self.tasks.get(&waited.tid);
            !libc::WIFSTOPPED(waited.status) && task.is_some_and(|task| task.process.borrow().pid == pid)
        }) {
            is_any = true;
            if let Some(waited) = self.stops.remove(index) {
                self.ended(&waited);
            }
        }
        is_any
    }

    /// The same, up to calls that tell of ends of which nothing has been told here.
    fn drain_before_ends(&mut self, stopped: Option<pid_t>, unseen: &mut Unseen) -> bool {
        let Some(agent) = &mut self.world.agent else { return false };
        // Before any ring is looked at. What ends later may be seen in one ring, and not be there yet in another that was looked at
        // before.
        let limit = if self.world.replayable { u64::MAX } else { sys::counter() };
        let mut filled = self.tasks.values_mut().filter(|task| task.ring.as_ref().is_some_and(Ring::has_more));
        let Some(first) = filled.next() else { return false };
        let mut bytes = std::mem::take(&mut agent.bytes);
        agent.clock.refresh();
        let several = filled.next().is_some();
        if several {
            self.drain_all(limit, stopped, unseen);
        } else {
            let tid = first.tid;
            let limit = if self.tasks.len() > 1 && stopped != Some(tid) { limit } else { u64::MAX };
            self.drain_one(tid, limit, unseen, &mut bytes);
        }
        if let Some(agent) = &mut self.world.agent {
            agent.bytes = bytes;
        }
        true
    }

    /// Piece by piece, so that its thread finds room again soon.
    fn drain_one(&mut self, tid: pid_t, limit: u64, unseen: &mut Unseen, bytes: &mut Vec<u8>) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let Some(end) = task.ring.as_ref().map(Ring::end) else { return };
        while let Some(ring) = &mut task.ring {
            match ring.read(end, PIECE_BYTES, bytes) {
                Ok(Some(())) => {}
                Ok(None) => return,
                Err(Damage) => break,
            }
            let (mut taken, mut is_later) = (0, false);
            while let Some((record, size)) =
                Record::parse(&bytes[taken..]).filter(|(record, _)| self.world.makes(record))
            {
                is_later = record.end > limit || unseen.holds(tid, &record, &self.control);
                if is_later {
                    break;
                }
                let (start, end) = self.world.times(&record);
                self.world.recorded(task, &record, start, end);
                taken += size;
            }
            if taken == 0 && !is_later {
                break;
            }
            self.pace.took(taken as u64);
            if let Some(ring) = &mut task.ring {
                ring.has_taken(taken as u64);
            }
            if is_later {
                return;
            }
        }
        task.ring.iter_mut().for_each(Ring::skip);
        self.world.count_damage();
    }

    fn drain_all(&mut self, limit: u64, stopped: Option<pid_t>, unseen: &mut Unseen) {
        // Up to now: who goes on writing meanwhile is not ahead of the others.
        let mut taken: Vec<(pid_t, End, Vec<u8>)> = Vec::new();
        let filled =
            self.tasks.values().filter_map(|task| Some((task.tid, task.ring.as_ref().filter(|ring| ring.has_more())?)));
        taken.extend(filled.map(|(tid, ring)| (tid, ring.end(), Vec::new())));
        let mut order: Vec<(u64, usize, usize)> = Vec::new();
        for (index, (tid, end, bytes)) in taken.iter_mut().enumerate() {
            let Some(ring) = self.tasks.get_mut(tid).and_then(|task| task.ring.as_mut()) else { continue };
            let limit = if stopped == Some(*tid) { u64::MAX } else { limit };
            let control = &self.control;
            let stays = |record: &Record<'_>| record.end > limit || unseen.holds(*tid, record, control);
            if ring.take(*end, stays, bytes).is_err() {
                ring.skip();
                self.world.count_damage();
            }
            self.pace.took(bytes.len() as u64);
            let (mut at, mut last) = (0, 0);
            while let Some((record, size)) = Record::parse(&bytes[at..]) {
                // Within a ring the order is that of the records, whatever the counter says.
                last = record.end.max(last);
                order.push((last, index, at));
                at += size;
            }
        }
        order.sort_unstable();
        for (_, index, at) in order {
            let (tid, _, bytes) = &taken[index];
            let (Some(task), Some((record, _))) = (self.tasks.get_mut(tid), Record::parse(&bytes[at..])) else {
                continue;
            };
            if !self.world.makes(&record) {
                self.world.count_damage();
                continue;
            }
            let (start, end) = self.world.times(&record);
            self.world.recorded(task, &record, start, end);
        }
    }
}

impl Recorder {
    /// A task has come to a stop, or ended. If it has left the agent by rt_sigreturn(2) last, the record of that is complete; it is not yet
    /// if it stands before that call, which it will make unless it is moved out of the agent.
    pub(in crate::record) fn settle_return(&mut self, tid: pid_t, has_ended: bool) {
        let Some(ring) = self.tasks.get(&tid).and_then(|task| task.ring.as_ref()).filter(|ring| ring.is_returning())
        else {
            return;
        };
        let image = self.world.agent.as_ref().map(|agent| agent.image);
        let stands = |regs: &libc::user_regs_struct| image.is_some_and(|image| image.is_within(regs.rip));
        if has_ended || !ring.has_yet_to_return() || !sys::registers(tid).is_ok_and(|regs| stands(&regs)) {
            ring.end_return();
        }
    }
}

impl World {
    /// A task has ended, or executed a program: the call that it was making in the agent is one that it is in.
    pub(in crate::record) fn take_pending(&mut self, task: &mut Task) {
        let Some(ring) = &task.ring else { return };
        if !matches!(ring.progress(), Progress::Calling | Progress::Made(_)) || task.call.is_some() {
            return;
        }
        let mut bytes = Vec::new();
        ring.pending(&mut bytes);
        let record = Record::parse(&bytes).map(|(record, _)| record).filter(|record| self.makes(record));
        let (Some(record), Some(agent)) = (record, &mut self.agent) else { return self.count_damage() };
        agent.clock.refresh();
        let start = agent.clock.at(record.start);
        task.call = Some(self.begin_recorded(task, &record, start));
    }

    /// A task has executed a program: if it has made that call in the agent, it is in it. Whether it is so.
    pub(in crate::record) fn executed_recorded(&mut self, task: &mut Task) -> bool {
        if task.launching || task.call.is_some() || task.ring.is_none() {
            return false;
        }
        self.take_pending(task);
        let is_exec = |call: &Call| call.plan.is_some_and(|plan| plan.effect == Effect::Exec);
        if !task.call.as_ref().is_some_and(is_exec) {
            // The program has written over the record.
            task.call = Some(Call::unknown(libc::SYS_execve as u32, self.clock, self.sink.seq()));
            task.memory.clear();
            task.memory.unreadable = 1;
            self.count_damage();
            return true;
        }
        if let (Some(agent), Some(call)) = (&mut self.agent, &task.call) {
            agent.counts.in_process += 1;
            let code = &mut task.space.borrow_mut().code;
            if code.is_watched() {
                code.has_used(&mut agent.known, call.ip);
            }
        }
        true
    }

    fn call_of(&self, record: &Record<'_>, start: u64, thread: u32) -> Call {
        let number = u32::from(record.number);
        // Without a time of its own nothing is known to have happened meanwhile.
        let is_timed = !self.replayable || record.start != record.end;
        let agent = self.agent.as_ref().filter(|_| is_timed);
        let since = agent.map_or(0, |agent| agent.ended_since(self.time(start), thread));
        Call {
            arch: Arch::X86_64,
            number,
            plan: plan::by_number(Arch::X86_64, number),
            args: record.args,
            ip: record.ip,
            sp: record.sp,
            start,
            entry_seq: self.sink.seq().saturating_sub(since),
            restarted: false,
        }
    }

    /// The name of what a call has opened.
    fn path_of_opened(&mut self, task: &Task, call: &Call, opened: &Opened<'_>) -> Option<Vec<u8>> {
        if opened.number != 0 {
            let (dev, ino, _) = opened.facts();
            return self.agent.as_ref()?.names.get(opened.number, (dev, ino)).map(<[u8]>::to_vec);
        }
        if opened.path.is_empty() {
            return self.name_of_opened(task, call);
        }
        if let (Some(agent), Some(given), Some(ring), false) =
            (&mut self.agent, given_path(task, call), &task.ring, self.names_moved)
            && let Some((index, words)) = agent.names.learn(given, opened.stat, opened.path)
        {
            ring.set_name(index, &words);
        }
        Some(opened.path.to_vec())
    }

    /// The name of a file that a call has opened by a path of which no part was a symbolic link.
    fn name_of_opened(&mut self, task: &Task, call: &Call) -> Option<Vec<u8>> {
        let dir = if call.name() == "open" { libc::AT_FDCWD } else { call.int(0) };
        let given = given_path(task, call).filter(|given| !given.is_empty())?;
        if given[0] == b'/' {
            return Some(resolve::without_dots(given));
        }
        let base = if dir == libc::AT_FDCWD { self.cwd(task) } else { task.fds.borrow().get(dir) };
        let base = base.and_then(|object| self.objects.path(object)).filter(|base| base.first() == Some(&b'/'))?;
        Some(resolve::without_dots(&resolve::join(base, given)))
    }

    /// A call that the agent has begun, as if it had just been entered.
    pub(super) fn begin_recorded(&mut self, task: &mut Task, record: &Record<'_>, start: u64) -> Call {
        self.decide(task, None);
        let mut call = self.call_of(record, start, task.index);
        continue_interrupted(task, &mut call);
        task.memory.clear();
        add(&mut task.memory, record, Side::In);
        self.refer(task, &call);
        self.before(task, &mut call);
        call
    }

    /// A call that the agent has made, or an instruction that it has answered.
    fn recorded(&mut self, task: &mut Task, record: &Record<'_>, start: u64, end: u64) {
        if let Some(kind) = record.answers() {
            self.counted(task, record, kind, start);
            return;
        }
        let call = self.begin_recorded(task, record, start);
        let found = add(&mut task.memory, record, Side::Out);
        // A complete record has all that it says, unless the program has written over it.
        task.memory.unreadable += u32::from(record.count.saturating_sub(found));
        let mut told = self.agent.as_mut().map(|agent| std::mem::take(&mut agent.told)).unwrap_or_default();
        told.extend(opened(record).filter_map(|opened| {
            let path = self.path_of_opened(task, &call, &opened)?;
            Some((opened.fd, Identity::new(path, Some(opened.facts()))))
        }));
        if let Some(agent) = &mut self.agent {
            agent.told = told;
            agent.told_mapped = mapped(record);
            agent.counts.in_process += 1;
            let code = &mut task.space.borrow_mut().code;
            if code.is_watched() {
                code.has_used(&mut agent.known, record.ip);
            }
        }
        self.after(task, &call, record.result);
        if let Some(agent) = &mut self.agent {
            agent.told.clear();
            agent.told_mapped = None;
        }
        if self.replayable {
            World::recorded_in_turn(task, &call, record.result);
            self.look_for_code(task);
        }
        self.commit_call(task, &call, Some(record.result), end.max(start), 0);
        self.commit_maps(task);
    }

    /// A ring holds something else than records: the program has written there.
    fn count_damage(&mut self) {
        self.lost[Lost::Memory as usize] += 1;
        let why = "a program has written over the agent's ring: calls of it are missing";
        self.note(why);
        self.unreplayable(why);
    }

    /// Whether a record is of a call that agents make, or of an instruction that they answer where it traps. Of another one the program has
    /// written it there.
    fn makes(&self, record: &Record<'_>) -> bool {
        match record.answers() {
            Some(_) => self.replayable,
            None => self.agent.as_ref().is_some_and(|agent| table::has(&agent.table, record.number.into())),
        }
    }

    /// When a record's call began and ended.
    fn times(&self, record: &Record<'_>) -> (u64, u64) {
        self.agent.as_ref().map_or((0, 0), |agent| (agent.clock.at(record.start), agent.clock.at(record.end)))
    }
}

/// Calls that tell of ends of processes of which nothing has been told yet.
#[derive(Default)]
struct Unseen {
    /// The task that has made each, and the process.
    held: Vec<(pid_t, pid_t)>,
    /// Those of this task are told of all the same.
    let_go: Option<pid_t>,
}

impl Unseen {
    /// Whether a record of this task is to wait for the end of a process.
    fn holds(&mut self, tid: pid_t, record: &Record<'_>, control: &Control) -> bool {
        let Some(pid) = reaped(record).filter(|pid| self.let_go != Some(tid) && control.has(*pid)) else {
            return false;
        };
        self.held.push((tid, pid));
        true
    }
}

/// The process whose end a call of wait4(2) has told of.
fn reaped(record: &Record<'_>) -> Option<pid_t> {
    /// Slots of its status and its options.
    const STATUS: u8 = 1;
    const OPTIONS: usize = 2;
    if libc::c_long::from(record.number) != libc::SYS_wait4 || record.result <= 0 {
        return None;
    }
    let status = record.captures().find_map(|(captured, bytes)| match captured {
        Captured::Memory(captured) if captured.slot == STATUS => Some(c_int::from_le_bytes(bytes.try_into().ok()?)),
        _ => None,
    });
    let tells_of_stops = record.args[OPTIONS] & (libc::WUNTRACED | libc::WCONTINUED) as u64 != 0;
    let is_end = status.map_or(!tells_of_stops, |status| libc::WIFEXITED(status) || libc::WIFSIGNALED(status));
    pid_t::try_from(record.result).ok().filter(|_| is_end)
}

/// Adds what a record has of one side to the memory of an event. How many captures it has that are well-formed.
fn add(memory: &mut Memory, record: &Record<'_>, side: Side) -> u8 {
    let mut found = 0;
    for (captured, bytes) in record.captures() {
        found += 1;
        let Captured::Memory(captured) = captured else { continue };
        if captured.side != side {
            continue;
        }
        memory.unreadable += u32::from(captured.status == Status::Unreadable);
        memory.bytes.extend_from_slice(bytes);
        memory.captures.push(captured);
    }
    found
}

/// What the agent has found out about a file that it has mapped.
fn mapped(record: &Record<'_>) -> Option<ToldFile> {
    /// Members of struct stat, by offset.
    const INO: usize = 8;
    const MODE: usize = 24;
    const SIZE: usize = 48;
    const MTIME: usize = 88;
    const MTIME_NS: usize = 96;
    let find = |wanted: fn(&Captured) -> bool| record.captures().find(|(captured, _)| wanted(captured));
    let (_, facts) = find(|captured| matches!(captured, Captured::Mapped))?;
    let content = find(|captured| matches!(captured, Captured::Content)).map(|(_, bytes)| bytes.to_vec());
    let word = |at: usize| Some(u64::from_le_bytes(facts.get(at..at + 8)?.try_into().ok()?));
    let changed = (word(MTIME)? as i64, word(MTIME_NS)? as i64);
    // Mode and owner.
    let ids = word(MODE)?;
    let file = FileId::of_numbers((word(0)?, word(INO)?), changed, word(SIZE)?, (ids as u32, (ids >> 32) as u32));
    let twin = find(|captured| matches!(captured, Captured::Twin { .. })).and_then(|(captured, _)| match captured {
        Captured::Twin { number } => usize::try_from(number).ok(),
        _ => None,
    });
    Some(ToldFile { file, content, twin })
}

/// What the agent has found out about a new descriptor.
struct Opened<'a> {
    fd: i32,
    stat: &'a [u8],
    /// Empty when it is that of the call, or one with a number.
    path: &'a [u8],
    /// Of the name, as in [`super::names`]; 0 for none.
    number: u64,
}

impl Opened<'_> {
    /// Device, inode and mode, of its `struct stat`.
    fn facts(&self) -> Facts {
        let word = |at: usize| u64::from_le_bytes(self.stat[at..at + 8].try_into().unwrap_or_default());
        let mode = u32::from_le_bytes(self.stat[24..28].try_into().unwrap_or_default());
        (word(0), word(8), mode)
    }
}

/// What the agent has found out about new descriptors.
fn opened<'a>(record: &Record<'a>) -> impl Iterator<Item = Opened<'a>> {
    /// Bytes of struct stat.
    const STAT: usize = 144;
    record.captures().filter_map(|(captured, bytes)| {
        let Captured::Opened { fd, number } = captured else { return None };
        let (stat, path) = bytes.split_at_checked(STAT)?;
        Some(Opened { fd, stat, path, number })
    })
}

/// The path that a call which opens a file was given.
fn given_path<'a>(task: &'a Task, call: &Call) -> Option<&'a [u8]> {
    match call.name() {
        "open" => task.memory.string(0),
        "openat" => task.memory.string(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use trace_format::ring::{capture, record};

    use super::*;

    const TID: pid_t = 7;
    const CHILD: pid_t = 4711;

    /// A record of wait4(2) that came back with `result`, and wrote a status.
    fn wait4(result: i64, status: Option<c_int>, options: c_int) -> Vec<u8> {
        let mut bytes = vec![0; record::BYTES as usize];
        let mut put =
            |offset: u64, value: &[u8]| bytes[offset as usize..offset as usize + value.len()].copy_from_slice(value);
        put(record::NUMBER, &(libc::SYS_wait4 as u16).to_le_bytes());
        put(record::RESULT, &result.to_le_bytes());
        put(record::ARGS + 2 * 8, &(options as u64).to_le_bytes());
        put(record::CAPTURES, &[u8::from(status.is_some())]);
        if let Some(status) = status {
            let mut head = vec![0; capture::BYTES as usize];
            head[capture::WANTED as usize] = 4;
            head[capture::LENGTH as usize] = 4;
            head[capture::SLOT as usize] = 1;
            head[capture::SIDE as usize] = Side::Out as u8;
            bytes.extend(head);
            bytes.extend(status.to_le_bytes());
            bytes.extend([0; 4]);
        }
        let size = bytes.len() as u32;
        bytes[record::SIZE as usize..record::SIZE as usize + 4].copy_from_slice(&size.to_le_bytes());
        bytes
    }

    fn told(bytes: &[u8]) -> Option<pid_t> {
        reaped(&Record::parse(bytes).unwrap().0)
    }

    #[test]
    fn what_a_wait_has_told_of_an_end_waits_for_that() {
        let (exited, killed, stopped) = (3 << 8, libc::SIGKILL, libc::SIGSTOP << 8 | 0x7f);
        let child = i64::from(CHILD);
        assert_eq!(told(&wait4(child, Some(exited), 0)), Some(CHILD));
        assert_eq!(told(&wait4(child, Some(killed), libc::WUNTRACED)), Some(CHILD));
        assert_eq!(told(&wait4(child, None, libc::WNOHANG)), Some(CHILD));
        // It may have been stopped.
        assert_eq!(told(&wait4(child, None, libc::WUNTRACED)), None);
        assert_eq!(told(&wait4(child, Some(stopped), libc::WUNTRACED)), None);
        assert_eq!((told(&wait4(0, None, libc::WNOHANG)), told(&wait4(-10, None, 0))), (None, None));
        let (bytes, control) = (wait4(child, Some(exited), 0), Control::default());
        let (record, _) = Record::parse(&bytes).unwrap();
        let mut unseen = Unseen::default();
        assert!(!unseen.holds(TID, &record, &control));
        control.processes().insert(CHILD);
        assert!(unseen.holds(TID, &record, &control));
        assert!(unseen.holds(TID + 1, &record, &control));
        assert_eq!(unseen.held, [(TID, CHILD), (TID + 1, CHILD)]);
        unseen.let_go = Some(TID);
        assert!(!unseen.holds(TID, &record, &control) && unseen.holds(TID + 1, &record, &control));
    }
}
