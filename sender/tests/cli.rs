//! The real binary: what it says about bad input, where it says it, and its exit code.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/media/sample.ts");

fn sender(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sender"));
    command.args(arguments).env_remove("RUST_LOG").output().expect("the binary was built for this test")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Loopback and plain sockets: what every machine has, without any capability.
fn good() -> String {
    format!(
        "[network]\ninterface = \"lo\"\nmode = \"socket\"\nxdp = \"off\"\n[transmit]\numem = \"16MiB\"\n\
         [[title]]\nname = \"news\"\nfile = {SAMPLE:?}\ngroup = \"239.192.1.1\"\nfeedback_port = 6001\n"
    )
}

fn write(folder: &TempDir, text: &str) -> PathBuf {
    let path = folder.path().join("sender.toml");
    std::fs::write(&path, text).expect("a temporary folder can be written");
    path
}

fn on_file(command: &str, path: &Path) -> Output {
    sender(&[command, "-c", path.to_str().expect("temporary folders have plain names")])
}

/// What of the good file is replaced by what, and what must be said.
const REFUSED: &[(&str, &str, &[&str])] = &[
    (
        "interface",
        "interfase",
        &["sender.toml:2: [network] interfase: there is no such key", "did you mean interface?", "is missing"],
    ),
    ("mode = \"socket\"", "mode = 7", &["sender.toml:3: [network] mode = 7: a string is expected here", "\"auto\""]),
    ("16MiB", "16 megs", &["sender.toml:6: [transmit] umem = \"16 megs\": \"megs\" is not a unit", "256MiB"]),
    (
        "\"lo\"",
        "\"nonesuch0\"",
        &["sender.toml:2: [network] interface = \"nonesuch0\": there is no interface", "exist", "lo"],
    ),
    ("sample.ts", "nonesuch.ts", &["sender.toml:9: title \"news\": file", "No such file", "remedy: check the path"]),
    ("sample.ts", "README.md", &["title \"news\": file", "not an MPEG transport stream", "ffmpeg -i INPUT"]),
    (
        "239.192.1.1",
        "192.0.2.1",
        &["sender.toml:10: title \"news\": group", "outside the multicast range", "239.192.0.0/14"],
    ),
    ("239.192.1.1", "224.0.0.1", &["routers never forward it"]),
    (
        "6001",
        "5005",
        &[
            "sender.toml:11: title \"news\": feedback_port = 5005: this is the RTCP port",
            "use a port that no title uses",
        ],
    ),
    ("16MiB", "1TiB", &["[transmit] umem = \"1TiB\"", "but only", "of memory are available", "use a smaller umem"]),
    ("6001", "6001\nkey_file = \"none.key\"", &["title \"news\": key_file", "can't be read", "sender key new"]),
    ("6001", "6001\nstagger = \"1h\"", &["title \"news\": stagger = \"1h\"", "longer than the loop", "use at most"]),
    ("[network]", "[network", &["sender.toml:1: this is not TOML"]),
    (
        "6001",
        "6001\n[[title]]\nname = \"film\"\nfile = \"x.ts\"\ngroup = \"239.192.1.3\"\nfeedback_port = 6002",
        &["sender.toml:15: title \"film\": group", "is a group of title \"news\" already", "a group of its own"],
    ),
];

#[test]
fn a_bad_configuration_ends_check_and_run_with_2_and_says_what_where_and_the_remedy() {
    let folder = TempDir::new().unwrap();
    for (from, to, fragments) in REFUSED {
        let path = write(&folder, &good().replace(from, to));
        for command in ["check", "run"] {
            let output = on_file(command, &path);
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{command}, {from} -> {to}: {said}");
            for fragment in *fragments {
                assert!(said.contains(fragment), "{command}, {from} -> {to}: no {fragment:?} in:\n{said}");
            }
            assert!(said.contains("nothing was started"), "{said}");
        }
    }
}

#[test]
fn all_problems_are_said_at_once_with_their_number() {
    let folder = TempDir::new().unwrap();
    let text = good().replace("16MiB", "15").replace("6001", "1").replace("\"off\"", "\"of\"");
    let output = on_file("check", &write(&folder, &text));
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stderr(&output).matches("error:").count(), 3, "{}", stderr(&output));
    assert!(stderr(&output).contains("3 things are wrong"));
}

#[test]
fn a_good_configuration_is_shown_as_a_table_with_exit_code_0() {
    let folder = TempDir::new().unwrap();
    let output = on_file("check", &write(&folder, &good()));
    let table = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{}{table}", stderr(&output));
    for word in ["interface  lo", "127.0.0.1", "TITLE", "news", "239.192.1.1 – 239.192.1.4", "Ready to run."] {
        assert!(table.contains(word), "no {word:?} in:\n{table}");
    }
}

#[test]
fn problems_go_to_standard_error_and_the_table_to_standard_output() {
    let folder = TempDir::new().unwrap();
    let output = on_file("check", &write(&folder, &good().replace("sample.ts", "nonesuch.ts")));
    assert!(stdout(&output).contains("TITLE") && !stdout(&output).contains("Ready"));
    assert!(!stdout(&output).contains("error:") && !stderr(&output).contains("TITLE"));
}

#[test]
fn a_missing_configuration_is_named_with_exit_code_2() {
    let output = sender(&["run", "-c", "/nonexistent/sender.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("/nonexistent/sender.toml: the configuration can't be read"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_wrong_command_line_ends_with_2_and_teaches() {
    for arguments in [&["rum"][..], &["run"], &["check", "-c"], &["key"], &[]] {
        let output = sender(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            stderr(&output).contains("--help") || stderr(&output).contains("Usage:"),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn help_and_version_end_with_0_and_document_the_exit_codes() {
    let help = sender(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for word in ["Examples:", "sender check -c sender.toml", "Exit codes:", "deploy/sender.example.toml"] {
        assert!(stdout(&help).contains(word), "{word}");
    }
    let version = sender(&["--version"]);
    assert_eq!(stdout(&version).trim(), concat!("sender ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_bad_log_filter_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = write(&folder, &good());
    let output = sender(&["check", "-c", path.to_str().unwrap(), "--log", "loud"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("--log \"loud\" is no log filter"), "{}", stderr(&output));
}

#[test]
fn a_new_key_is_its_owners_alone_works_and_is_never_overwritten() {
    let folder = TempDir::new().unwrap();
    let key = folder.path().join("news.key");
    let make = || sender(&["key", "new", key.to_str().unwrap()]);
    assert_eq!(make().status.code(), Some(0));
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read(&key).unwrap();

    let path = write(&folder, &good().replace("6001", "6001\nkey_file = \"news.key\""));
    let checked = on_file("check", &path);
    assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
    assert!(stdout(&checked).contains("news.key, MKI"));

    let again = make();
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("never overwritten"), "{}", stderr(&again));
    assert_eq!(stderr(&again).matches("File exists").count(), 1, "a cause is said once: {}", stderr(&again));
    assert_eq!(std::fs::read(&key).unwrap(), text);

    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = on_file("check", &path);
    assert_eq!(open.status.code(), Some(2));
    assert!(stderr(&open).contains("chmod 600"), "{}", stderr(&open));
}
