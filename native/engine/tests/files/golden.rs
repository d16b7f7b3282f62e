//! Recordings that are checked in: each `*.trace` in the folder `traces` must have the text that is beside it.

use std::path::Path;

use trace_engine::reader::Trace;
use trace_engine::text::{assemble, dump};
use trace_engine::writer::Options;

#[test]
fn recordings_have_the_text_that_is_beside_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../traces");
    let Ok(entries) = std::fs::read_dir(&folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.extension().is_none_or(|extension| extension != "trace") {
            continue;
        }
        let expected_path = path.with_extension("dump");
        let mut text = Vec::new();
        let trace = Trace::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        dump(&trace, &mut text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&expected_path, &text).unwrap();
        }
        let expected = std::fs::read(&expected_path)
            .unwrap_or_else(|error| panic!("{}: {error}; UPDATE_GOLDEN=1 makes it", expected_path.display()));
        assert!(text == expected, "{} has another text than {}", path.display(), expected_path.display());

        let name = format!("trace-golden-{}.trace", std::process::id());
        let again = std::env::temp_dir().join(name);
        let options = Options { force: true, ..Options::default() };
        assemble(&mut text.as_slice(), &again, &options).unwrap();
        let mut twice = Vec::new();
        dump(&Trace::open(&again).unwrap(), &mut twice).unwrap();
        std::fs::remove_file(&again).unwrap();
        assert!(twice == text, "{}: the text changes on its way through a trace", path.display());
    }
}
