// Calls from generic functions, closures and traits.
use std::io::Write;

trait Speak {
    fn speak(&self, depth: u32) -> usize;
}

struct Dog(String);

impl Speak for Dog {
    fn speak(&self, depth: u32) -> usize {
        if depth == 0 { emit(&self.0) } else { self.speak(depth - 1) + emit(&depth) }
    }
}

#[inline(never)]
fn emit<T: std::fmt::Display>(value: &T) -> usize {
    let text = format!("{value}\n");
    std::io::stdout().write(text.as_bytes()).unwrap_or(0)
}

fn main() {
    let dog = Dog("wuff".to_string());
    let speakers: Vec<Box<dyn Speak>> = vec![Box::new(dog)];
    let total: usize = speakers.iter().map(|speaker| speaker.speak(2)).sum();
    std::process::exit((total == 0) as i32);
}
