//! What /proc tells of a thread or process in one line, proc_pid_stat(5).

use libc::pid_t;

/// That line. Its fields have the numbers of the man page.
pub struct Stat(String);

/// Microseconds of a clock tick: USER_HZ is 100 on every architecture of this program.
const TICK_US: u64 = 10_000;

impl Stat {
    /// Of a thread alone; `None` when it is gone.
    #[must_use]
    pub fn of_thread(tid: pid_t) -> Option<Stat> {
        Stat::at(&format!("/proc/{tid}/task/{tid}/stat"))
    }

    /// Of the process that a thread is of, its times summed up over all threads; `None` when it is gone.
    #[must_use]
    pub fn of_process(tid: pid_t) -> Option<Stat> {
        Stat::at(&format!("/proc/{tid}/stat"))
    }

    fn at(path: &str) -> Option<Stat> {
        super::text_of(path).map(Stat)
    }

    /// The name, which may hold anything.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map_or("", |(name, _)| name)
    }

    /// The fields from the third on.
    fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace()
    }

    /// A field from the third on: empty where there is none.
    #[must_use]
    pub fn field(&self, number: usize) -> &str {
        number.checked_sub(3).and_then(|index| self.fields().nth(index)).unwrap_or("")
    }

    /// Its state in one letter, `?` when it is not told.
    #[must_use]
    pub fn state(&self) -> u8 {
        self.field(3).bytes().next().unwrap_or(b'?')
    }

    /// Device number of the terminal that its session has; 0 when it has none.
    #[must_use]
    pub fn terminal(&self) -> libc::dev_t {
        let number: u32 = self.field(7).parse().unwrap_or(0);
        libc::makedev((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xf_ff00))
    }

    /// User and system time in microseconds, whole clock ticks of each.
    #[must_use]
    pub fn times(&self) -> (u64, u64) {
        let time = |number| self.field(number).parse().unwrap_or(0_u64).saturating_mul(TICK_US);
        (time(14), time(15))
    }
}

/// The state of a thread, as [`Stat::state`]; `None` when it is gone.
#[must_use]
pub fn state_of(tid: pid_t) -> Option<u8> {
    Stat::of_thread(tid).map(|stat| stat.state())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{own_cpu_time, own_tid};

    #[test]
    fn the_name_may_hold_anything() {
        let stat = Stat("12 (a) R (b) S 1 2 3 34816 5 6 7 8 9 10 250 50 0".to_owned());
        assert_eq!((stat.name(), stat.state(), stat.field(4)), ("a) R (b", b'S', "1"));
        assert_eq!((stat.field(2), stat.field(99)), ("", ""));
        assert_eq!(stat.terminal(), libc::makedev(136, 0));
        assert_eq!(stat.times(), (2_500_000, 500_000));
        for text in ["", "12", "12 (x", "12 x) "] {
            let stat = Stat(text.to_owned());
            assert_eq!((stat.name(), stat.state(), stat.times()), ("", b'?', (0, 0)), "{text}");
        }
    }

    #[test]
    fn a_thread_that_runs_has_times() {
        let total = || Stat::of_thread(own_tid()).map(|stat| stat.times().0 + stat.times().1).unwrap();
        let before = total();
        // Time on a processor, which others may want as well.
        let until = own_cpu_time() + 60_000_000;
        while own_cpu_time() < until {}
        let spent = total() - before;
        assert!((40_000..2_000_000).contains(&spent), "{spent}");
        assert_eq!(state_of(own_tid()), Some(b'R'));
    }
}
