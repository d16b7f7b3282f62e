// Calls while a panic unwinds, from threads, iterators and drops.
use std::io::Write;

struct Guard(&'static str);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = std::io::stderr().write(self.0.as_bytes());
    }
}

#[inline(never)]
fn deeper(depth: u32) -> u32 {
    let _guard = Guard("dropped\n");
    if depth == 0 {
        std::panic::resume_unwind(Box::new("bottom"));
    }
    deeper(depth - 1) + depth
}

fn main() {
    let caught = std::panic::catch_unwind(|| deeper(2)).is_err();
    let thread = std::thread::spawn(|| std::io::stdout().write(b"thread\n").unwrap_or(0));
    let count = thread.join().unwrap_or(0);
    let total: usize = (0..2).filter(|number| number % 2 == 0).map(|_| std::io::stdout().write(b"x\n").unwrap_or(0)).sum();
    std::process::exit(i32::from(!caught || count + total == 0));
}
