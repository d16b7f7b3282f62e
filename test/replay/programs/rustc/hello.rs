use std::collections::HashMap;
fn main() {
    let words: HashMap<String, usize> = "a b c d e f".split(' ').map(|w| (w.to_owned(), w.len())).collect();
    println!("{words:?} {}", std::process::id());
}
