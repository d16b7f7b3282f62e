//! Records a program without the command line around it: `record OUT.trace [--observe] [--agent | --eager-agent] [--chaos SEED] PROGRAM ARGS...`.

use std::path::PathBuf;
use std::sync::Arc;

use trace_engine::launch::Program;
use trace_engine::record::{self, Backend, Control, Options};

fn main() {
    let mut args = std::env::args_os().skip(1).peekable();
    let output = PathBuf::from(args.next().expect("an output file"));
    let mut options = Options { output, force: true, ..Options::default() };
    while let Some(flag) = args.next_if(|arg| arg.to_string_lossy().starts_with("--")) {
        match flag.to_string_lossy().as_ref() {
            "--observe" => options.observe = true,
            "--agent" => options.backend = Backend::Agent,
            "--eager-agent" => options.backend = Backend::EagerAgent,
            "--chaos" => options.chaos = args.next().and_then(|seed| seed.to_str()?.parse().ok()),
            other => panic!("unknown flag {other}"),
        }
    }
    options.program = Program { argv: args.collect(), ..Program::default() };
    match record::record(&options, &Arc::new(Control::default())) {
        Ok(outcome) => {
            for note in &outcome.notes {
                eprintln!("note: {note}");
            }
            let status = outcome.status;
            let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) };
            std::process::exit(code);
        }
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(125);
        }
    }
}
