//! The kernel calls of the recorder, one thin safe function each.
//!
//! Nothing here decides anything. What only one module asks of the kernel is there.

mod clock;
mod file;
mod instructions;
mod memory;
mod own;
mod process;
mod ptrace;
mod wait;

use std::io;

use libc::c_long;

pub use clock::*;
pub use file::*;
pub use instructions::*;
pub use memory::*;
pub use own::*;
pub use process::*;
pub use ptrace::*;
pub use wait::*;

fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
