//! Compiles the agent (`native/agent`) into an ELF file that the engine holds as bytes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use trace_format::{answers, ring};

const SOURCES: [&str; 4] = ["src/entry.S", "src/agent.c", "src/replay.S", "src/replay.c"];
const FLAGS: &[&str] = &[
    "-std=c11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-m64",
    "-fPIC",
    "-fvisibility=hidden",
    "-ffreestanding",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-fcf-protection=none",
    "-mgeneral-regs-only",
    "-fno-jump-tables",
    "-nostdlib",
    "-static",
    "-Wl,--build-id=none",
    "-Wl,-z,noexecstack",
    "-Wl,-z,max-page-size=4096",
];

fn main() {
    let agent = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    println!("cargo::rerun-if-changed={}", agent.display());
    fs::write(out.join("ring.h"), ring::c_header()).expect("OUT_DIR can be written");
    fs::write(out.join("answers.h"), answers::c_header()).expect("OUT_DIR can be written");
    let mut command: Command = cc::Build::new().get_compiler().to_command();
    command.args(FLAGS).arg("-I").arg(&out).arg("-o").arg(out.join("agent.elf"));
    command.arg(format!("-Wl,--defsym=AGENT_BASE={:#x}", ring::BASE)).arg("-T").arg(agent.join("agent.ld"));
    command.args(SOURCES.map(|source| agent.join(source)));
    let status = command.status().expect("a C compiler runs");
    assert!(status.success(), "the agent does not compile: {command:?}");
}
