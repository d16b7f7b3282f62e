//! The kernel calls of the recorder, one thin safe function each.
//!
//! Nothing here decides anything. What only one module asks of the kernel is there.

mod clock;
mod file;
mod instructions;
mod memory;
mod own;
mod pagemap;
mod process;
mod ptrace;
mod room;
mod served;
mod stat;
mod wait;

use std::io;

use libc::c_long;

pub use clock::*;
pub use file::*;
pub use instructions::*;
pub use memory::*;
pub use own::*;
pub use pagemap::*;
pub use process::*;
pub use ptrace::*;
pub use room::*;
pub use served::*;
pub use stat::*;
pub use wait::*;

/// Words that nobody can guess, getrandom(2).
///
/// # Errors
/// As there.
pub fn random_words<const COUNT: usize>() -> io::Result<[u64; COUNT]> {
    let mut words = [0_u64; COUNT];
    let length = std::mem::size_of_val(&words);
    // SAFETY: writes at most so many bytes into a local array.
    let got = unsafe { libc::getrandom(words.as_mut_ptr().cast(), length, 0) };
    if got == length as isize { Ok(words) } else { Err(io::Error::last_os_error()) }
}

fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
